import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from twlcli.annotations import coco
from twlcli.annotations.detect import read_labels
from twlcli.annotations.missing import find_missing_images
from twlcli.errors import AnnotationError

REAL = Path(__file__).parents[3] / "shared" / "data" / "tiny-coco-100.tar"


def instances(first_image=1):
    """Categories out of order, a crowd, an object twice, and an image without annotations."""
    numbers = range(first_image, first_image + 3)
    return {
        "info": {},
        "images": [
            {"id": n, "file_name": f"{n:03d}.jpg", "height": 4, "width": 4} for n in numbers
        ],
        "annotations": [
            {"id": 1, "image_id": first_image, "category_id": 18, "iscrowd": 0},
            {"id": 2, "image_id": first_image, "category_id": 18, "iscrowd": 0},
            {"id": 3, "image_id": first_image, "category_id": 1, "iscrowd": 1},
            {"id": 4, "image_id": first_image + 2, "category_id": 90, "iscrowd": 0},
        ],
        "categories": [
            {"id": 90, "name": "toothbrush"},
            {"id": 1, "name": "person"},
            {"id": 18, "name": "dog"},
        ],
    }


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path):
    write(tmp_path / "annotations" / "instances_train2017.json", instances(1))
    write(tmp_path / "annotations" / "instances_val2017.json", instances(11))
    for folder in ("train2017", "val2017"):
        (tmp_path / folder).mkdir()
    return tmp_path


