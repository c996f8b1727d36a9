"""Runs `twl tag`: model, journal and outputs around the pipeline, and how it ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer

from twlcli.cli.tag_outputs import Destinations
from twlcli.cli.tag_report import TagReport
from twlcli.cli.tag_request import Decision, Engine, Remembering, Sources
from twlcli.errors import TwlError
from twlcli.images.sandbox import Decoder, decoder_processes
from twlcli.model.bundled import default_model
from twlcli.model.onnx import CPU_BATCH, OnnxPredictor
from twlcli.scoring.thresholds import BEST_F1, resolve
from twlcli.tagging import pipeline
from twlcli.tagging.chunks import Memory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from twlcli.tagging.outputs.fan_out import Tally
    from twlcli.tagging.shards import ShardRecord
    from twlcli.tagging.tag_rules import Policy

_DEFAULT_MODEL = (
    "the default model knows only drawn shapes; train one on your own labels with "
    "'twl train', then 'twl export', and name it with --model"
)


class TerminatedError(KeyboardInterrupt):
    """SIGTERM has come; like Ctrl-C, with another exit code."""


class TagRun:
    """One call of `twl tag`."""

    def __init__(
        self,
        sources: Sources,
        decision: Decision,
        engine: Engine,
        destinations: Destinations,
        remembering: Remembering,
    ) -> None:
        self._sources = sources
        self._decision = decision
        self._destinations = destinations
        self._remembering = remembering
        self._engine = engine
        destinations.check(remembering.journal)
        self._model = engine.model or default_model()
        self._record = self._new_record()
        self._work = pipeline.spread(
            sources.files(),
            workers=engine.workers,
            batch_size=engine.batch_size or CPU_BATCH,
        )

    def run(self) -> Tally:
        """Tag everything; says how it went.

        Raises:
            Exit: it was interrupted.
        """
        # They start while this process loads the model.
        with decoder_processes(self._work.workers, self._engine.limits) as decoders:
            self._check()
            if self._engine.model is None:
                self._report.say(_DEFAULT_MODEL)
            tally = self._run(decoders)
        self._report.finished()
        return tally

    def _check(self) -> None:
        """Raise what is wrong with the model, the threshold or the policy: nothing is written."""
        _ = self._predictor, self._thresholds, self._policy

    def _run(self, decoders: Sequence[Decoder]) -> Tally:
        try:
            # The record comes after the journal, which may refuse the run: entering it removes
            # the records of the outputs that are there.
            with terminable(), self._remembered() as memory, self._record or nullcontext():
                tally = self._tag(decoders, memory)
                if memory is not None:
                    memory.journal.finish(self._destinations.files)
                if self._record is not None:
                    self._record.finish(self._rows_written(tally), self._conditions())
        except KeyboardInterrupt as interrupt:
            raise typer.Exit(143 if isinstance(interrupt, TerminatedError) else 130) from None
        return tally

    def _tag(self, decoders: Sequence[Decoder], memory: Memory | None) -> Tally:
        policy, record, files = self._policy, self._record, self._work.files
        if record is not None:
            files = record.take(files)
        opened = self._destinations.open(
            vocabulary=self._predictor.spec.vocabulary if policy is None else policy.vocabulary,
            model=lambda: self._digest,
            title=", ".join(map(str, self._sources.paths)) or "images",
            policy=policy,
            on_failure=self._report.fail,
        )
        # A single chunk is done before a bar, which takes 50 ms to load, would be there.
        bar = nullcontext() if self._work.is_one_chunk else self._report.progress()
        with opened as outputs, self._report.stops(), bar:
            return pipeline.tag(
                files,
                self._predictor,
                outputs,
                decoders=decoders,
                thresholds=self._thresholds,
                top_k=self._decision.top_k,
                batch_size=self._batch_size,
                exact=self._decision.exact,
                ordered=self._destinations.ordered,
                memory=memory,
                on_progress=self._report.advance,
            )

    @contextmanager
    def _remembered(self) -> Iterator[Memory | None]:
        path = self._remembering.journal
        if path is None:
            yield None
            return
        from twlcli.tagging.fingerprint import run_key
        from twlcli.tagging.journal import open_journal

        key = run_key(
            self._digest,
            thresholds=self._thresholds,
            top_k=self._decision.top_k,
            exact=self._decision.exact,
        )
        spec = self._predictor.spec
        with open_journal(path, key, spec.vocabulary, model=str(self._model)) as journal:
            self._destinations.check_ours(journal)
            journal.begin(self._destinations.files)
            yield Memory(
                journal,
                content=self._remembering.content,
                retry_failed=self._remembering.retry_failed,
            )

    @cached_property
    def _digest(self) -> str:
        from twlcli.tagging.fingerprint import model_digest

        return model_digest(self._model)

    @cached_property
    def _predictor(self) -> OnnxPredictor:
        return OnnxPredictor(
            self._model, provider=self._engine.provider, threads=self._work.threads
        )

    @cached_property
    def _batch_size(self) -> int:
        return self._engine.batch_size or self._predictor.batch_size

    @cached_property
    def _thresholds(self) -> NDArray[np.float32] | None:
        decision = self._decision
        all_labels = decision.top_k is not None and decision.threshold is None
        return None if all_labels else resolve(self._predictor.spec, decision.threshold)

    @cached_property
    def _report(self) -> TagReport:
        return TagReport(
            model=f"model {self._model} on {self._predictor.provider}",
            tables=tuple(table.path for table in self._destinations.tables),
            errors=self._destinations.errors,
            journal=self._remembering.journal,
            scan_again=self._sources.again,
        )

    @cached_property
    def _policy(self) -> Policy | None:
        if self._decision.policy is None:
            return None
        from twlcli.tagging.tag_rules import Policy

        return Policy.read(self._decision.policy, self._predictor.spec.vocabulary)

    def _new_record(self) -> ShardRecord | None:
        shard = self._sources.shard
        if shard is None:
            return None
        from twlcli.tagging.shards import ShardRecord

        tables = [table.path for table in self._destinations.tables]
        files = [path for path in (*tables, self._destinations.errors) if path is not None]
        if not files:
            raise TwlError("--shard needs an --out FILE, which twl merge joins with the others")
        return ShardRecord(shard, files)

    def _rows_written(self, tally: Tally) -> dict[Path, int]:
        tables = [table.path for table in self._destinations.tables]
        rows = {path: tally.tagged for path in tables if path is not None}
        if self._destinations.errors is not None:
            rows[self._destinations.errors] = tally.failed + tally.unwritten
        return rows

    def _conditions(self) -> Mapping[str, str | int | float | bool | None]:
        """What has to be the same for all shards."""
        decision = self._decision
        all_labels = self._thresholds is None
        return {
            "model": self._digest,
            "threshold": None if all_labels else (decision.threshold or BEST_F1).strip(),
            "top_k": decision.top_k,
            "exact": decision.exact,
            "policy": None if self._policy is None else self._policy.digest,
        }


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises `TerminatedError` inside the block."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may ask for signals
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        raise TerminatedError

    before: Callable[[int, FrameType | None], object] | int | None
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
