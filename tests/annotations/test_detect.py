import bz2
import gzip
import json
import lzma
import os
from typing import Any

import numpy as np
import pytest

from tests.tagging.outputs.test_xmp import described
from twlcli.annotations.detect import FORMATS, find_format, read_labels
from twlcli.annotations.vocabulary import with_vocabulary
from twlcli.errors import AnnotationError
from twlcli.labels import Vocabulary


def make(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, str):
            path.write_text(text)
        else:
            text(path)


def coco(*names):
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": "a.jpg", "width": 4, "height": 4}],
            "categories": [{"id": i, "name": name} for i, name in enumerate(names, start=1)],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 1, 1]}
            ],
        }
    )


VOC_XML = "<annotation><object><name>dog</name><difficult>0</difficult></object></annotation>"


def parquet(path):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(
        pyarrow.table({"image": ["a.jpg"], "labels": [["dog"]]}), path
    )


def workbook(path):
    book = pytest.importorskip("openpyxl").Workbook()
    for row in (["image", "dog", "cat"], ["a.jpg", 1, 0]):
        book.active.append(row)
    book.save(path)


LAYOUTS: dict[str, dict[str, Any]] = {
    "parquet": {"photos.parquet": parquet},
    "xlsx": {"photos.xlsx": workbook},
    "csv": {"photos.csv": "image,labels\na.jpg,dog\n"},
    "tsv": {"photos.tsv": "image\tlabels\na.jpg\tdog\n"},
    "jsonl": {"photos.jsonl": '{"image": "a.jpg", "labels": ["dog"]}\n'},
    "json": {"photos.json": '[{"image": "a.jpg", "labels": ["dog"]}]'},
    "label-studio": {"tasks.json": '[{"image": "a.jpg", "choice": {"choices": ["dog"]}}]'},
    "corrections": {"corrections.csv": "image,label,verdict\na.jpg,dog,present\n"},
    "imagefolder": {"train/metadata.csv": "file_name,labels\na.jpg,dog\n", "train/a.jpg": ""},
    "coco": {"annotations/instances_val2017.json": coco("dog", "cat"), "val2017/a.jpg": ""},
    "yolo": {
        "images/train/a.jpg": "",
        "labels/train/a.txt": "0 0.5 0.5 0.1 0.1",
        "data.yaml": "names: [dog, cat]",
    },
    "voc": {
        "ImageSets/Main/train.txt": "a\n",
        "ImageSets/Main/dog_train.txt": "a  1\n",
        "Annotations/a.xml": VOC_XML,
        "JPEGImages/a.jpg": "",
    },
    "nus-wide": {
        "ConceptsList/Concepts81.txt": "dog\ncat\n",
        "ImageList/TrainImagelist.txt": "x\\a.jpg\n",
        "ImageList/TestImagelist.txt": "x\\b.jpg\n",
        "TrainTestLabels/Labels_dog_Train.txt": "1\n",
        "TrainTestLabels/Labels_cat_Train.txt": "0\n",
        "TrainTestLabels/Labels_dog_Test.txt": "0\n",
        "TrainTestLabels/Labels_cat_Test.txt": "1\n",
    },
    "sidecars": {"a.jpg": "", "a.txt": "dog"},
    "keywords": {"a.jpg": "", "a.jpg.xmp": described("dog").decode()},
    "folders": {"dog/a.jpg": "", "cat/b.jpg": ""},
}


def made(tmp_path, name):
    """Where the labels of a layout lie: the folder, or the file if it is a single one."""
    make(tmp_path, LAYOUTS[name])
    return tmp_path / next(iter(LAYOUTS[name])) if len(LAYOUTS[name]) == 1 else tmp_path


def error_of(path, **options):
    with pytest.raises(AnnotationError) as caught:
        read_labels(path, **options)
    return str(caught.value)


