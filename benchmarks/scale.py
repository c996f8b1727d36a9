"""What `twl train` costs on a table of millions of rows and thousands of labels, before it decodes.

    python benchmarks/scale.py
    python benchmarks/scale.py --rows 200000 --labels 2000
    python benchmarks/scale.py --splits --only starting
    python benchmarks/scale.py --only ranks

A table of images with 3 to 5 labels each, of which the rank in frequency is Zipf's, is written and
read. Each line is measured in a process of its own: seconds, seconds of CPU time, and the peak of
memory beside what the process took before. There are no images: looking whether files are there is
measured apart, on empty files.

    reading         `read_labels`
    holding out     drawing a tenth for validation, recording it, and both parts
    starting        `twlcli.train` until the first batch is asked for, torch's import included
    an epoch        the order of the images, walked
    workers         two processes that make batches of dense targets; the memory of their own
    files           looking whether files are there, and hashing names and sizes, as after an epoch
    validation      scores, calibration and thresholds, in bytes for each image and label
    ranks           what each of several ranks sends in a step, computed
"""

from __future__ import annotations

import argparse
import multiprocessing
import pickle
import re
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

BATCH = 256
ENTRIES = 20_000_000  # of images and labels that are scored
WALKED = 400  # batches of two workers
BACKBONE = 23_508_032  # parameters of ResNet-50 without its head, which takes 2,048 features
MOBILENET = ("model.backbone=mobilenet_v2", "model.weights=none", "schedule.epochs=1")


def write_table(path: Path, rows: int, labels: int, *, splits: bool) -> None:
    """A table of `rows` images in folders of a thousand, on request with a column of splits."""
    generator = np.random.default_rng(0)
    shares = np.cumsum(1 / np.arange(1, labels + 1))
    with path.open("w") as file:
        file.write(f"image,labels{',split' if splits else ''}\n")
        for first in range(0, rows, 100_000):
            count = min(100_000, rows - first)
            per_row = generator.integers(3, 6, size=count).tolist()
            drawn = np.searchsorted(shares / shares[-1], generator.random((count, 5))).tolist()
            for row in range(count):
                names = sorted({f"label {each}" for each in drawn[row][: per_row[row]]})
                split = (",val" if row % 10 == 0 else ",train") if splits else ""
                file.write(f"{name_of(first + row)},{'|'.join(names)}{split}\n")


def name_of(row: int) -> str:
    """The path of an image."""
    return f"photos/{row // 1000:04d}/{row:07d}.jpg"


def measured(name: str, work: Callable[[], str]) -> None:
    """Print what some work takes, and what it says."""
    before, started, cpu = peak_memory(), time.perf_counter(), time.process_time()
    told = work()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    memory = peak_memory() - before
    print(f"{name:12} {seconds:7.1f} s, CPU {cpu:6.1f} s, {memory:6,} MB  {told}", flush=True)


