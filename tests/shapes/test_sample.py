import csv
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from twlcli.annotations.table import read_table
from twlcli.errors import AnnotationError
from twlcli.shapes import drawing, sample
from twlcli.shapes.drawing import SUPERSAMPLE, Object


def rows_of(folder):
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "shapes"
    sample.draw(folder, count=500, seed=0)
    return folder


def test_draw_writes_images_and_table(drawn):
    rows = rows_of(drawn)
    assert sorted(p.name for p in drawn.iterdir()) == ["images", "labels.csv"]
    assert [row["image"] for row in rows] == [f"images/{i:05d}.jpg" for i in range(500)]
    assert [row["split"] for row in rows[:5]] == ["train"] * 4 + ["val"]
    assert sum(row["split"] == "val" for row in rows) == 100
    with Image.open(drawn / rows[17]["image"]) as image:
        assert (image.size, image.mode, image.format) == ((96, 96), "RGB", "JPEG")
    assert [p.name for p in drawn.parent.iterdir()] == ["shapes"]


def test_draw_is_read_back_by_the_table_reader(drawn):
    annotations = read_table(drawn / "labels.csv")
    assert sorted(annotations.vocabulary) == sorted(sample.LABELS)
    assert annotations.split_names() == ("train", "val")
    assert all(annotations.path(row).is_file() for row in range(len(annotations)))


def test_draw_labels_have_a_long_tail_and_go_together(drawn):
    sets = [set(filter(None, row["labels"].split("|"))) for row in rows_of(drawn)]
    share = {label: np.mean([label in s for s in sets]) for label in sample.LABELS}
    assert 0.45 < max(share.values()) < 0.6
    assert 0.01 < min(share.values()) < 0.06
    assert sum(not s for s in sets) > 0
    yellow_with_star = np.mean(["yellow" in s for s in sets if "star" in s])
    assert yellow_with_star > 4 * share["yellow"]


def test_draw_same_seed_same_bytes_and_count_changes_nothing(tmp_path, drawn):
    sample.draw(tmp_path / "again", count=10, seed=0)
    assert rows_of(tmp_path / "again") == rows_of(drawn)[:10]
    for row in rows_of(tmp_path / "again"):
        assert (tmp_path / "again" / row["image"]).read_bytes() == (
            drawn / row["image"]
        ).read_bytes()


def test_draw_other_seed_other_pictures(tmp_path, drawn):
    sample.draw(tmp_path / "other", count=10, seed=1, size=64)
    assert [row["labels"] for row in rows_of(tmp_path / "other")] != [
        row["labels"] for row in rows_of(drawn)[:10]
    ]
    with Image.open(tmp_path / "other/images/00000.jpg") as image:
        assert image.size == (64, 64)


def test_draw_into_empty_folder(tmp_path):
    sample.draw(tmp_path, count=5)
    assert len(rows_of(tmp_path)) == 5


def test_draw_refuses_what_is_there(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(AnnotationError, match="is not empty; the sample set needs a new or empty"):
        sample.draw(tmp_path, count=5)
    with pytest.raises(AnnotationError, match="is a file; the sample set needs"):
        sample.draw(tmp_path / "notes.txt", count=5)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_draw_interrupted_leaves_nothing(tmp_path, monkeypatch):
    whole = sample.draw_image

    def interrupted(*, seed, index, size):
        if index == 3:
            raise KeyboardInterrupt
        return whole(seed=seed, index=index, size=size)

    monkeypatch.setattr(sample, "draw_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sample.draw(tmp_path / "new", count=5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 4}, "count is 4; expected 5 or more"),
        ({"seed": -1}, "seed is -1; expected 0 or greater"),
        ({"size": 16}, "size is 16; expected 32 to 1024"),
    ],
)
def test_draw_arguments_out_of_range(tmp_path, arguments, message):
    with pytest.raises(AnnotationError, match=message):
        sample.draw(tmp_path / "new", **arguments)
    assert list(tmp_path.iterdir()) == []