def test_every_format_has_a_layout_here():
    assert set(LAYOUTS) == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_open_finds_the_format(tmp_path, name):
    path = made(tmp_path, name)
    assert find_format(path) == name
    annotations = read_labels(path, min_images=1)
    assert annotations.format == name
    assert "dog" in annotations.vocabulary
    column = annotations.vocabulary.column("dog")
    assert annotations.labels.dense()[:, column].sum() == 1


@pytest.mark.parametrize("name", FORMATS)
def test_open_forced_format_reads_the_same(tmp_path, name):
    path = made(tmp_path, name)
    found, forced = (read_labels(path, min_images=1, format=each) for each in (None, name))
    assert forced.images == found.images
    assert forced.format == found.format
    np.testing.assert_array_equal(forced.labels.dense(), found.labels.dense())


def test_open_coco_file(tmp_path):
    path = made(tmp_path, "coco") / "annotations" / "instances_val2017.json"
    annotations = read_labels(path)
    assert annotations.format == "coco"
    assert annotations.vocabulary.names == ("dog", "cat")
    assert annotations.path(0).resolve() == (tmp_path / "val2017" / "a.jpg").resolve()


@pytest.mark.parametrize("option", ["images", "coco_images"])
def test_open_coco_images(tmp_path, option):
    path = made(tmp_path, "coco") / "annotations" / "instances_val2017.json"
    make(tmp_path, {"elsewhere/a.jpg": ""})
    annotations = read_labels(path, **{option: tmp_path / "elsewhere"})
    assert annotations.path(0).resolve() == (tmp_path / "elsewhere" / "a.jpg").resolve()


def test_open_folder_with_labels_csv_comes_first(tmp_path):
    make(tmp_path, {"labels.csv": "image,labels\nimages/a.jpg,cat\n", "images/a.jpg": ""})
    for name in (None, "csv"):
        annotations = read_labels(tmp_path, format=name)
        assert annotations.format == "csv"
        assert annotations.vocabulary.names == ("cat",)
        assert annotations.path(0) == tmp_path / "images" / "a.jpg"
    message = (
        f"{tmp_path}: every image has the one label 'images'; expected a folder for each class"
    )
    assert error_of(tmp_path, format="folders") == message


@pytest.mark.parametrize(
    ("name", "text", "format_name"),
    [
        ("photos.txt", "image,labels\na.jpg,dog\n", "csv"),
        ("photos", "image\tlabels\na.jpg\tdog\n", "csv"),
        ("photos.json", '\n{"image": "a.jpg", "labels": ["dog"]}\n', "jsonl"),
        ("photos.CSV", "image,labels\na.jpg,dog\n", "csv"),
    ],
)
def test_open_file_by_content(tmp_path, name, text, format_name):
    make(tmp_path, {name: text})
    annotations = read_labels(tmp_path / name)
    assert annotations.format == format_name
    assert annotations.vocabulary.names == ("dog",)


def test_open_rows_that_are_joined(tmp_path):
    make(tmp_path, {"photos.tsv": "image\tlabel\na.jpg\tdog\na.jpg\tcat\n"})
    annotations = read_labels(tmp_path / "photos.tsv", join_rows=True)
    assert annotations.labels.dense().tolist() == [[1, 1]]


def test_open_images_root(tmp_path):
    path = made(tmp_path, "csv")
    make(tmp_path, {"elsewhere/a.jpg": ""})
    annotations = read_labels(path, images=tmp_path / "elsewhere")
    assert annotations.path(0) == tmp_path / "elsewhere" / "a.jpg"


def test_open_backslashes_under_another_root(tmp_path):
    make(tmp_path, {"photos.csv": "image,labels\nsub\\a.jpg,dog\n", "elsewhere/sub/a.jpg": ""})
    annotations = read_labels(tmp_path / "photos.csv", images=tmp_path / "elsewhere")
    assert annotations.images == ("sub/a.jpg",)


# --- a model's vocabulary ------------------------------------------------------------------------