def peak_memory() -> int:
    """The most memory that this process took so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def reading(folder: Path) -> None:
    """Read the table, and keep what was read for the others."""
    from twlcli.annotations.detect import read_labels

    read = []

    def work() -> str:
        read.append(read_labels(folder / "labels.csv"))
        return f"{len(read[0]):,} images, {len(read[0].vocabulary):,} labels"

    measured("reading", work)
    with (folder / "read.pickle").open("wb") as file:
        pickle.dump(read[0], file, protocol=5)


def holding_out(folder: Path) -> None:
    """Draw the validation images, and make both parts."""
    from twlcli.runs.resolve import resolved_recipe
    from twlcli.runs.run_folder import Run

    data = pickle.loads((folder / "read.pickle").read_bytes())  # noqa: S301  written above
    run = Run.create(folder / "held", resolved_recipe(str(folder / "labels.csv"), None, MOBILENET))

    def work() -> str:
        train, validation = run.split_data(data)
        return f"{len(train):,} and {len(validation):,} images"

    measured("holding out", work)


def starting(folder: Path) -> None:
    """Train to the first batch; that the files are there is not looked at."""
    from twlcli.errors import InterruptedRunError

    def work() -> str:
        import twlcli

        with (
            mock.patch("twlcli.training.trainer.check_images"),
            mock.patch("twlcli.training.trainer.Trainer._interrupt", side_effect=_first_batch),
            suppress(InterruptedRunError),
        ):
            twlcli.train(
                folder / "labels.csv",
                out=folder / "run",
                settings=MOBILENET,
                device="cpu",
                should_stop=lambda: True,
            )
        return "MobileNetV2"

    measured("starting", work)


def _first_batch() -> None:
    from twlcli.errors import InterruptedRunError

    raise InterruptedRunError("the first batch is asked for", Path())


def an_epoch(folder: Path) -> None:
    """Walk the order of an epoch."""
    from twlcli.training.loader import EpochOrder

    rows = len(pickle.loads((folder / "read.pickle").read_bytes()))  # noqa: S301  written above

    def work() -> str:
        order = EpochOrder(rows, batch_size=BATCH, seed=0, rank=0, world=1)
        return f"{sum(map(len, order)):,} images in batches of {BATCH}"

    measured("an epoch", work)


def workers(folder: Path) -> None:
    """Let two processes make batches without decoding."""
    from twlcli.recipe import AugmentRecipe, ImageRecipe
    from twlcli.training.loader import EpochOrder, Key, Sample, TrainingImages, TrainingLoader

    class Undecoded(TrainingImages):
        def __getitem__(self, key: Key) -> Sample:
            name = str(self.annotations.path(key.row))
            image = np.full((32, 32, 3), len(name), dtype=np.uint8)
            return Sample(key.row, image, np.zeros((3, 3), dtype=np.float32))

    data = pickle.loads((folder / "read.pickle").read_bytes())  # noqa: S301  written above
    multiprocessing.set_start_method("fork", force=True)  # as `twl train` has it on Linux

    def work() -> str:
        images = Undecoded(data, AugmentRecipe(), ImageRecipe(size=32, resize=32), seed=0)
        order = EpochOrder(len(data), batch_size=BATCH, seed=0, rank=0, world=1)
        loader = TrainingLoader(images, order, workers=2, pin_memory=False)
        batches = loader.epoch(0)
        own = []
        for number in range(min(WALKED, len(loader))):
            next(batches)
            if number in (WALKED // 4, WALKED - 1):
                own.append(max(map(private_memory, multiprocessing.active_children())))
        loader.close()
        return f"each worker's own memory at a quarter of {WALKED} batches and behind: {own} MB"

    measured("workers", work)


def private_memory(process: multiprocessing.process.BaseProcess) -> int:
    """The memory of a process that it shares with no other, in MB."""
    text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    return sum(map(int, re.findall(r"Private_(?:Clean|Dirty): +(\d+)", text))) >> 10


def files(folder: Path) -> None:
    """Look whether files are there, and hash their names and sizes."""
    from twlcli.annotations.missing import check_images
    from twlcli.runs.seen import hashes_of

    data = pickle.loads((folder / "read.pickle").read_bytes())  # noqa: S301  written above
    count = min(len(data), 200_000)
    for first in range(0, count, 1000):
        (folder / name_of(first)).parent.mkdir(parents=True)
        for row in range(first, min(first + 1000, count)):
            (folder / name_of(row)).touch()
    some = replace(data.select(np.arange(count)), root=folder)

    def look() -> str:
        check_images(some)
        return f"{count:,} files are there"

    measured("files", look)
    measured("", lambda: f"{len(hashes_of(some)):,} files hashed")


def validation(folder: Path) -> None:
    """Score, calibrate and threshold random logits."""
    from twlcli.inference.scored import ScoredImages
    from twlcli.model.preprocessing import Preprocessing
    from twlcli.model.spec import ModelSpec
    from twlcli.scoring.average_precision import average_precision_per_label
    from twlcli.scoring.evaluation import epoch_scores
    from twlcli.scoring.fit import fit

    data = pickle.loads((folder / "read.pickle").read_bytes())  # noqa: S301  written above
    some = data.select(np.arange(min(len(data), ENTRIES // len(data.vocabulary))))
    entries = some.labels.shape[0] * some.labels.shape[1]
    spec = ModelSpec(data.vocabulary, "drawn", Preprocessing(resize=32, crop=32))
    before = peak_memory()
    logits = np.random.default_rng(0).standard_normal(some.labels.shape, dtype=np.float32)
    targets = some.labels.dense()

    def told() -> str:
        each = ((peak_memory() - before) << 20) / entries
        return f"{len(some):,} images: {each:.1f} bytes for each image and label, so far"

    def scored() -> str:
        images = ScoredImages(tuple(some.images), logits, targets)
        epoch_scores(images, average_precision_per_label(logits, targets))
        return told()

    def fitted() -> str:
        fit(logits, targets, spec)
        return told()

    measured("validation", scored)
    measured("fitting", fitted)


def ranks(_: Path) -> None:
    """Print what each rank sends in a step, by rings, beside the gradient of ResNet-50.

    The two-way loss gathers both sides' log-sum-exps of all labels, 2 C float32 of each rank, which
    a ring passes n - 1 times; and adds up two numbers for the images. tests/losses/test_ranks.py
    counts them.
    """
    print("labels  ranks  numbers of a rank  class-wise term  gradient    share")
    for labels in (80, 1000, 10_000):
        for world in (8, 64):
            term = 4 * ((world - 1) * 2 * labels + 2 * 2 * (world - 1) / world)
            gradient = 4 * 2 * (world - 1) / world * (BACKBONE + 2049 * labels)
            print(
                f"{labels:6,}  {world:5}  {2 * labels + 2:17,}  {term / 1e6:12.3f} MB  "
                f"{gradient / 1e6:5.0f} MB  {100 * term / gradient:6.3f} %"
            )


STAGES = (reading, holding_out, starting, an_epoch, workers, files, validation, ranks)


def main() -> None:
    """Measure all, or some."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--labels", type=int, default=10_000)
    parser.add_argument("--splits", action="store_true", help="the table names validation images")
    names = [stage.__name__ for stage in STAGES]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.only != ["ranks"]:
            write_table(folder / "labels.csv", given.rows, given.labels, splits=given.splits)
        for stage in STAGES:
            # What was read is what the others begin with.
            if stage.__name__ in given.only or (stage is reading and given.only != ["ranks"]):
                process = multiprocessing.get_context("spawn").Process(target=stage, args=(folder,))
                process.start()
                process.join()


if __name__ == "__main__":
    main()
