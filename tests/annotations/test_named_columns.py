from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.annotations.told import error_of, labels_of
from twlcli.annotations.detect import read_labels
from twlcli.annotations.named_columns import place_of, select_columns
from twlcli.errors import AnnotationError

HEADER = ("image", "age", "label_a", "label_b", "x:y", "a, b", "label[1]", "dog")


def write(tmp_path, text, name="photos.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


# --- names in a header ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("dog", [7]),
        ("dog, age", [7, 1]),
        ("age:label_b", [1, 2, 3]),
        ("label_*", [2, 3]),
        ("label*", [2, 3, 6]),
        ("label[1]", [6]),
        ("label[*", [6]),
        ("x:y", [4]),
        ("x:y:dog", [4, 5, 6, 7]),
        ('"a, b",dog', [5, 7]),
        ("label_?,age:label_a,dog", [2, 3, 1, 7]),
        ("dog,dog,", [7]),
        ("", []),
    ],
)
def test_select_columns(text, places):
    assert list(select_columns(Path("a.csv"), HEADER, text)) == places


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labl_a", "no column is called 'labl_a'; the columns are: image, age,"),
        ("dgo", "; did you mean 'dog'?"),
        ("cat_*", "no column's name is like 'cat_*'; the columns are: image, age,"),
        ("age:dgo", "no column is called 'dgo'; the columns are: image, age,"),
        ("dog:age", "'dog:age': the column 'age' stands before 'dog'"),
    ],
)
def test_select_columns_that_are_not_there(text, message):
    with pytest.raises(AnnotationError) as caught:
        select_columns(Path("a.csv"), HEADER, text)
    assert str(caught.value).startswith("a.csv:1: ")
    assert message in str(caught.value)


def test_a_long_header_is_cut_short():
    header = [f"c{i}" for i in range(500)]
    with pytest.raises(AnnotationError, match=r"c18, c19 and 480 more; did you mean 'c10'\?"):
        place_of(Path("a.csv"), header, "cc10")


names = st.text(
    st.characters(exclude_characters='",*?: \t\r\n', exclude_categories=["Cs", "Cc", "Z"]),
    min_size=1,
)


@given(header=st.lists(names, min_size=1, max_size=8, unique=True), data=st.data())
def test_a_list_of_names_selects_them_in_its_order(header, data):
    chosen = data.draw(st.lists(st.sampled_from(header), unique=True))
    places = select_columns(Path("a.csv"), header, ",".join(chosen))
    assert [header[place] for place in places] == chosen


# --- tables --------------------------------------------------------------------------------------


def test_columns_of_lists_by_name(tmp_path):
    path = write(tmp_path, "key,picture,labels,what,part,who\n1,a,x,dog|cat,A,p1\n2,b,y,dog,B,p2\n")
    annotations = read_labels(
        path,
        image_column="picture",
        labels_column="what",
        split_column="part",
        group_column="who",
        ignore_columns="key",
        extension=".jpg",
    )
    assert labels_of(annotations) == {"a.jpg": ["cat", "dog"], "b.jpg": ["dog"]}
    assert annotations.splits == ("A", "B")
    assert annotations.groups == ("p1", "p2")
    assert annotations.select([1]).groups == ("p2",)
    assert annotations.notes == ("columns that were not read: labels",)


def test_columns_of_labels_by_name(tmp_path):
    text = "Path,Age,cat,dog,cow,checked,pid\na.jpg,1,1,0,1,1,7\nb.jpg,0,0,1,0,1,8\n"
    path = write(tmp_path, text)
    assert read_labels(path).vocabulary.names == ("Age", "cat", "checked", "cow", "dog")
    annotations = read_labels(path, label_columns="cat:cow", ignore_columns="dog")
    assert labels_of(annotations) == {"a.jpg": ["cat", "cow"], "b.jpg": []}
    assert annotations.notes == ()
    annotations = read_labels(path, ignore_columns="Age, c*ed", group_column="pid")
    assert annotations.vocabulary.names == ("cat", "cow", "dog")
    assert annotations.groups == ("7", "8")
    # All but the image's, though the pattern is like its name too.
    assert len(read_labels(path, label_columns="*", ignore_columns="pid").vocabulary) == 5