def reference_labels(objects, masks):
    """The rules of `true_labels` on sets of pixels."""
    areas = [set(map(tuple, np.argwhere(mask).tolist())) for mask in masks]
    found, counted = set(), []
    for at, item in enumerate(objects):
        hidden = set().union(*areas[at + 1 :])
        if len(areas[at] - hidden) >= 0.5 * len(areas[at]):
            counted.append(at)
            found |= {item.shape, item.colour, item.texture}
    for below, above in combinations(counted, 2):
        shared = areas[below] & areas[above]
        smaller = min(len(areas[below]), len(areas[above]))
        if shared == areas[above]:
            found.add("nested")
        elif 0.1 * smaller <= len(shared) <= 0.8 * smaller:
            found.add("overlapping")
    return tuple(label for label in sample.LABELS if label in found)


def test_true_labels_equal_the_rules_on_sets_of_pixels():
    for index in range(40):
        rng = np.random.default_rng((7, index))
        objects, masks = sample.compose(drawing.ground(96, rng), rng)
        assert sample.true_labels(objects, masks) == reference_labels(objects, masks)


def test_compose_leaves_nothing_in_doubt():
    for index in range(60):
        rng = np.random.default_rng((8, index))
        objects, masks = sample.compose(drawing.ground(96 * SUPERSAMPLE, rng), rng)
        for share in sample.visible_shares(masks):
            assert share >= sample.VISIBLE or share <= sample.SLIVER
        for below, above in combinations(range(len(objects)), 2):
            kind = sample.relation(masks[below], masks[above])
            assert kind is not None
            assert kind == "apart" or objects[below].colour != objects[above].colour


def square(left, top, side):
    mask = np.zeros((40, 40), dtype=np.bool_)
    mask[top : top + side, left : left + side] = True
    return mask


def thing(shape="circle", colour="red", texture="plain"):
    return Object(shape, colour, texture, centre=(0.0, 0.0), radius=1.0, angle=0.0)


def test_true_labels_mostly_hidden_object_does_not_count():
    hidden = (thing(), thing("square", "blue", "striped"))
    assert sample.true_labels(hidden, [square(2, 0, 10), square(0, 0, 20)]) == (
        "square",
        "blue",
        "striped",
    )


def test_true_labels_relations():
    pair = (thing(), thing("star", "white"))
    for second, expected in [
        (square(30, 30, 5), ("circle", "star", "red")),
        (square(15, 15, 10), ("circle", "star", "red", "overlapping")),
        (square(5, 5, 6), ("circle", "star", "red", "nested")),
    ]:
        assert sample.true_labels(pair, [square(0, 0, 20), second]) == expected


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ("circle", np.pi),
        ("square", 2.0),
        ("triangle", 3 * np.sqrt(3) / 4),
        ("star", 10 * 0.5 * 0.45 * np.sin(np.pi / 5)),
    ],
)
def test_mask_has_the_area_of_the_shape(shape, area):
    item = Object(shape, "red", "plain", centre=(100.0, 100.0), radius=80.0, angle=0.3)
    # Pillow's polygons include their border, so up to half a pixel on each side.
    assert item.mask(200).sum() == pytest.approx(area * 80**2, rel=0.05)


def test_develop_keeps_a_colour_recognisable():
    rng = np.random.default_rng(0)
    for colour, (red, green, blue) in drawing.PALETTE.items():
        canvas = Image.new("RGB", (96 * SUPERSAMPLE,) * 2, (red, green, blue))
        mean = np.asarray(drawing.develop(canvas, 96, rng)).mean(axis=(0, 1))
        nearest = min(
            drawing.PALETTE,
            key=lambda name: np.square(
                mean / mean.max() - np.array(drawing.PALETTE[name]) / max(drawing.PALETTE[name])
            ).sum(),
        )
        if colour not in ("white", "black"):
            assert nearest == colour
