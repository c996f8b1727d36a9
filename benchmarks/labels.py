"""How long reading a large label file takes, and how much memory, beside Python's csv reader.

    python benchmarks/labels.py
    python benchmarks/labels.py --rows 100000

Two tables: one with a list of three labels of 500 in each row, and one with 80 columns of 1 and 0
and a fifth of the rows. The csv reader alone goes through the same file and drops its cells; the
least that a program has to do in Python keeps every image once and the numbers of its labels. All
are timed in turns, in a process of their own for each table; memory is the process's peak.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import resource
import statistics
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np

from twlcli.annotations.detect import read_labels

LABELS, PER_ROW, COLUMNS = 500, 3, 80
ROUNDS = 3


def write_lists(path: Path, rows: int) -> None:
    """A table with a list of labels in each row."""
    generator = np.random.default_rng(0)
    with path.open("w") as file:
        file.write("image,labels,split\n")
        for row in range(rows):
            labels = sorted({f"label {each}" for each in generator.integers(LABELS, size=PER_ROW)})
            file.write(f"{row % 1000:04d}/{row:08d}.jpg,{'|'.join(labels)},train\n")


def write_columns(path: Path, rows: int) -> None:
    """A table with a column for each label."""
    generator = np.random.default_rng(0)
    with path.open("w") as file:
        file.write(",".join(["image", *(f"label {each}" for each in range(COLUMNS))]) + "\n")
        for row in range(rows):
            cells = (generator.random(COLUMNS) < 0.05).astype(int).astype(str)
            file.write(f"{row:08d}.jpg,{','.join(cells)}\n")


def read_cells(path: Path) -> None:
    """What the csv reader alone does."""
    with path.open(encoding="utf-8", newline="") as file:
        for _ in csv.reader(file):
            pass


def keep_least(path: Path) -> None:
    """What keeping images and labels takes at least: a dictionary and two arrays."""
    rows: dict[str, int] = {}
    known: dict[str, int] = {}
    columns, starts = array("i"), array("q")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        for cells in reader:
            rows[cells[0]] = len(rows)
            if header[1] == "labels":
                columns.extend([known.setdefault(x, len(known)) for x in cells[1].split("|")])
            else:
                columns.extend([place for place, cell in enumerate(cells) if cell == "1"])
            starts.append(len(columns))


def measure(name: str, path: Path) -> None:
    """Print the medians, their ratio and the peak memory of reading one table."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    alone: list[float] = []
    least: list[float] = []
    ours: list[float] = []
    functions: list[Callable[[Path], object]] = [read_cells, keep_least, read_labels]
    for _ in range(ROUNDS):
        for function, seconds in zip(functions, (alone, least, ours), strict=True):
            start = time.perf_counter()
            function(path)
            seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cells, kept, labels = map(statistics.median, (alone, least, ours))
    print(
        f"{name}: csv reader {cells:.2f} s, the least {kept:.2f} s, twl {labels:.2f} s: "
        f"{labels / cells:.1f} and {labels / kept:.1f} times; "
        f"peak {peak >> 10} MB ({before >> 10} MB before)",
        flush=True,
    )


def main() -> None:
    """Measure both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        for name, write, count in (
            (f"{rows:,} rows of lists", write_lists, rows),
            (f"{rows // 5:,} rows of {COLUMNS} columns", write_columns, rows // 5),
        ):
            path = Path(folder) / "labels.csv"
            write(path, count)
            process = multiprocessing.get_context("spawn").Process(
                target=measure, args=(name, path)
            )
            process.start()
            process.join()


if __name__ == "__main__":
    main()
