"""What runs on the machines of a cluster: a model that tags batches of images."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow
from numpy.typing import NDArray

import twlcli
from twlcli.errors import TwlError
from twlcli.images.decoding import USUAL, Caveat, Decoding
from twlcli.images.image_file import MAX_BYTES, Failure, ImageFile
from twlcli.images.sandbox import Cut, Decoder, DecoderProcess, Limits
from twlcli.model.load import load_onnx
from twlcli.stores.spool import Spool
from twlcli.tagging import pipeline
from twlcli.tagging.outputs.fan_out import FanOut
from twlcli.tagging.tag_rules import TagRules
from twlcli.tagging.tags import Row

IMAGE, FILE, OUTCOME = "image", "file", "outcome"
TAGGED, FAILED = "tagged", "failed"
ROWS = pyarrow.schema(
    [
        pyarrow.field(IMAGE, pyarrow.string(), nullable=False),
        pyarrow.field("labels", pyarrow.list_(pyarrow.string()), nullable=False),
        pyarrow.field("probabilities", pyarrow.list_(pyarrow.float32()), nullable=False),
        pyarrow.field("error", pyarrow.string()),
        pyarrow.field(OUTCOME, pyarrow.string(), nullable=False),
    ]
)
FILES = pyarrow.schema([(IMAGE, pyarrow.string()), (FILE, pyarrow.binary())])


def as_row(file: ImageFile) -> dict[str, Any]:
    """A file as a row of `FILES`; what has no name in UTF-8 becomes a failure."""
    try:
        file.name.encode()
    except UnicodeEncodeError:
        failure = "its name is not UTF-8, as Ray's tables need it; tag it without Ray"
        name = file.name.encode("utf-8", "backslashreplace").decode()
        file = replace(file, name=name, failure=failure)
    return {IMAGE: file.name, FILE: pickle.dumps(file)}


@dataclass(frozen=True)
class Job:
    """What the workers of a run do.

    Attributes:
        version: of twl where the run was started.
        files: the model's files by their names, as they lie beside each other, and their bytes;
            an object of Ray that holds them.
        model: the name of the ONNX file among them.
        provider: the execution provider; None for the fastest.
        thresholds: (C,), the labels with p >= threshold are given; None gives all of them.
        top_k: at most this many labels.
        rules: what becomes of the tags.
        decoding: the settings that change pixels.
        limits: of decoding one image.
        batch_size: images in one call of the model; None is what suits the device.
        threads: images decoded at once by a worker.
    """

    version: str
    files: Any
    model: str
    provider: str | None
    thresholds: NDArray[np.float32] | None
    top_k: int | None
    rules: TagRules | None
    decoding: Decoding
    limits: Limits
    batch_size: int | None
    threads: int


class TaggingWorker:
    """Tags batches of files; the model and the processes that decode stay as long as it does."""

    def __init__(self, job: Job) -> None:
        """Load the model."""
        import ray

        if twlcli.__version__ != job.version:
            raise TwlError(
                f"a machine of the cluster has twl {twlcli.__version__}, expected {job.version}"
            )
        self._job = job
        with TemporaryDirectory(prefix="twl-model-") as folder:
            for name, content in ray.get(job.files).items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self._predictor = load_onnx(Path(folder, job.model), provider=job.provider, threads=1)
        self._decoders = [_Lasting(DecoderProcess(job.limits)) for _ in range(job.threads)]

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        """The rows of the files of a batch, of `FILES`, as `ROWS`."""
        job, rows = self._job, _Rows()
        size = job.batch_size or self._predictor.batch_size
        with Spool(least=size, most_bytes=MAX_BYTES) as spool:
            pipeline.tag(
                map(pickle.loads, batch[FILE].to_pylist()),
                self._predictor,
                FanOut([rows], rules=job.rules),
                decoders=self._decoders,
                thresholds=job.thresholds,
                top_k=job.top_k,
                batch_size=size,
                decoding=job.decoding,
                spool=spool,
            )
        return pyarrow.Table.from_pylist(rows.taken, schema=ROWS)


@dataclass
class _Rows:
    """A sink that keeps rows as those of `ROWS`."""

    taken: list[dict[str, Any]] = field(default_factory=list)

    def write(self, file: ImageFile, row: Row) -> None:
        """Take one row."""
        failed = isinstance(row, Failure)
        self.taken.append(
            {
                IMAGE: file.name,
                "labels": () if isinstance(row, Failure) else row.labels,
                "probabilities": () if isinstance(row, Failure) else row.probabilities,
                "error": row.reason if isinstance(row, Failure) else None,
                OUTCOME: FAILED if failed else TAGGED,
            }
        )


class _Lasting:
    """A decoder that is not closed when a batch ends; its process ends with this one."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def decode(
        self, file: ImageFile, cut: Cut, out: NDArray[np.uint8], *, decoding: Decoding = USUAL
    ) -> Caveat:
        """As a `Decoder` does."""
        return self._decoder.decode(file, cut, out, decoding=decoding)

    def close(self) -> None:
        """Nothing yet."""


def files_of(files: Sequence[Path]) -> tuple[dict[str, bytes], str]:
    """A model's files by their names below the folder that holds all, and the first one's name."""
    folder = files[0].parent
    while not all(file.is_relative_to(folder) for file in files):
        folder = folder.parent
    content = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
    return content, files[0].relative_to(folder).as_posix()


def blocks(files: Iterable[ImageFile], *, rows: int) -> Iterator[pyarrow.Table]:
    """Files as tables of `FILES` with so many rows."""
    some: list[dict[str, Any]] = []
    for file in files:
        some.append(as_row(file))
        if len(some) == rows:
            yield pyarrow.Table.from_pylist(some, schema=FILES)
            some = []
    if some:
        yield pyarrow.Table.from_pylist(some, schema=FILES)