def test_vocabulary_orders_the_columns(tmp_path):
    make(tmp_path, {"photos.csv": "image,labels,unknown\na.jpg,dog|ant,cat\nb.jpg,cat,\n"})
    vocabulary = Vocabulary(("zebra", "dog", "cat", "ant"))
    annotations = read_labels(tmp_path / "photos.csv", vocabulary=vocabulary)
    assert annotations.vocabulary is vocabulary
    assert annotations.labels.dense().tolist() == [[0, 1, -1, 1], [0, 0, 1, 0]]
    assert annotations.labels.present(0).tolist() == [1, 3]
    assert annotations.unlisted == ("zebra",)


def test_vocabulary_label_outside(tmp_path):
    make(tmp_path, {"photos.csv": "image,labels\na.jpg,dog\nb.jpg,catt\n"})
    path = tmp_path / "photos.csv"
    assert error_of(path, vocabulary=Vocabulary(("dog", "cat"))) == (
        f"{path}:3: label 'catt' is not in the vocabulary; did you mean 'cat'?"
    )


def test_vocabulary_label_outside_names_the_file_of_several(tmp_path):
    make(
        tmp_path,
        {
            "train/metadata.csv": "file_name,labels\na.jpg,dog\n",
            "val/metadata.csv": "file_name,labels\na.jpg,dog\nb.jpg,owl\n",
        },
    )
    message = error_of(tmp_path, vocabulary=Vocabulary(("dog",)))
    assert message.startswith(f"{tmp_path}/val/metadata.csv:3: label 'owl' is not in")


def test_vocabulary_labels_never_present_may_be_outside(tmp_path):
    make(tmp_path, {"photos.csv": "image,dog,cat,owl\na.jpg,1,0,-1\nb.jpg,0,0,0\n"})
    annotations = read_labels(tmp_path / "photos.csv", vocabulary=Vocabulary(("dog",)))
    assert annotations.labels.dense().tolist() == [[1], [0]]


def test_vocabulary_agrees_with_a_plain_loop(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"label {i}" for i in range(9)]
    dense = rng.choice([1, 0, 0, -1], size=(50, 9))
    rows = "".join(f"{i}.jpg,{','.join(map(str, row))}\n" for i, row in enumerate(dense))
    make(tmp_path, {"photos.csv": f"image,{','.join(names)}\n{rows}"})
    order = rng.permutation(9)
    vocabulary = Vocabulary(("other", *(names[i] for i in order)))
    expected = [[0, *(row[i] for i in order)] for row in dense.tolist()]
    annotations = with_vocabulary(read_labels(tmp_path / "photos.csv"), vocabulary)
    assert annotations.labels.dense().tolist() == expected


# --- errors --------------------------------------------------------------------------------------


def test_open_nothing_there(tmp_path):
    path = tmp_path / "photos.csv"
    assert error_of(path) == f"{path}: no such file or folder"


def test_open_unknown_format(tmp_path):
    path = made(tmp_path, "csv")
    assert error_of(path, format="cvs") == "there is no format 'cvs'; did you mean 'csv'?"
    assert error_of(path, format="x").startswith("there is no format 'x'; formats are csv, tsv,")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("folders", {"separator": ","}, "a separator does not apply to the format 'folders'"),
        ("sidecars", {"images": "."}, "a folder of images does not apply to the format 'sidecars'"),
        ("folders", {"join_rows": True}, "joining rows does not apply to the format 'folders'"),
        ("csv", {"coco_images": "."}, "a folder of COCO images does not apply to the format 'csv'"),
    ],
)
def test_open_option_without_meaning(tmp_path, name, options, message):
    path = made(tmp_path, name)
    (option,) = options
    assert error_of(path, **options) == f"{path}: {message}; leave out `{option}`"


def test_open_options_out_of_range(tmp_path):
    path = made(tmp_path, "csv")
    nowhere = tmp_path / "nowhere"
    assert error_of(path, images=nowhere) == f"{nowhere}: there is no such folder of images"
    assert error_of(path, separator="") == "the separator is empty"


