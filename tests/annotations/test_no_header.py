import pytest

from tests.annotations.told import error_of, labels_of
from twlcli.annotations.detect import find_format, read_labels


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path


NOTE = "the first row is no header: it begins with the image 'p/a.jpg'"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("photos.csv", "p/a.jpg,dog|cat\np/b.jpg,\np/c.jpg,dog\n"),
        ("photos.csv", "p/a.jpg;dog,cat\n\np/b.jpg;\np/c.jpg;dog\n"),
        ("photos.csv", "sep=;\np/a.jpg;dog|cat\np/b.jpg;\np/c.jpg;dog\n"),
        ("photos.tsv", "p/a.jpg\tdog;cat\np/b.jpg\t\np/c.jpg\tdog\n"),
        ("photos.csv", "p/a.jpg,dog\np/b.jpg\np/c.jpg,dog\n".replace("dog\np/b", "dog,cat\np/b")),
        ("photos.txt", "p/a.jpg dog  cat\np/b.jpg\np/c.jpg\tdog\n"),
    ],
)
def test_lists(tmp_path, name, text):
    annotations = read_labels(write(tmp_path, name, text))
    assert labels_of(annotations) == {
        "p/a.jpg": ["cat", "dog"],
        "p/b.jpg": [],
        "p/c.jpg": ["dog"],
    }
    assert NOTE in annotations.notes
    assert annotations.line(0) == (2 if text.startswith("sep") else 1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("photos.csv", "p/a.jpg,1,0,1\np/b.jpg,0,0,0\n"),
        ("photos.txt", "p/a.jpg 1 0 1\np/b.jpg 0 0 0\n"),
        ("photos.txt", "p/a.jpg\t1\t0\t1\np/b.jpg\t0\t0\t0\n"),
    ],
)
def test_columns_need_names(tmp_path, name, text):
    path = write(tmp_path, name, text)
    assert find_format(path) == "csv"
    assert error_of(path) == (
        f"{name}:1: no header names the 3 columns of labels; `names` names a file that does"
    )
    annotations = read_labels(path, names=write(tmp_path, "names", "dog\ncow\ncat\n"))
    assert labels_of(annotations) == {"p/a.jpg": ["dog", "cat"], "p/b.jpg": []}
    names = write(tmp_path, "names", "dog\ncow\n")
    assert error_of(path, names=names).endswith("has 2 names for 3 columns of labels")


def test_columns_with_a_mistake_are_an_error(tmp_path):
    names = write(tmp_path, "names", "dog\ncow\n")
    rows = "".join(f"{i}.jpg,1,0\n" for i in range(20))
    path = write(tmp_path, "photos.csv", f"{rows}x.jpg,1\n")
    assert error_of(path, names=names) == "photos.csv:21: 2 cells where the first row has 3"
    path = write(tmp_path, "photos.csv", f"{rows}x.jpg,1,7\n")
    assert error_of(path, names=names).startswith("photos.csv:21: column '2' holds '7'")


def test_numbers_without_names_stay_numbers(tmp_path):
    path = write(tmp_path, "train.txt", "a.jpg 3 7\nb.jpg 7\n")
    assert labels_of(read_labels(path)) == {"a.jpg": ["3", "7"], "b.jpg": ["7"]}
    names = write(tmp_path, "names.json", '{"3": "cat", "7": "dog"}')
    assert labels_of(read_labels(path, names=names)) == {"a.jpg": ["cat", "dog"], "b.jpg": ["dog"]}


@pytest.mark.parametrize(
    ("name", "text", "box"),
    [
        (
            "a.csv",
            "a.jpg,837,346,981,456,cow\nb.jpg,2,1,9,4,dog\nc.jpg,,,,,\n",
            "837,346,981,456,cow",
        ),
        ("a.csv", "a.jpg,83,346,981,456,7\nb.jpg,2,1,9,4,0\n", "83,346,981,456,7"),
        (
            "a.txt",
            "a.jpg 50,100,150,200,0 30,50,200,120,3\nb.jpg\nc.jpg 1,2,3,4,5\n",
            "50,100,150,200,0,30,50,200,120,3",
        ),
    ],
)
def test_boxes_are_refused(tmp_path, name, text, box):
    assert error_of(write(tmp_path, name, text)) == (
        f"{name}:1: '{box}' looks like the corners of a box and its class; expected labels; keep "
        "the class alone, or write boxes as COCO or YOLO has them"
    )