def test_columns_named_as_labels_must_hold_marks(tmp_path):
    path = write(tmp_path, "image,age,dog\na.jpg,33,1\n")
    message = error_of(path, label_columns="age,dog")
    assert message.startswith("photos.csv:2: column 'age' holds '33', which is not 1, 0, -1")
    assert message.endswith("; `label_columns` or `ignore_columns` says which are labels")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"image_column": "pictre"},
            "no column is called 'pictre'; the columns are: picture, tags",
        ),
        ({"labels_column": "tagz"}, "no column is called 'tagz'"),
        ({"split_column": "tagz"}, "did you mean 'tags'?"),
        ({"group_column": "tagz"}, "no column is called 'tagz'"),
        ({"ignore_columns": "tagz"}, "no column is called 'tagz'"),
        ({"labels_column": "tags", "label_columns": "tags"}, "either in lists or in a column each"),
        ({"label_columns": "tags", "ignore_columns": "t*"}, "'tags' leaves no column of a label"),
    ],
)
def test_names_that_the_header_has_not(tmp_path, options, message):
    path = write(tmp_path, "picture,tags\na.jpg,dog\n")
    assert message in error_of(path, **{"image_column": "picture", **options})


def test_ignored_labels(tmp_path):
    path = write(tmp_path, "image,labels,unknown\na.jpg,dog|none,\nb.jpg,none,cat\nc.jpg,cat,dog\n")
    annotations = read_labels(path, ignore_labels=["none"])
    assert labels_of(annotations) == {"a.jpg": ["dog"], "b.jpg": [], "c.jpg": ["cat"]}
    assert annotations.labels.dense().tolist() == [[0, 1], [-1, 0], [1, -1]]
    message = error_of(path, ignore_labels=["non"])
    assert message == "photos.csv: there is no label 'non' to ignore; did you mean 'none'?"
    assert error_of(path, ignore_labels=["none", "cat", "dog"]) == "photos.csv: no label is left"
    # Where the labels are those of a model, one that does not occur is no mistake.
    vocabulary = annotations.vocabulary
    again = read_labels(path, ignore_labels=["none", "other"], vocabulary=vocabulary)
    assert again.labels.dense().tolist() == annotations.labels.dense().tolist()


def test_one_ignored_label_may_be_a_text(tmp_path):
    path = write(tmp_path, "image,labels\na.jpg,dog|o\n")
    assert read_labels(path, ignore_labels="dog").vocabulary.names == ("o",)


def test_ignored_labels_of_folders(tmp_path):
    for name in ("cat/a.jpg", "dog/b.jpg", "misc/c.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    annotations = read_labels(tmp_path, ignore_labels=("misc",))
    assert labels_of(annotations) == {"cat/a.jpg": ["cat"], "dog/b.jpg": ["dog"], "misc/c.jpg": []}


# By column: cells 1, empty, -1 and 0; the second column has no 0, and in the last table none has.
MARKS = "image,dog,cat\na.jpg,1,1\nb.jpg,,\nc.jpg,-1,-1\nd.jpg,0,1\n"
NO_ZERO = MARKS.replace("d.jpg,0", "d.jpg,1")


@pytest.mark.parametrize(
    ("text", "options", "cats_and_dogs"),
    [
        (MARKS, {}, [[1, 1], [0, -1], [-1, -1], [1, 0]]),
        (MARKS, {"blank": "absent"}, [[1, 1], [0, 0], [-1, -1], [1, 0]]),
        (MARKS, {"blank": "unknown"}, [[1, 1], [-1, -1], [-1, -1], [1, 0]]),
        (MARKS, {"minus_one": "absent"}, [[1, 1], [-1, -1], [0, 0], [1, 0]]),
        (MARKS, {"minus_one": "unknown"}, [[1, 1], [0, -1], [-1, -1], [1, 0]]),
        (MARKS, {"blank": "unknown", "minus_one": "absent"}, [[1, 1], [-1, -1], [0, 0], [1, 0]]),
        (NO_ZERO, {}, [[1, 1], [-1, -1], [0, 0], [1, 1]]),
        (NO_ZERO, {"minus_one": "unknown"}, [[1, 1], [0, 0], [-1, -1], [1, 1]]),
        (NO_ZERO, {"blank": "absent"}, [[1, 1], [0, 0], [0, 0], [1, 1]]),
    ],
)
def test_what_blank_and_minus_one_mean(tmp_path, text, options, cats_and_dogs):
    annotations = read_labels(write(tmp_path, text), **options)
    np.testing.assert_array_equal(annotations.labels.dense(), cats_and_dogs)
    about_blanks = [note for note in annotations.notes if "empty" in note]
    assert bool(about_blanks) == ("blank" not in options)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("image,labels\na.jpg,x\n", {"blank": "absent"}, "photos.csv:1: has lists of labels, so"),
        ("image,labels\na.jpg,x\n", {"minus_one": "absent"}, "the meaning of -1 does not apply"),
        ("image,dog\na.jpg,1\n", {"separator": ","}, "a separator does not apply; leave out"),
        ("image,dog\na.jpg,1\n", {"blank": "x"}, "the meaning of empty cells is 'x'; expected"),
        ("image,dog\na.jpg,1\n", {"extension": "doc"}, "'doc' is no ending of image files"),
        ("image,dog\na.jpg,1\na,0\n", {"extension": "jpg"}, "'a.jpg' is named with and without"),
    ],
)
def test_options_that_do_not_apply(tmp_path, text, options, message):
    assert message in error_of(write(tmp_path, text), **options)


