"""What Ray costs on one machine: `twl tag --engine ray` as a multiple of `twl tag`.

    python benchmarks/tag_ray.py photographs/ --count 20000

Both are commands of their own and write Parquet; the rounds take turns. Where there are fewer
photographs, each is linked as often as is needed. The rows of both are compared. `seconds of Ray`
is what a run takes for 32 images: the start of Ray and of its workers, once for each run. It needs
the extras `ray` and `parquet`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from pyarrow import dataset, parquet

COLUMNS = ["image", "labels", "probabilities"]


def linked(source: Path, folder: Path, count: int) -> None:
    """A folder of so many images: links to those of another."""
    folder.mkdir()
    found = sorted(path for path in source.rglob("*.jpg"))
    for number in range(count):
        path = found[number % len(found)]
        (folder / f"{number:07}.jpg").symlink_to(path.absolute())


def seconds(*arguments: object) -> float:
    """How long `twl tag` takes with these arguments."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "twlcli", "tag", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def check_same(table: Path, parts: Path) -> None:
    """Stop where the rows are not the same."""
    one = parquet.read_table(table, columns=COLUMNS).sort_by("image").combine_chunks()
    other = dataset.dataset(parts / "outcome=tagged").to_table(columns=COLUMNS)
    if not other.sort_by("image").combine_chunks().cast(one.schema).equals(one):
        sys.exit("the rows differ")


def main() -> None:
    """Time both, and print the ratio of each round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        linked(given.images, folder / "few", 32)
        linked(given.images, folder / "many", given.count)
        starts = seconds(folder / "few", "--engine", "ray", "--out", folder / "start")
        ratios = []
        for number in range(given.rounds):
            table, parts = folder / f"{number}.parquet", folder / f"parts{number}"
            plain = seconds(folder / "many", "--out", table)
            ray = seconds(folder / "many", "--engine", "ray", "--out", parts)
            check_same(table, parts)
            shutil.rmtree(parts)
            ratios.append(ray / plain)
            print(f"twl tag {plain:.1f} s, with Ray {ray:.1f} s: {ratios[-1]:.2f}", flush=True)
        print(f"{given.count:,} images: {median(ratios):.2f} times as long as without Ray")
        print(f"seconds of Ray: {starts:.1f}")


if __name__ == "__main__":
    main()
