import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.checking.drawn import annotated, drawn, saved
from twlcli.annotations.detect import read_labels
from twlcli.checking.split import draw_splits, split_labels
from twlcli.errors import AnnotationError, TwlError
from twlcli.runs.run_folder import split_again


@st.composite
def grouped(draw):
    """Annotations, and groups of 1 to 4 images."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    group_count = draw(st.integers(80, 140))
    groups = np.repeat(np.arange(group_count), rng.integers(1, 5, group_count))
    liking = rng.random((group_count, 4)) ** 2
    targets = rng.random((len(groups), 4)) < liking[groups]
    images = [f"{number:04}.jpg" for number in rng.permutation(len(groups))]
    return annotated(targets, images=images), groups


shares = st.sampled_from([(0.1, 0.1), (0.2, 0.0), (0.0, 0.25), (0.15, 0.3)])


@settings(deadline=None, max_examples=60)
@given(data=grouped(), wanted=shares, seed=st.integers(0, 100))
def test_no_group_is_in_two_splits_and_shares_are_kept(data, wanted, seed):
    annotations, groups = data
    val, test = wanted
    splits = np.array(draw_splits(annotations, groups, val=val, test=test, seed=seed))
    for group in np.unique(groups):
        assert len(set(splits[groups == group])) == 1
    for name, share in (("val", val), ("test", test)):
        assert abs((splits == name).sum() - share * len(groups)) <= 4
    present = annotations.labels.dense() == 1
    for column in range(4):
        if len(np.unique(groups[present[:, column]])) >= 8:
            for name in np.unique(splits):
                assert present[splits == name, column].any()


@settings(deadline=None, max_examples=30)
@given(data=grouped(), seed=st.integers(0, 100))
def test_the_order_of_rows_and_of_groups_makes_no_difference(data, seed):
    annotations, groups = data
    order = np.random.default_rng(seed).permutation(len(groups))
    splits = draw_splits(annotations, groups, val=0.1, test=0.2, seed=seed)
    shuffled = draw_splits(
        annotations.select(order), 100 - groups[order], val=0.1, test=0.2, seed=seed
    )
    assert tuple(splits[row] for row in order) == shuffled


@pytest.fixture
def folder(tmp_path):
    """40 images in 20 folders, of which some are copies or look the same as others."""
    lines = ["image,labels,split"]
    for number in range(40):
        name = f"{number // 2:02}/{number}.png"
        saved(tmp_path / name, number)
        lines.append(f"{name},{'dog' if number % 3 else 'cat'},test")
    for number in (0, 10, 20, 30):
        (tmp_path / "more").mkdir(exist_ok=True)
        shutil.copy(tmp_path / f"{number // 2:02}/{number}.png", tmp_path / f"more/{number}.png")
        drawn(number + 1).save(tmp_path / f"more/{number}.jpg", quality=60)
        lines += [f"more/{number}.png,dog,", f"more/{number}.jpg,cat,"]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def split_of(result):
    return dict(zip(result.images, result.splits, strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_copies_and_look_alikes_stay_together(folder, seed):
    pytest.importorskip("imagehash")
    result = split_labels(folder, seed=seed, val=0.2, test=0.2)
    splits = split_of(result)
    for number in (0, 10, 20, 30):
        assert splits[f"more/{number}.png"] == splits[f"{number // 2:02}/{number}.png"]
        assert splits[f"more/{number}.jpg"] == splits[f"{number // 2:02}/{number + 1}.png"]
    assert (result.groups, result.together, result.unreadable) == (8, 16, 0)
    assert set(result.sizes) == {"train", "val", "test"}
    assert sum(result.sizes.values()) == 48


def test_folders_stay_together_with_the_copies_of_their_images(folder):
    pytest.importorskip("imagehash")
    result = split_labels(folder, group_by="folder", val=0.25, test=0.1)
    splits = split_of(result)
    for number in range(0, 40, 2):
        assert (
            splits[f"{number // 2:02}/{number}.png"] == splits[f"{number // 2:02}/{number + 1}.png"]
        )
    joined = {splits[f"{number // 2:02}/{number}.png"] for number in (0, 10, 20, 30)}
    assert joined == {splits["more/0.png"]}
    assert result.groups == 17


def test_groups_of_the_caller(folder):
    annotations = read_labels(folder)
    groups = [None if number < 24 else number % 4 for number in range(48)]
    result = split_labels(folder, groups=groups, look_at_images=False, val=0.2, test=0.2)
    for group in range(4):
        in_it = {split for split, each in zip(result.splits, groups, strict=True) if each == group}
        assert len(in_it) == 1
    assert (result.groups, result.together, result.unreadable) == (4, 24, None)
    assert result.images == annotations.images


def test_the_table_is_read_as_splits(folder):
    out = folder / "splits.csv"
    result = split_labels(folder, out, look_at_images=False)
    annotations = split_again(read_labels(folder), out)
    assert annotations.splits == result.splits
    with pytest.raises(TwlError, match="exists already"):
        split_labels(folder, out)
    again = split_labels(folder, out, look_at_images=False, force=True)
    assert again == result


def test_shares_are_counted_furthest_first(folder):
    result = split_labels(folder, look_at_images=False, test=0)
    labels = read_labels(folder).labels.dense() == 1
    assert len(result.shares) == 4
    for each in result.shares:
        column = ["cat", "dog"].index(each.label)
        rows = [row for row, split in enumerate(result.splits) if split == each.split]
        assert each.images == labels[rows, column].sum()
        assert each.share == each.images / len(rows)
        assert each.overall == labels[:, column].mean()
    offs = [abs(each.off) for each in result.shares]
    assert offs == sorted(offs, reverse=True)
    record = result.to_dict()
    assert record["splits"] == result.sizes and len(record["labels"]) == 4


def test_unreadable_images_are_split_too(folder):
    (folder / "00/0.png").write_text("no image")
    (folder / "01/2.png").unlink()
    result = split_labels(folder)
    assert result.unreadable == 2
    assert len(result.splits) == 48


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"val": 0.6, "test": 0.4}, "leave no image to train on"),
        ({"val": 0, "test": 0}, "both 0"),
        ({"val": -0.1}, "val is -0.1"),
        ({"test": 1.0}, "test is 1"),
        ({"test": float("nan")}, "test is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"workers": 0}, "workers is 0"),
        ({"group_by": "label"}, "group_by is 'label'"),
        ({"groups": [1, 2]}, "2 groups for 48 images"),
    ],
)
def test_wrong_arguments(folder, arguments, says):
    with pytest.raises(TwlError, match=says):
        split_labels(folder, look_at_images=False, **arguments)


def test_one_folder_cannot_be_kept_together(tmp_path):
    (tmp_path / "labels.csv").write_text("image,labels\na.png,x\nb.png,y\n")
    with pytest.raises(AnnotationError, match="all images are in one folder"):
        split_labels(tmp_path, group_by="folder", look_at_images=False)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["a,x,1"], "labels.csv: 1 image is too few for the splits"),
        (["a,x,1", "b,y,2"], "labels.csv: 2 images are too few for the splits"),
        (["a,x,1", "b,y,1", "c,x,2"], "labels.csv: 3 images in 2 groups are too few for the"),
    ],
)
def test_too_few_groups_for_the_splits_are_counted(tmp_path, rows, said):
    (tmp_path / "labels.csv").write_text("\n".join(["image,labels,group", *rows]))
    with pytest.raises(AnnotationError, match=said):
        split_labels(tmp_path, group_column="group", look_at_images=False)