@pytest.mark.parametrize("option", ["image_column", "label_columns", "split_column", "extension"])
def test_options_of_tables_are_refused_for_folders(tmp_path, option):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/a.jpg").touch()
    assert f"does not apply to the format 'folders'; leave out `{option}`" in error_of(
        tmp_path, **{option: "x"}
    )


def test_keys_of_json_lines(tmp_path):
    text = '{"pic": "a", "what": ["dog"], "part": "x", "who": 7}\n'
    path = write(tmp_path, text, name="photos.jsonl")
    options: dict[str, Any] = {
        "image_column": "pic",
        "labels_column": "what",
        "split_column": "part",
    }
    annotations = read_labels(path, group_column="who", extension="png", **options)
    assert labels_of(annotations) == {"a.png": ["dog"]}
    assert annotations.splits == ("x",)
    assert annotations.groups == ("7",)
    message = error_of(path, **{**options, "image_column": "picture"})
    assert message == (
        "photos.jsonl:1: there is no key 'picture' (keys: 'pic', 'what', 'part', 'who')"
    )
    assert "there is no key 'group'" in error_of(path, group_column="group", **options)
    assert "does not apply to the format 'jsonl'" in error_of(path, label_columns="a")


def test_columns_of_an_imagefolder(tmp_path):
    (tmp_path / "train").mkdir()
    write(tmp_path / "train", "pic,what\na.jpg,dog\n", name="metadata.csv")
    annotations = read_labels(tmp_path, image_column="pic", labels_column="what")
    assert labels_of(annotations) == {"train/a.jpg": ["dog"]}
    (tmp_path / "train/metadata.csv").unlink()
    write(tmp_path / "train", '{"file_name": "a.jpg", "labels": []}\n', name="metadata.jsonl")
    assert "does not apply to the format 'jsonl'" in error_of(tmp_path, blank="absent")


# --- guesses -------------------------------------------------------------------------------------


def test_both_columns_are_guessed(tmp_path):
    rows = "a.jpg,7,Mass|Nodule,M\nb.jpg,8,Mass,F\nc.jpg,9,Nodule,M\n"
    path = write(tmp_path, f"Scan No,Age,Seen In It,Sex\n{rows}")
    assert error_of(path) == (
        "photos.csv:1: no column is called image, file_name, filename, path or file; the first "
        "line must name the columns, and holds: Scan No, Age, Seen In It, Sex; is 'Scan No' the "
        "image and 'Seen In It' the labels?; `image_column` 'Scan No' `labels_column` 'Seen In It'"
    )


def test_images_are_guessed_by_the_files_that_exist(tmp_path):
    path = write(tmp_path, "key,what it shows,diagnosis\n1,a.x,4\n2,b.x,3\n3,c.x,2\n4,d.x,2\n")
    assert "is '" not in error_of(path)
    for name in ("a.x", "b.x", "c.x"):
        (tmp_path / name).touch()
    assert error_of(path).endswith(
        "is 'what it shows' the image and 'diagnosis' the labels?; "
        "`image_column` 'what it shows' `labels_column` diagnosis"
    )


def test_nothing_is_guessed_of_columns_that_never_repeat(tmp_path):
    path = write(tmp_path, "key,height,note\na.jpg,1.5,first\nb.jpg,2.5,second\n")
    assert error_of(path).endswith("; is 'key' the image?; `image_column` key")