def test_read_labels_are_categories_in_order_of_ids(data):
    annotations = coco.read(data / "annotations" / "instances_train2017.json")
    assert annotations.vocabulary.names == ("person", "dog", "toothbrush")
    assert annotations.images == ("001.jpg", "002.jpg", "003.jpg")
    np.testing.assert_array_equal(annotations.labels.dense(), [[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    assert annotations.splits == ("train",) * 3
    assert annotations.root == data / "train2017"
    assert annotations.format == "coco"


def test_read_folder_joins_its_files(data):
    annotations = coco.read(data)
    assert annotations.root == data
    assert annotations.images[0] == "train2017/001.jpg"
    assert annotations.images[3] == "val2017/011.jpg"
    assert annotations.splits == ("train",) * 3 + ("val",) * 3
    assert annotations.place(4) == (data / "annotations" / "instances_val2017.json", None)


def test_read_annotations_folder_itself_finds_images_beside_it(data, monkeypatch):
    monkeypatch.chdir(data / "annotations")
    annotations = coco.read(Path())
    assert annotations.path(3) == data / "val2017" / "011.jpg"


def test_read_with_images_takes_that_folder(data, tmp_path):
    file = data / "annotations" / "instances_val2017.json"
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "val2017").mkdir(parents=True)
    assert coco.read(file, images=elsewhere / "val2017").path(0) == elsewhere / "val2017/011.jpg"
    assert coco.read(file, images=elsewhere).path(0) == elsewhere / "val2017/011.jpg"


def test_read_other_name_takes_images_beside_the_file_and_no_split(tmp_path):
    annotations = coco.read(write(tmp_path / "mine.json", instances()))
    assert annotations.path(0) == tmp_path / "001.jpg"
    assert annotations.splits == ("",) * 3


def test_read_file_per_split_folder_names_splits_after_folders(tmp_path):
    write(tmp_path / "train" / "_annotations.coco.json", instances(1))
    write(tmp_path / "valid" / "_annotations.coco.json", instances(11))
    annotations = coco.read(tmp_path)
    assert annotations.images[::3] == ("train/001.jpg", "valid/011.jpg")
    assert annotations.split_names() == ("train", "val")


def test_read_images_folder_named_after_split(tmp_path):
    file = write(tmp_path / "annotations" / "instances_val2014.json", instances())
    (tmp_path / "images" / "val2014").mkdir(parents=True)
    annotations = coco.read(file)
    assert annotations.root == tmp_path / "images" / "val2014"
    assert annotations.split_names() == ("val",)


def test_is_coco_tells_instances_from_other_files(data):
    assert coco.is_coco(data)
    assert coco.is_coco(data / "annotations" / "instances_val2017.json")
    assert not coco.is_coco(write(data / "a.jsonl", '{"image": "a.jpg", "labels": ["images"]}\n'))
    assert not coco.is_coco(write(data / "b.json", "[]"))
    assert not coco.is_coco(data / "train2017")


def test_is_coco_finds_lists_behind_a_long_head(tmp_path):
    content = {"info": "x" * 300_000, **instances()}
    assert coco.is_coco(write(tmp_path / "long.json", content))


def _changed(key, at, **fields):
    content = instances()
    content[key][at].update(fields)
    return content


def _without(key):
    return {name: value for name, value in instances().items() if name != key}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(instances(), indent=1)[:300], r":\d+: column \d+: the JSON is cut short"),
        (json.dumps(instances())[:-1], r":1: column \d+: the JSON is cut short"),
        ('{"images": [1 2]}', r":1: column 15: not valid JSON \(Expecting ',' delimiter\)"),
        ("", r"the file is empty"),
        ("[" * 100_000, r"nested too deeply"),
        ("[1]", r"has no list 'images'"),
        (_without("categories"), r"has no list 'categories'; expected a COCO instances file"),
        (_without("annotations"), r"has no list 'annotations'"),
        (
            _changed("annotations", 3, image_id=7),
            r"annotations\[3\]: image_id 7 is not in 'images'",
        ),
        (_changed("annotations", 3, category_id=2), r"annotations\[3\]: category_id 2 is not in"),
        (
            _changed("annotations", 0, category_id=None),
            r"annotations\[0\]: 'category_id' is missing; expected an integer",
        ),
        (_changed("images", 1, id=1), r"images\[1\]: id 1 \('002.jpg'\) was given to '001.jpg'"),
        (_changed("images", 1, file_name="001.jpg"), r"images\[1\]: '001.jpg' .* before with id 1"),
        (_changed("images", 1, file_name=5), r"images\[1\]: 'file_name' is 5; expected a text"),
        (_changed("categories", 1, id=90), r"categories\[1\]: id 90 was given before"),
        (_changed("categories", 1, id=True), r"categories\[1\]: 'id' is true; expected an integer"),
        (_changed("categories", 1, name="dog"), r"label 'dog' is in the vocabulary twice"),
    ],
)
def test_read_bad_file_names_the_place(tmp_path, content, message):
    file = write(tmp_path / "bad.json", content)
    with pytest.raises(AnnotationError, match=message) as caught:
        coco.read(file)
    assert str(caught.value).startswith(str(file))


def test_read_files_with_different_categories_is_an_error(data):
    content = _changed("categories", 0, name="comb")
    write(data / "annotations" / "instances_val2017.json", content)
    with pytest.raises(AnnotationError, match=r"val2017.json: its categories differ from those of"):
        coco.read(data)


def test_read_folder_without_instances_says_what_was_expected(tmp_path):
    with pytest.raises(AnnotationError, match=r"holds no annotations/instances_\*\.json"):
        coco.read(tmp_path)


@pytest.mark.skipif(not REAL.is_file(), reason=f"the COCO sample is not at {REAL}")
def test_read_real_sample(tmp_path):
    with tarfile.open(REAL) as tar:
        tar.extractall(tmp_path, filter="data")
    data = next(tmp_path.rglob("instances_train2017.json")).parents[1]
    annotations = coco.read(data)
    assert annotations.labels.shape == (100, 80)
    assert [annotations.splits.count(split) for split in ("train", "val")] == [50, 50]
    assert len(find_missing_images(annotations)) == 0
    for split in ("train", "val"):
        content = json.loads((data / f"annotations/instances_{split}2017.json").read_text())
        ids = sorted(category["id"] for category in content["categories"])
        targets = np.zeros((50, 80), dtype=np.int8)
        for row, image in enumerate(content["images"]):
            for annotation in content["annotations"]:
                if annotation["image_id"] == image["id"]:
                    targets[row, ids.index(annotation["category_id"])] = 1
        np.testing.assert_array_equal(annotations.split(split).labels.dense(), targets)