def test_five_labels_are_no_box(tmp_path):
    path = write(tmp_path, "a.txt", "a.jpg 9 3 7 1 2\nb.jpg 1,4\n")
    assert labels_of(read_labels(path))["a.jpg"] == ["1", "2", "3", "7", "9"]


def test_columns_cannot_be_named_where_there_is_no_header(tmp_path):
    path = write(tmp_path, "photos.csv", "a.jpg,dog\n")
    message = "no column is called 'image'; the columns are: a.jpg, dog"
    assert error_of(path, image_column="image") == f"photos.csv:1: {message}"
    assert error_of(path, split_column="split").endswith("and holds: a.jpg, dog")


# --- lists of attributes, as CelebA's ------------------------------------------------------------

CELEBA = """4
Bald Male  Young
000001.jpg -1  1  1
000002.jpg  1 -1 -1
000003.jpg -1 -1 -1
000004.jpg -1  1 -1
"""


def test_attributes_below_a_count(tmp_path):
    path = write(tmp_path, "list_attr.txt", CELEBA)
    assert find_format(path) == "csv"
    annotations = read_labels(path)
    assert labels_of(annotations) == {
        "000001.jpg": ["Male", "Young"],
        "000002.jpg": ["Bald"],
        "000003.jpg": [],
        "000004.jpg": ["Male"],
    }
    assert (annotations.labels.dense() >= 0).all()
    assert annotations.notes == ("-1 was read as absent: no cell holds a 0",)
    assert annotations.line(0) == 3
    annotations = read_labels(path, ignore_columns="Young", minus_one="unknown")
    assert annotations.vocabulary.names == ("Bald", "Male")
    assert annotations.labels.dense().tolist() == [[-1, 1], [1, -1], [-1, -1], [-1, 1]]


def test_attributes_with_a_name_for_the_image(tmp_path):
    path = write(tmp_path, "list.txt", "1\r\nimage_name Bald Male\r\nimg/a.jpg 1 -1\r\n")
    assert labels_of(read_labels(path)) == {"img/a.jpg": ["Bald"]}


def test_attributes_of_an_image_column_that_is_not_there(tmp_path):
    path = write(tmp_path, "list.txt", CELEBA)
    assert labels_of(read_labels(path, image_column="image"))["000002.jpg"] == ["Bald"]
    message = "list.txt:1: no column is called 'imag'; the columns are: image, Bald, Male, Young"
    assert error_of(path, image_column="imag") == f"{message}; did you mean 'image'?"


def test_attributes_with_a_short_row_are_an_error(tmp_path):
    path = write(tmp_path, "list.txt", CELEBA.replace("000003.jpg -1 -1 -1", "000003.jpg -1 -1"))
    assert error_of(path) == "list.txt:5: 3 cells where the header names 4"


@pytest.mark.parametrize("splits", [("train", "val", "test"), ("train", "train", "Train")])
def test_a_column_of_splits_is_no_label(tmp_path, splits):
    rows = [("A.jpg", "dog", splits[0]), ("B.jpg", "cat", splits[1]), ("C.jpg", "dog", splits[2])]
    path = tmp_path / "photos.csv"
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    annotations = read_labels(path)
    assert annotations.vocabulary.names == ("cat", "dog")
    assert annotations.splits == tuple(each.casefold() for each in splits)
    assert annotations.notes[-1] == "column 3 was read as the split"


def test_a_vehicle_may_be_a_train(tmp_path):
    path = tmp_path / "photos.csv"
    path.write_text("A.jpg,train\nB.jpg,train\n")
    assert read_labels(path).vocabulary.names == ("train",)
    path.write_text("A.jpg,bus,train\nB.jpg,car,bus\n")
    assert read_labels(path).vocabulary.names == ("bus", "car", "train")
