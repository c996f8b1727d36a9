"""Tables read by the thousand rows against the same read row by row."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twlcli.annotations import plain_table, table
from twlcli.annotations.annotations import Annotations
from twlcli.annotations.builder import AnnotationBuilder
from twlcli.annotations.csv_layout import find_layout
from twlcli.errors import AnnotationError
from twlcli.training.loader import EpochOrder

PLAIN = [
    "image,labels\na.jpg,dog|cat\nb.jpg,\nc.jpg,cat|dog|cat\n",
    "image,labels\r\na.jpg,dog;cat\r\nb.jpg,bird",
    'image,labels\na.jpg,"dog, big|cat"\nb.jpg,bird\n'.replace(", big", ""),
    "image\tlabels\tsplit\na.jpg\tdog|cat\tVal\n./b.jpg\tx\t\nc.jpg\tdog\ttrain\n",
    "image,labels,split,patient\na.jpg,dog,kept,p1\nb.jpg,cat,valid,\nc.jpg,dog| cat,test,p1\n",
    "image,labels\na.jpg,17|4\nb.jpg,3|dog\n",
    "image,labels\na.jpg,crane (bird)|cafe\u0301\nb.jpg,café| x \n",
    "image,labels\na.jpg,teddy bear\nb.jpg,dog\n",
]
NOT_PLAIN = [
    "image,labels\na.jpg,dog|cat\na.jpg,dog\n",  # an image twice
    "image,labels\na.jpg,dog|cat\n\nb.jpg,dog\n",
    "image,labels\na.jpg,dog|cat\nb.jpg,dog|cat,cow\n",
    'image,labels\na.jpg,"dog\ncat"\nb.jpg,dog|cow\n',
    "image,labels\na.jpg,1|0|0\nb.jpg,0|1|1\n",  # vectors
    "image,labels\na.jpg,dog|nan\nb.jpg,nan\n",
    "image,labels\na.jpg,7.0|cat\nb.jpg,7|cat\n",
    "image,labels\na.jpg,dog;cat\nb.jpg,dog|cow;pig\n",
    'image,labels\na.jpg,"[""dog""]"\nb.jpg,"[]"\n',
    "image,labels\nimage,labels\nb.jpg,dog|cow\n",
    "image,labels\n,dog|cow\nb.jpg,dog|cow\n",
    "image,labels\n./,dog|cow\nb.jpg,dog|cow\n",
    "image,labels\na.jpg,scab rust\nb.jpg,scab\nc.jpg,rust\n",
]


def both(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Annotations | str]:
    """What is read, and what is read row by row."""
    found: list[Annotations | str] = []
    for by_rows in (False, True):
        with monkeypatch.context() as context:
            if by_rows:
                context.setattr(table, "add_plain", lambda *_: False)
            try:
                found.append(table.read_table(path))
            except AnnotationError as error:
                found.append(str(error))
    return found


def check_same(one: Annotations | str, other: Annotations | str) -> None:
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
        return
    for name in ("images", "vocabulary", "splits", "groups", "notes", "rules", "root"):
        assert getattr(one, name) == getattr(other, name), name
    assert (one.labels.dense() == other.labels.dense()).all()
    assert (one.labels.columns == other.labels.columns).all()
    assert one.lines is not None and other.lines is not None
    assert one.lines.tolist() == other.lines.tolist()


def is_plain(path: Path) -> bool:
    builder = AnnotationBuilder(path, format_name="csv", root=path.parent)
    return plain_table.add_plain(builder, path, find_layout(path))


@pytest.mark.parametrize("text", [*PLAIN, *NOT_PLAIN])
def test_both_ways_read_the_same(text, tmp_path, monkeypatch):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode())
    assert is_plain(path) == (text in PLAIN)
    check_same(*both(path, monkeypatch))


CELLS = st.text("ab10 |;.[(-\"'\u0301/", max_size=6)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5), st.booleans())
def test_both_ways_read_any_table_alike(tmp_path_factory, rows, numbered):
    path = tmp_path_factory.mktemp("tables") / "labels.csv"
    names = [(f"{row}.jpg" if numbered else cells[0]) for row, cells in enumerate(rows)]
    lines = [f"{name},{labels}\n" for name, (_, labels) in zip(names, rows, strict=True)]
    path.write_text("image,labels\n" + "".join(lines))
    with pytest.MonkeyPatch.context() as monkeypatch:
        check_same(*both(path, monkeypatch))


def test_many_rows_take_little_memory_and_an_epoch_no_list(tmp_path):
    count, labels = 50_000, 2000
    drawn = np.random.default_rng(0).integers(labels, size=(count, 4)).tolist()
    path = tmp_path / "labels.csv"
    with path.open("w") as file:
        file.write("image,labels\n")
        file.writelines(
            f"photos/{row // 1000:04d}/{row:07d}.jpg,label {'|label '.join(map(str, each))}|dog\n"
            for row, each in enumerate(drawn)
        )
    del drawn
    tracemalloc.start()
    annotations = table.read_table(path)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    order = EpochOrder(count, batch_size=256, seed=0, rank=0, world=1)
    seen = sum(map(len, order))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(annotations) == count and len(annotations.vocabulary) == labels + 1
    assert seen == count // 256 * 256
    assert kept < 110 * count  # 24 of the path, 25 of the labels; an str alone takes 73
    assert peak - kept < 10 * count  # the order itself takes 8