@pytest.mark.parametrize(
    ("folder", "file"), [("data", "labels.json"), ("images", "annotations/instances_default.json")]
)
def test_coco_as_fiftyone_and_cvat_lay_it_out(tmp_path, folder, file):
    write(tmp_path / file, instances())
    for number in (1, 2, 3):
        write(tmp_path / folder / f"{number:03d}.jpg", "")
    annotations = read_labels(tmp_path)
    assert annotations.format == "coco"
    assert annotations.splits == ("", "", "")
    assert (annotations.labels.dense() == 1).sum() == 3
    assert not len(find_missing_images(annotations))


@pytest.mark.parametrize("place", ["annotations/{}.json", "{}.json"])
@pytest.mark.parametrize("folder", ["{}", "images/{}", "images"])
@pytest.mark.parametrize("names", [("train", "val"), ("train2017", "val2017")])
def test_files_that_are_named_as_splits_are_read_together(tmp_path, place, folder, names):
    for number, split in enumerate(names):
        write(tmp_path / place.format(split), instances(1 + 10 * number))
        for each in (1, 2, 3):
            write(tmp_path / folder.format(split) / f"{10 * number + each:03d}.jpg", "")
    annotations = read_labels(tmp_path)
    assert annotations.format == "coco"
    assert annotations.splits == ("train",) * 3 + ("val",) * 3
    assert not len(find_missing_images(annotations))
    one = coco.read(tmp_path / place.format(names[1]))
    assert one.splits == ("val",) * 3
    assert not len(find_missing_images(one))


def test_a_split_of_another_kind_is_left_to_other_formats(tmp_path):
    write(tmp_path / "annotations" / "train.json", instances())
    write(tmp_path / "annotations" / "val.json", [{"image": "a.jpg", "labels": ["dog"]}])
    assert not coco.is_coco(tmp_path)
    with pytest.raises(AnnotationError, match=r"annotations/train\.json, annotations/val\.json"):
        read_labels(tmp_path)


def test_only_listed_negatives_are_absent_in_lvis(tmp_path):
    content = instances()
    for image, negative in zip(content["images"], ([90], [], [1, 18]), strict=True):
        image["neg_category_ids"] = negative
        image["coco_url"] = f"http://x.org/train2017/{image.pop('file_name')}"
    path = write(tmp_path / "lvis_v1_train.json", content)
    annotations = coco.read(path)
    assert annotations.images == tuple(f"train2017/{n:03d}.jpg" for n in (1, 2, 3))
    # person, dog, toothbrush
    assert annotations.labels.dense().tolist() == [[1, 1, 0], [-1, -1, -1], [0, 0, 1]]
    assert annotations.notes[0].startswith("categories were looked for in some images only")
    content["images"][1]["neg_category_ids"] = [7]
    with pytest.raises(AnnotationError, match=r"images\[1\]: 'neg_category_ids' is no list of"):
        coco.read(write(path, content))


@pytest.mark.parametrize(
    ("file", "folder", "found"),
    [
        ("annotations/my_train.json", "train2017", "train2017/001.jpg"),
        ("annotations/my_train.json", "images/all", "images/all/001.jpg"),
        ("my.json", "pictures", "pictures/001.jpg"),
        ("annotations/my.json", ".", "001.jpg"),
    ],
)
def test_images_are_found_beside_the_folder_of_the_file(tmp_path, file, folder, found):
    path = write(tmp_path / file, instances())
    for number in (1, 2, 3):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / f"{number:03d}.jpg").touch()
    annotations = read_labels(path)
    assert annotations.path(0) == tmp_path / found
    assert annotations.path(0).exists()
