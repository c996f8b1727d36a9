"""A run folder: its splits, and what is refused before it is made."""

import csv
from pathlib import Path

import pytest

from twlcli.errors import AnnotationError, ModelError, TwlError
from twlcli.recipe import DataRecipe, Recipe
from twlcli.runs.run_folder import Run, check_network, open_data


def rows(path: Path) -> dict[str, str]:
    with path.open() as file:
        return {row["image"]: row["split"] for row in csv.DictReader(file)}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """20 images without a split."""
    path = tmp_path / "labels.csv"
    lines = [f"{number}.jpg,{'cat' if number % 2 else 'dog'}" for number in range(20)]
    path.write_text("\n".join(["image,labels", *lines]) + "\n")
    return path


def new_run(folder: Path, table: Path, **data: str) -> Run:
    return Run.create(folder, Recipe().with_values({"data": {"path": str(table), **data}}))


def test_a_split_is_used_again_and_new_images_are_for_training(tmp_path, table):
    first = new_run(tmp_path / "a", table)
    _, held = first.split_data()
    with table.open("a") as file:
        file.write("20.jpg,bird\n21.jpg,cat\n")
    for splits in (first.folder, first.folder / "split.csv"):
        again = new_run(tmp_path / f"b{splits.suffix}", table, splits=str(splits))
        data = again.data()
        train, validation = again.split_data(data)
        assert validation.images == held.images
        assert {"20.jpg", "21.jpg"} <= set(train.images)
        assert rows(again.folder / "split.csv") == {
            **rows(first.folder / "split.csv"),
            "20.jpg": "train",
            "21.jpg": "train",
        }
        (first.folder / "split.csv").rename(tmp_path / "gone")
        assert again.data().splits == data.splits  # the run's own
        (tmp_path / "gone").rename(first.folder / "split.csv")


def test_images_that_corrections_bring_to_a_run_are_for_training(tmp_path, table):
    first = new_run(tmp_path / "a", table)
    train, held = first.split_data()
    corrections = tmp_path / "corrections.csv"
    corrections.write_text("image,label,verdict\nnew.jpg,cat,present\n")
    (tmp_path / "new.jpg").touch()
    recipe = first.recipe.with_values({"data": {"corrections": str(corrections)}})
    again_train, again_held = Run(first.folder, recipe).split_data()
    assert again_train.images == (*train.images, "new.jpg")
    assert again_held.images == held.images
    with table.open("a") as file:
        file.write("20.jpg,bird\n")
    with pytest.raises(AnnotationError, match="its images are not those that"):
        Run.open(first.folder).data()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such table of images and splits"),
        (
            "image,split\n0.png,val\n1.png,train\n0.png,train\n",
            "4: '0.png' is in split 'train' and before that in 'val'",
        ),
        ("image,labels\n1.jpg,cat\n", "expected columns image and split"),
        ("image,split\nother.jpg,val\n", r"names no image of .*labels\.csv"),
    ],
)
def test_a_table_of_splits_that_does_not_serve_is_refused(tmp_path, table, content, message):
    path = tmp_path / "splits.csv"
    if content is not None:
        path.write_text(content)
    recipe = Recipe().with_values({"data": {"path": str(table), "splits": str(path)}})
    with pytest.raises(AnnotationError, match=rf"splits\.csv:.*{message}"):
        open_data(recipe.data)


def test_a_recipe_that_cannot_be_written_leaves_no_folder(tmp_path, monkeypatch):
    def full(path: Path, write: object) -> None:
        raise TwlError(f"{path}: cannot be written (File too large)")

    monkeypatch.setattr("twlcli.runs.run_folder.write_whole", full)
    with pytest.raises(TwlError, match="File too large"):
        Run.create(tmp_path / "a" / "run", Recipe())
    assert not (tmp_path / "a").exists()


def test_weights_can_be_a_run(tmp_path):
    def check(weights: Path) -> None:
        check_network(Recipe().with_values({"model": {"weights": str(weights)}}))

    with pytest.raises(ModelError, match=r"has no model\.safetensors, as a run folder has"):
        check(tmp_path)
    with pytest.raises(ModelError, match="no such weights file or run folder"):
        check(tmp_path / "gone")
    (tmp_path / "model.safetensors").touch()
    check(tmp_path)
    check(tmp_path / "model.safetensors")


def test_what_was_saved_is_not_discarded(tmp_path, table):
    for name in ("state.pt", "state-older.pt", "model.safetensors"):
        run = new_run(tmp_path / name, table)
        (run.folder / name).touch()
        run.discard()
        assert (run.folder / name).exists()
    run = new_run(tmp_path / "nothing", table)
    run.split_data()
    run.discard()
    assert not run.folder.exists()


def test_folders_above_go_with_a_run_that_is_discarded(tmp_path, table):
    first = new_run(tmp_path / "runs" / "new" / "a", table)
    second = new_run(tmp_path / "runs" / "new" / "b", table)
    first.discard()
    assert [path.name for path in (tmp_path / "runs" / "new").iterdir()] == ["b"]
    second.discard()
    assert (tmp_path / "runs" / "new").is_dir()  # was there before the second
    third = new_run(tmp_path / "other" / "new" / "c", table)
    third.suited(images=5, labels=2).discard()
    assert not (tmp_path / "other").exists()
    assert tmp_path.is_dir()