def test_open_folder_without_labels(tmp_path):
    assert error_of(tmp_path).startswith(f"{tmp_path}: holds neither labels nor images;")
    make(tmp_path, {"a.jpg": ""})
    assert error_of(tmp_path).startswith(f"{tmp_path}: holds images but no labels; expected")


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (["train.csv"], "train.csv"),
        (["train_v2.tsv"], "train_v2.tsv"),
        (["labels.parquet"], "labels.parquet"),
        (["annotations/my_train.json"], "annotations/my_train.json"),
        (["annotations/instances_train2017.json.gz"], "annotations/instances_train2017.json.gz"),
        (["b.xlsx", "a.jsonl"], "a.jsonl"),
    ],
)
@pytest.mark.parametrize("images", [["train_images/a.jpg", "dog/b.jpg"], ["a.jpg"]])
def test_open_folder_with_a_label_file_of_another_name(tmp_path, files, named, images):
    make(tmp_path, dict.fromkeys([*files, *images, ".hidden.csv", "other/c.csv"], "x"))
    message = error_of(tmp_path)
    which = "that file" if len(files) == 1 else "the one with the labels, such as"
    start = f"{tmp_path}: is a folder with {', '.join(sorted(files))} in it; name {which} "
    assert message.startswith(f"{start}{tmp_path}/{named}")
    in_folders = len(images) > 1
    assert message.endswith("; `format` folders reads a folder for each class") == in_folders
    if in_folders:
        assert len(read_labels(tmp_path, format="folders")) == 2


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_open_what_is_compressed(tmp_path, pack):
    (tmp_path / "a.json.x").write_bytes(pack(b'{"images": []}'))
    assert error_of(tmp_path / "a.json.x").endswith("a.json.x: is compressed; unpack it first")


def test_open_format_for_the_wrong_kind_of_place(tmp_path):
    make(tmp_path, {"photos.csv": "image,labels\na.jpg,dog\n", "folder/a.jpg": ""})
    file, folder = tmp_path / "photos.csv", tmp_path / "folder"
    for name in ("imagefolder", "voc", "nus-wide", "sidecars", "folders"):
        message = f"{file}: is a file; the format '{name}' is read from a folder"
        assert error_of(file, format=name) == message
    for name in ("csv", "tsv", "jsonl"):
        message = f"{folder}: is a folder; the format '{name}' is read from a file"
        assert error_of(folder, format=name) == message


def test_open_json_that_is_no_labels(tmp_path):
    make(tmp_path, {"list.json": '[{"image": "a.jpg"}]', "cut.json": '{"images": [{"id": 1,'})
    assert error_of(tmp_path / "list.json").endswith(
        "object 1: there is no key 'labels' (keys: 'image')"
    )
    make(tmp_path, {"text.json": '"hello"'})
    assert "expected a COCO instances file, a list of objects," in error_of(tmp_path / "text.json")
    assert error_of(tmp_path / "cut.json").startswith(str(tmp_path / "cut.json"))


def test_open_a_photograph(tmp_path):
    make(tmp_path, {"a.JPG": "\xff\xd8\xff"})
    path = tmp_path / "a.JPG"
    assert error_of(path) == f"{path}: is an image; expected a label file or a folder"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("name", ["p.csv", "p.jsonl", "p.json", "p", "photos/a.txt"])
def test_open_does_not_wait_for_a_pipe(tmp_path, name):
    make(tmp_path, {"photos/a.jpg": ""})
    os.mkfifo(tmp_path / name, 0o600)
    path = tmp_path / name
    message = f"{path}: is not a file (prw-------)"
    assert error_of(path.parent if path.suffix == ".txt" else path) == message


def test_open_other_text(tmp_path):
    make(tmp_path, {"notes.txt": "hello\n"})
    assert "notes.txt:1: no column is called image" in error_of(tmp_path / "notes.txt")
