from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import normal_label, normal_split
from twlcli.annotations.read_options import ReadOptions
from twlcli.annotations.table import read_table
from twlcli.annotations.write import write_table
from twlcli.errors import AnnotationError, TwlError
from twlcli.labels import LabelMatrix, Vocabulary


def annotate(root, images, targets, names, splits=None):
    return Annotations(
        source=root / "source",
        format="test",
        root=root,
        images=tuple(images),
        labels=LabelMatrix.from_dense(np.array(targets, dtype=np.int8).reshape(-1, len(names))),
        vocabulary=Vocabulary(tuple(names)),
        splits=tuple(splits) if splits else ("",) * len(images),
    )


def assert_same(first, second):
    assert first.images == second.images
    assert first.splits == second.splits
    assert first.vocabulary == second.vocabulary
    np.testing.assert_array_equal(first.labels.dense(), second.labels.dense())


names = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    st.sampled_from(
        [
            "a|b",
            "a;b",
            "a,b",
            "[a]",
            '"',
            "['a']",
            "a\nb",
            "a\rb",
            "0",
            "split",
            "NULL",
            "a a_b",
            "a_b",
        ]
    ),
).map(normal_label)


@st.composite
def any_annotations(draw):
    vocabulary = draw(st.lists(names.filter(bool), unique=True, min_size=1, max_size=4))
    path = st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0/\\"), min_size=1, max_size=8
    )
    images = draw(st.lists(path, unique=True, min_size=1, max_size=5))
    cells = st.sampled_from([1, 0, -1])
    count = len(images) * len(vocabulary)
    targets = draw(st.lists(cells, min_size=count, max_size=count))
    split = st.sampled_from(["", "train", "val", "fold 1", 'a"b', "a,b"])
    splits = draw(st.lists(split, min_size=len(images), max_size=len(images)))
    return images, targets, vocabulary, [normal_split(each) for each in splits]


@settings(max_examples=150, deadline=None)
@example((["\ufeffa.jpg"], [1], ["\ufeff"], [""]))
@example((["a.jpg"], [0], ["never"], [""]))
@example((["a\r.jpg", " b\n.jpg "], [1, -1, 0, 0], ["z", "a"], ["val", ""]))
@example((["a", "b", "c"], [1, 0, 0, 0, 1, 0, 0, 0, 1], ["a", "a b", "b"], [""] * 3))
@given(any_annotations())
def test_write_then_read_is_exact(tmp_path_factory, parts):
    folder = tmp_path_factory.getbasetemp() / "exact"
    folder.mkdir(exist_ok=True)
    images, targets, vocabulary, splits = parts
    annotations = annotate(folder, images, targets, vocabulary, splits)
    for name in ("labels.csv", "labels.tsv"):
        write_table(annotations, folder / name)
        assert_same(read_table(folder / name), annotations)


def test_write_plain_form(tmp_path):
    annotations = annotate(tmp_path, ["a.jpg", "b.jpg"], [[1, 1], [0, 0]], ["cat", "dog"])
    write_table(annotations, tmp_path / "labels.csv")
    assert (tmp_path / "labels.csv").read_text() == "image,labels\na.jpg,cat|dog\nb.jpg,\n"


def test_write_all_columns(tmp_path):
    annotations = annotate(
        tmp_path,
        ["a,1.jpg", "b.jpg"],
        [[1, -1, 1], [0, -1, 0]],
        ["dog", "cat", "ant"],
        ["train", ""],
    )
    write_table(annotations, tmp_path / "labels.csv")
    assert (tmp_path / "labels.csv").read_text() == (
        "image,labels,split,unknown,vocabulary\n"
        '"a,1.jpg",dog|ant,train,cat,"[""dog"", ""cat"", ""ant""]"\n'
        "b.jpg,,,cat,\n"
    )


def test_write_more_rows_than_are_taken_at_once(tmp_path):
    rng = np.random.default_rng(0)
    targets = rng.choice([1, 0, 0, -1], size=(9000, 3))
    images = [f"{row}.jpg" for row in range(len(targets))]
    annotations = annotate(tmp_path, images, targets, ["a", "b", "c"])
    write_table(annotations, tmp_path / "labels.csv")
    assert_same(read_table(tmp_path / "labels.csv"), annotations)


def test_write_paths_lead_from_the_table_to_the_images(tmp_path):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "sub" / "a.jpg").touch()
    (tmp_path / "tables").mkdir()
    absolute = str(tmp_path / "data" / "sub" / "b.jpg")
    annotations = annotate(tmp_path / "data", ["sub/a.jpg", absolute], [[1], [0]], ["dog"])
    for folder, expected in (
        (tmp_path, "data/sub/a.jpg"),
        (tmp_path / "tables", "../data/sub/a.jpg"),
        (tmp_path / "data" / "sub", "../sub/a.jpg"),
    ):
        write_table(annotations, folder / "labels.csv")
        again = read_table(folder / "labels.csv")
        assert again.images == (expected, absolute)
        assert again.path(0).is_file()


def test_write_into_a_linked_folder(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jpg").touch()
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "near").symlink_to(tmp_path / "far" / "away", target_is_directory=True)
    annotations = annotate(tmp_path / "data", ["a.jpg"], [[1]], ["dog"])
    write_table(annotations, tmp_path / "near" / "labels.csv")
    assert read_table(tmp_path / "near" / "labels.csv").path(0).is_file()


def test_write_relative_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").touch()
    (tmp_path / "out").mkdir()
    annotations = annotate(Path(), ["a.jpg"], [[1]], ["dog"])
    write_table(annotations, Path("labels.csv"))
    assert read_table(Path("labels.csv")).images == ("a.jpg",)
    write_table(annotations, Path("out/labels.csv"))
    assert read_table(Path("out/labels.csv")).images == ("../a.jpg",)


def test_write_replaces_whole_or_not_at_all(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("before")
    annotations = annotate(tmp_path, ["a.jpg", "b\udcff.jpg"], [[1], [0]], ["dog"])
    with pytest.raises(AnnotationError, match=r"'b\\udcff.jpg' is not Unicode text"):
        write_table(annotations, path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    write_table(replace(annotations, images=("a.jpg", "b.jpg")), path)
    assert path.read_text() == "image,labels\na.jpg,dog\nb.jpg,\n"
    assert list(tmp_path.iterdir()) == [path]


def test_write_refusals(tmp_path):
    annotations = annotate(tmp_path, ["a.jpg"], [[1]], ["dog"])
    with pytest.raises(AnnotationError, match=r"must end in \.csv, \.tsv or \.parquet"):
        write_table(annotations, tmp_path / "labels.json")
    with pytest.raises(TwlError, match=r"labels\.csv: cannot be written \(No such file"):
        write_table(annotations, tmp_path / "none" / "labels.csv")


def test_groups_are_written(tmp_path):
    annotations = annotate(tmp_path, ["a.jpg", "b.jpg"], [[1], [0]], ["dog"])
    write_table(replace(annotations, groups=("p 1", "")), tmp_path / "labels.csv")
    assert (tmp_path / "labels.csv").read_text() == "image,labels,group\na.jpg,dog,p 1\nb.jpg,,\n"
    again = read_table(tmp_path / "labels.csv", ReadOptions(group_column="group"))
    assert again.groups == ("p 1", "")
