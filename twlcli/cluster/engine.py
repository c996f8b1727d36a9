"""Ray's part: the cluster, and one pass of Ray Data over the files."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
import ray
from pyarrow import Table
from ray.data import ActorPoolStrategy, Datasource, ReadTask
from ray.data.block import BlockMetadata
from ray.data.checkpoint import CheckpointConfig
from ray.data.context import DataContext

from twlcli.cluster.parts import Parts
from twlcli.cluster.worker import IMAGE, OUTCOME, Job, TaggingWorker, blocks
from twlcli.errors import DeviceError, TwlError
from twlcli.images.image_file import ImageFile
from twlcli.parallel import usable_cores

# Ray's filter of what is done holds a CPU for the whole run, and what reads and writes takes one
# now and then: with fewer, a run that is continued would wait for a CPU for ever.
_AROUND = 2
_LEAST_ROWS, _MOST_ROWS = 32, 1024  # images of one part
_PARTS_EACH = 4  # for each worker, where there are images enough, so that they end together
_LOCAL = "local"  # the address of a Ray of our own, as Ray has it
_PATIENCE = 10.0  # seconds for a cluster to answer
_SOME = 0.5  # CPUs of a task that reads or writes
_STORE_BYTES = 256 << 20  # of a Ray of our own: names and tags go through it, and the model


@dataclass(frozen=True)
class Cluster:
    """A cluster of Ray.

    Attributes:
        address: where it is; `local` for one that was started for this run.
        cpus: that it has, as Ray counts them.
        gpus: likewise.
    """

    address: str
    cpus: int
    gpus: int

    def shares(self, workers: int | None, *, on_gpu: bool) -> Shares:
        """What each worker gets.

        Raises:
            DeviceError: there is not enough for one.
        """
        free = self.cpus - _AROUND
        if free < 1:
            raise DeviceError(
                f"the Ray cluster at {self.address} has {self.cpus} CPUs; expected {_AROUND + 1}: "
                "one to tag, one to read and write, one that knows what is done"
            )
        if not on_gpu:
            return Shares(min(workers or free, free), cpus=1, gpus=0)
        if self.gpus < 1:
            raise DeviceError(f"the Ray cluster at {self.address} has no GPU")
        count = min(workers or self.gpus, self.gpus, free)
        return Shares(count, cpus=free // count, gpus=1)


@dataclass(frozen=True)
class Shares:
    """How many workers there are, and the CPUs and GPUs of each."""

    workers: int
    cpus: int
    gpus: int


@contextmanager
def connected() -> Iterator[Cluster]:
    """The cluster that is there, or one on this machine until the block ends.

    Raises:
        TwlError: Ray does not start.
    """
    ours = not ray.is_initialized()
    try:
        with _one_line_errors():
            is_local = ours and _start()
        there = ray.cluster_resources()
        address = _LOCAL if is_local else ray.get_runtime_context().gcs_address
        yield Cluster(address, int(there.get("CPU", 0)), int(there.get("GPU", 0)))
    finally:
        if ours:
            ray.shutdown()


def _start() -> bool:
    """Connect to a cluster, or start one; whether it was started."""
    # What Ray's own part in C++ notes goes to the terminal, and says so at the start.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    named = os.environ.get("RAY_ADDRESS", "")
    if ":" in named:
        _check_answers(named)
    with _quiet():
        if named != _LOCAL:
            with suppress(ConnectionError):
                ray.init(address=named or "auto", **options)
                return False
        ray.init(
            address=_LOCAL,
            num_cpus=usable_cores() + _AROUND,
            object_store_memory=_STORE_BYTES,
            include_dashboard=False,
            **options,
        )
    return True


def _check_answers(address: str) -> None:
    """Raise DeviceError where nothing is at an address, for which Ray itself waits minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    except (OSError, ValueError) as error:
        raise DeviceError(
            f"no Ray cluster answers at {address}, which RAY_ADDRESS names ({error})"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what is written to the terminal past Python."""
    terminal = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


class Files(Datasource):
    """Files as Ray reads them: their names only, in tables that become the parts."""

    def __init__(self, files: Iterable[ImageFile], *, workers: int) -> None:
        super().__init__()
        tables = list(blocks(files, rows=_LEAST_ROWS))
        self._count = int(sum(each.num_rows for each in tables))
        at_once = max(1, min(_MOST_ROWS, self._count // (_PARTS_EACH * workers)) // _LEAST_ROWS)
        # Parts of the size that suits are joined from small tables: their number is known late.
        self._tables = [tables[start : start + at_once] for start in range(0, len(tables), at_once)]

    def __len__(self) -> int:
        return self._count

    @property
    def parts(self) -> int:
        """How many parts they become."""
        return len(self._tables)

    def estimate_inmemory_data_size(self) -> int:
        """Bytes."""
        return sum(int(each.nbytes) for some in self._tables for each in some)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, **_: Any
    ) -> list[ReadTask]:
        """One for each part, whatever parallelism Ray would choose."""
        return [
            ReadTask(
                partial(_joined, some),
                BlockMetadata(
                    num_rows=sum(each.num_rows for each in some),
                    size_bytes=sum(each.nbytes for each in some),
                    exec_stats=None,
                    input_files=None,
                ),
            )
            for some in self._tables
        ]


def _joined(tables: list[Table]) -> list[Table]:
    return [pyarrow.concat_tables(tables)]


def write_parts(files: Files, job: Job, shares: Shares, parts: Parts) -> None:
    """Tag the files that are not done, and write the parts.

    Raises:
        TwlError: a worker cannot work, or Ray gives up.
    """
    with _settings(parts), _one_line_errors():
        ray.data.read_datasource(
            files, num_cpus=_SOME, override_num_blocks=files.parts
        ).map_batches(
            TaggingWorker,
            fn_constructor_args=(job,),
            batch_size=None,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=min(shares.workers, files.parts)),
            num_cpus=shares.cpus,
            num_gpus=shares.gpus,
        ).write_parquet(
            parts.path,
            filesystem=parts.files,
            partition_cols=[OUTCOME],
            ray_remote_args={"num_cpus": _SOME},
        )


@contextmanager
def _settings(parts: Parts) -> Iterator[None]:
    """Ray Data's settings, in the block."""
    context = DataContext.get_current()
    before = context.checkpoint_config, context.enable_progress_bars
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # what fails is raised
    context.enable_progress_bars = bool(sys.stderr and sys.stderr.isatty())
    context.checkpoint_config = CheckpointConfig(
        id_column=IMAGE,
        checkpoint_path=parts.checkpoint,
        override_filesystem=parts.files,
        delete_checkpoint_on_success=False,
    )
    try:
        yield
    finally:
        context.checkpoint_config, context.enable_progress_bars = before
        logger.setLevel(level)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """What a worker raised, as it raised it; anything else of Ray as a TwlError on one line."""
    try:
        yield
    except SystemExit as error:  # of Ray, where its cluster does not answer any more
        raise TwlError("the Ray cluster is gone; the same command goes on from here") from error
    except ray.exceptions.RayError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, TwlError):
            cause = getattr(cause, "cause", None) or cause.__cause__
        if cause is not None:
            raise cause from error
        raise TwlError(f"Ray ended the run: {_last_line(error)}") from error


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