def test_a_run_reads_its_labels_as_it_was_told(tmp_path):
    path, names = tmp_path / "scans.csv", tmp_path / "names.json"
    path.write_text("Scan,Who,0,cat,dog\n" + "".join(f"{i},p{i},,{i % 2},1\n" for i in range(6)))
    data = {
        "image_column": "Scan",
        "label_columns": "0:dog",
        "ignore_columns": "Who",
        "blank": "unknown",
        "ignore_labels": ["dog"],
        "extension": "jpg",
    }
    run = Run.create(tmp_path / "run", Recipe().with_values({"data": {"path": str(path), **data}}))
    annotations = Run.open(run.folder).data()  # by way of recipe.toml
    assert annotations.vocabulary.names == ("0", "cat")
    assert annotations.images[0] == "0.jpg"
    assert annotations.labels.dense().tolist() == [[-1, i % 2] for i in range(6)]
    names.write_text('["cat", "dog"]')
    path.write_text("Scan,Seen\na.jpg,0 1\nb.jpg,1\n")
    recipe = DataRecipe(path=str(path), image_column="Scan", labels_column="Seen", names=str(names))
    assert open_data(recipe).labels.dense().tolist() == [[1, 1], [0, 1]]


def test_held_out_images_do_not_depend_on_the_order_of_rows(tmp_path, table):
    _, held = new_run(tmp_path / "a", table).split_data()
    header, *lines = table.read_text().splitlines()
    other = tmp_path / "other.csv"
    other.write_text("\n".join([header, *sorted(lines, key=lambda line: line[::-1])]) + "\n")
    _, again = new_run(tmp_path / "b", other).split_data()
    assert set(again.images) == set(held.images)
    assert len(held) == 2


def test_no_group_is_held_out_in_part(tmp_path):
    path = tmp_path / "scans.csv"
    rows = [f"{number}.jpg,{'cat' if number % 3 else 'dog'},p{number // 4}" for number in range(40)]
    path.write_text("\n".join(["image,labels,patient", *rows]) + "\n")
    run = new_run(tmp_path / "run", path, group_column="patient")
    train, validation = run.split_data()
    assert len(validation) == 4
    assert set(validation.groups).isdisjoint(train.groups)
    assert run.data().groups[:5] == ("p0", "p0", "p0", "p0", "p1")
    assert not any("groups" in note for note in train.notes)
    splits = tmp_path / "splits.csv"
    splits.write_text("image,split\n0.jpg,val\n39.jpg,val\n")
    again = new_run(tmp_path / "again", path, group_column="patient", splits=str(splits))
    train, _ = again.split_data()
    assert train.notes[-1] == "groups that lie in several splits: 2, such as 'p0'"


@pytest.fixture
def folds(tmp_path: Path) -> Path:
    path = tmp_path / "folds.csv"
    rows = [f"{number}.jpg,{'cat' if number % 2 else 'dog'},{number % 5}" for number in range(20)]
    path.write_text("\n".join(["image,labels,fold", *rows]) + "\n")
    return path


@pytest.mark.parametrize("train_split", ["fold 0,fold 1, fold 2", "0,1,fold 2"])
@pytest.mark.parametrize("validation_split", ["fold 3", "3"])
def test_several_folds(tmp_path, folds, train_split, validation_split):
    data = {"train_split": train_split, "validation_split": validation_split}
    run = new_run(tmp_path / "run", folds, **data)
    train, validation = run.split_data()
    assert {int(image.removesuffix(".jpg")) % 5 for image in train.images} == {0, 1, 2}
    assert validation.images == ("3.jpg", "8.jpg", "13.jpg", "18.jpg")
    assert not (run.folder / "split.csv").exists()


def test_a_part_of_several_folds_is_held_out(tmp_path, folds):
    run = new_run(tmp_path / "run", folds, train_split="0,1")
    train, validation = run.split_data()
    assert (len(train), len(validation)) == (7, 1)
    again, held = Run.open(run.folder).split_data()
    assert (again.images, held.images) == (train.images, validation.images)


@pytest.mark.parametrize(
    ("train_split", "validation_split", "message"),
    [
        ("0,7", "3", r"no image is in split '7' \(splits: fold 0, fold 1,"),
        ("0,1", "3,7", r"no image is in split '7' \(splits: fold 0,"),
        ("0,1", "8,9", r"no image is in split '8' \(splits: fold 0,"),
        ("0,1", "fold 1", "split 'fold 1' is both for training and for validation"),
    ],
)
def test_folds_that_are_not_there(tmp_path, folds, train_split, validation_split, message):
    data = {"train_split": train_split, "validation_split": validation_split}
    with pytest.raises(AnnotationError, match=message):
        new_run(tmp_path / "run", folds, **data).split_data()


def test_too_few_training_images_are_counted(tmp_path):
    for lines, said in (
        (["a.png,x", "b.png,y"], "one image is left for training after the hold-out; expected two"),
        (
            ["a.png,x,train", "b.png,y,val"],
            "one image is in the split 'train'; training needs two or more",
        ),
    ):
        table = tmp_path / "few.csv"
        heading = "image,labels,split" if "train" in lines[0] else "image,labels"
        table.write_text("\n".join([heading, *lines]) + "\n")
        for name in ("a.png", "b.png"):
            (tmp_path / name).touch()
        with pytest.raises(AnnotationError, match=f": {said}"):
            new_run(tmp_path / said, table).split_data()
