"""Tagging files: what `twl tag` does, as one function."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

from twlcli.errors import TwlError
from twlcli.images.decoding import MAX_PIXELS, Decoding
from twlcli.images.discover.left_out import LeftOut
from twlcli.images.discover.scan import STANDARD_INPUT, scan
from twlcli.images.image_file import MAX_BYTES, Failure, ImageFile
from twlcli.images.sandbox import Decoder, Limits, decoder_processes
from twlcli.io import check_count, check_free, is_address, listed, partial_path, place_of
from twlcli.model.bundled import default_model, model_path
from twlcli.model.decisions import (
    never_given_note,
    threshold_file,
    thresholds_of,
    wish_beside,
    wish_text,
)
from twlcli.model.load import load_onnx
from twlcli.model.onnx import CPU_BATCH
from twlcli.stores.address import shown
from twlcli.tagging import pipeline
from twlcli.tagging.chunks import Choice, JournalLookup
from twlcli.tagging.fingerprint import Decision, model_digest
from twlcli.tagging.outputs.csv import FailureTable
from twlcli.tagging.outputs.fan_out import Tally, open_outputs
from twlcli.tagging.outputs.output import Output, RunFacts
from twlcli.tagging.outputs.tables import is_table, needs_images, table

if TYPE_CHECKING:  # a run without them starts without them
    from twlcli.model.foreign.stated import Stated
    from twlcli.model.spec import ModelSpec
    from twlcli.stores.spool import Spool
    from twlcli.stores.upload import Upload
    from twlcli.tagging.shards import Shard, ShardRecord
    from twlcli.tagging.tag_rules import TagRules

AUTO: Literal["auto"] = "auto"


@dataclass(frozen=True)
class TagStart:
    """A run that is about to begin: nothing that it was given is wrong.

    Attributes:
        model: the model's file.
        provider: the execution provider that runs it.
        journal: where the run goes on from if it is interrupted; None if it cannot.
        is_short: whether a single call of the model does everything.
        count: walks through the images a second time, to count them; None if they come only once.
        left_out: what the search for images passes over; complete when the run is.
        never_given: which labels no probability reaches the threshold of, in words; or empty.
        uploads: the files that go into a store once they are complete.
    """

    model: Path
    provider: str
    journal: Path | None
    is_short: bool
    count: Callable[[], Iterable[object]] | None
    left_out: LeftOut
    never_given: str
    uploads: Sequence[Upload] = ()


class TagWatcher(Protocol):
    """Told what happens in a run of `tag_files`, in the thread that called it."""

    def began(self, start: TagStart) -> None:
        """The model is loaded; the first image comes next."""

    def advanced(self, tally: Tally) -> None:
        """Some images more are done."""

    def failed(self, failure: Failure) -> None:
        """An image cannot be read, or not all of its sidecars can be written."""


class Silent:
    """A `TagWatcher` that says nothing."""

    def began(self, start: TagStart) -> None:
        """Say nothing."""

    def advanced(self, tally: Tally) -> None:
        """Say nothing."""

    def failed(self, failure: Failure) -> None:
        """Say nothing."""


def tag_files(
    paths: Iterable[Path | str] = (),
    *,
    model: Path | str | None = None,
    outputs: Sequence[Output | Path | str] = (),
    lists: Sequence[Path | str] = (),
    null: bool = False,
    standard_input: BinaryIO | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    hidden: bool = False,
    shard: str | None = None,
    threshold: str | float | None = None,
    top_k: int | None = None,
    rules: Path | str | None = None,
    exact: bool = False,
    max_pixels: int | None = None,
    accept_damaged: bool = False,
    ordered: bool = True,
    force: bool = False,
    journal: Path | str | Literal["auto"] | None = AUTO,
    content_hash: bool = False,
    retry_failed: bool = False,
    labels: Path | str | None = None,
    input: str | None = None,  # noqa: A002  as the command has it
    provider: str | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    time_limit: float | None = None,
    memory_limit: int | None = None,
    watcher: TagWatcher | None = None,
) -> Tally:
    """Tag images and write the labels of each to every output.

    Images that cannot be read do not stop the run. With a journal, calling again continues an
    interrupted run; after a complete one, only new or changed files are processed. Images are
    decoded in separate processes: a decoder that crashes, hangs or needs too much memory costs only
    the image it was reading.

    Args:
        paths: images, folders, `.tar` shards and globs, also in stores, such as
            `s3://bucket/photos`; see `images.discover.scan.scan`.
        model: an exported `.onnx`, a folder with a model of another program, `hf:ORG/NAME`, or the
            name of a bundled model; None for the default.
        outputs: what to write: paths and addresses that end in `.csv`, `.jsonl` or `.parquet`, or
            outputs such as `XmpSidecars()`, `TxtSidecars()`, `Gallery(path)`, `Review(path)`,
            `ScoreTable(path)`, `LabelStudio(path)` and `FailureTable(path)`.
        lists: files with more paths, one per line; `-` is `standard_input`.
        null: paths in lists end with NUL instead of a line break.
        standard_input: the stream that `-` reads.
        include: .gitignore-style patterns; only matching images are tagged.
        exclude: .gitignore-style patterns; matching images are skipped.
        hidden: include hidden files in folders, globs and tars.
        shard: `2/8` for the second of eight parts, which `merge` joins; the tables need files.
        threshold: `best-f1` (None), `precision=0.9`, `recall=0.9`, `f2`, one number in 0..1 for all
            labels, or a `.toml` file with a number for each; see `decisions.thresholds_of`.
        top_k: at most this many labels, the most probable; without a threshold, exactly this many.
        rules: a TOML file of tag rules; see `TagRules`.
        exact: decode JPEG at full size: slower, and scores barely change.
        max_pixels: refuse larger images, of JPEG by the size that is decoded; None is 178,956,970.
            Larger ones may need a larger `memory_limit` too.
        accept_damaged: take what can be read of a damaged image.
        ordered: write rows in the order of the files; otherwise as they are ready.
        force: replace output files that exist.
        journal: the file that records progress. "auto" puts it beside the first output file, or for
            sidecars alone into the first folder, and refuses one of another user's; where the
            first output goes into a store, it is in the user's own folder. None records nothing.
        content_hash: detect changed files by a hash of their content, not by size and time.
        retry_failed: retry images that could not be read before.
        labels: a file of the labels in the order of the outputs, for an ONNX file of which nothing
            is known; see `label_names.LabelNames`.
        input: how images go into it, such as `nchw,rgb,imagenet`; see `foreign.stated`.
        provider: the execution provider, a key of `PROVIDERS`; None for the fastest available.
        batch_size: images in one call of the model; None for what suits the provider.
        workers: batches decoded and predicted in parallel; None for one per core.
        time_limit: seconds for decoding one image; None is 60.
        memory_limit: megabytes for decoding one image; None is 4096. Kept on Linux.
        watcher: told about progress.

    Returns:
        How many images were tagged and how many failed.

    Raises:
        TwlError: a path, output, threshold, rule or the journal is wrong, or one cannot be written.
        ModelError: the model cannot be loaded or run.
        DeviceError: the provider is not available, or memory is exhausted.
        MissingExtraError: Parquet without pyarrow.
    """
    paths, lists, outputs = listed(paths), listed(lists), listed(outputs)
    for name, value in {
        "top_k": top_k,
        "batch_size": batch_size,
        "workers": workers,
        "max_pixels": max_pixels,
    }.items():
        check_count(name, value)
    check_count("memory_limit", memory_limit, least=256)
    if time_limit is not None and not time_limit > 0:
        raise TwlError(f"time_limit is {time_limit!r}; expected more than 0 seconds")
    if not paths and not lists:
        raise TwlError(
            "nothing to tag", hint="give images or folders, or a list of them with {lists}"
        )
    written, uploads = _written(outputs)
    lists = [_local(each) for each in lists]
    chosen = default_model() if model is None else model_path(model)
    stated = _stated(labels, input)
    kept = _journal_path(journal, written, paths)
    if kept is None and (content_hash or retry_failed):
        what = "retrying failed images" if retry_failed else "hashing content"
        hint = "name one with {journal}, or give an output file"
        raise TwlError(f"{what} needs a journal", hint=hint)
    if shard is not None and not ordered:
        raise TwlError("shards are joined in the order of the files, and need rows in that order")
    named = chosen, rules, threshold_file(wish_text(threshold)), labels
    run = _Run(
        scan=partial(
            scan,
            paths,
            lists=lists,
            null=null,
            standard_input=standard_input,
            hidden=hidden,
            include=listed(include),
            exclude=listed(exclude),
        ),
        left_out=LeftOut(),
        scans_once=STANDARD_INPUT in map(str, lists),
        shard=_parsed_shard(shard),
        inputs=[
            path for path in map(Path, (*paths, *lists, *filter(None, named))) if path.is_file()
        ],
        outputs=written,
        uploads=uploads,
        force=force,
        ordered=ordered,
        journal=kept,
        journal_is_named=journal != AUTO,
        content_hash=content_hash,
        retry_failed=retry_failed,
        model=chosen,
        stated=stated,
        provider=provider,
        threshold=wish_beside(threshold, top_k),
        top_k=top_k,
        rules=None if rules is None else Path(rules),
        decoding=Decoding(exact, max_pixels or MAX_PIXELS, accept_damaged),
        batch_size=batch_size,
        watcher=watcher or Silent(),
    )
    run.check_outputs()
    for path in filter(is_address, paths):
        run.check_takes_stored(shown(str(path)))
    # Lists may name addresses too.
    reads_stores = bool(lists) or any(map(is_address, paths))
    work = pipeline.spread(
        run.scan(left_out=run.left_out), workers=workers, batch_size=batch_size or CPU_BATCH
    )
    usual = Limits()
    limits = Limits(time_limit or usual.seconds, memory_limit or usual.megabytes)
    # The processes start while this one loads the model.
    with (
        decoder_processes(work.workers, limits) as decoders,
        _spool(work.workers, batch_size) if reads_stores else nullcontext() as spool,
    ):
        return run.tag(work, decoders, spool)


def _written(
    outputs: Sequence[Output | Path | str],
) -> tuple[list[Output], dict[Path, Upload]]:
    """The outputs as they are written to the disk, and which of the files are uploaded then."""
    written: list[Output] = []
    uploads: dict[Path, Upload] = {}
    for each in outputs:
        address = each if is_address(each) else getattr(each, "address", None)
        if isinstance(address, str):
            from twlcli.stores.upload import Upload
            from twlcli.tagging.outputs.uploaded import Uploaded

            uploaded = each if isinstance(each, Uploaded) else Uploaded.to(address, table)
            written.append(uploaded.output)
            assert uploaded.file is not None, "what is uploaded is a file"
            uploads[uploaded.file] = Upload(uploaded.file, address)
        else:
            written.append(table(Path(each)) if isinstance(each, Path | str) else each)
    return written, uploads


def _local(path: Path | str) -> Path | str:
    """A list's file; of an address a local copy."""
    if is_address(path):
        from twlcli.stores.cached import local_copy

        return local_copy(str(path))
    return path


def _stated(labels: Path | str | None, form: str | None) -> Stated | None:
    if labels is None and form is None:
        return None
    from twlcli.annotations.stated import stated_of  # most models say it themselves

    return stated_of(labels, form)


def _spool(workers: int, batch_size: int | None) -> Spool:
    from twlcli.stores.spool import Spool

    return Spool(least=batch_size or CPU_BATCH, most_bytes=MAX_BYTES)


def _journal_path(
    wish: Path | str | None, outputs: Sequence[Output], paths: Sequence[Path | str]
) -> Path | None:
    if wish != AUTO:
        return None if wish is None else Path(wish)
    for output in outputs:
        if output.file is not None and not isinstance(output, FailureTable):
            return output.file.with_name(output.file.name + ".journal")
    if any(output.file is None and needs_images(output) for output in outputs):
        folders = (Path(path) for path in paths if Path(path).is_dir())
        return next((folder / ".twl-journal" for folder in folders), None)
    return None


def _parsed_shard(text: str | None) -> Shard | None:
    if text is None:
        return None
    from twlcli.tagging.shards import Shard

    return Shard.parse(text)


@dataclass(frozen=True)
class _Run:
    """The arguments of `tag_files`, with what is left open decided."""

    scan: Callable[..., Iterator[ImageFile]]
    left_out: LeftOut
    scans_once: bool
    shard: Shard | None
    inputs: Sequence[Path]
    outputs: Sequence[Output]
    uploads: dict[Path, Upload]
    force: bool
    ordered: bool
    journal: Path | None
    journal_is_named: bool
    content_hash: bool
    retry_failed: bool
    model: Path
    stated: Stated | None
    provider: str | None
    threshold: str | None
    top_k: int | None
    rules: Path | None
    decoding: Decoding
    batch_size: int | None
    watcher: TagWatcher

    @cached_property
    def files(self) -> list[Path]:
        """The files that are written anew."""
        return [output.file for output in self.outputs if output.file is not None]

    @property
    def with_scores(self) -> bool:
        """Whether an output wants the logits of every image."""
        return any(getattr(output, "needs_logits", False) for output in self.outputs)

    def check_outputs(self) -> None:
        """Raise TwlError where a file cannot be written, as far as that is known beforehand.

        What exists may still turn out to be this run's own, if there is a journal.
        """
        may_be_ours = self.journal is not None and self.journal.exists()
        self._check_names()
        for path in self.files:
            if path not in self.uploads:
                check_free(path, force=self.force or may_be_ours)
            else:
                self._check_stored(self.uploads[path], ours=self.force or may_be_ours)
        if self.shard is not None and not any(map(self._is_joined, self.outputs)):
            raise TwlError("a shard needs a table in a file, for merging with the others")

    def check_takes_stored(self, name: str) -> None:
        """Raise TwlError for an image in a store where an output needs the images as files."""
        if any(getattr(output, "needs_files", False) for output in self.outputs):
            raise TwlError(
                f"{name}: is in a store; sidecars, galleries and reviews need images on the disk"
            )

    @staticmethod
    def _check_stored(upload: Upload, *, ours: bool) -> None:
        """Raise TwlError where a file in a store would be replaced, or it does not answer."""
        if upload.status() is not None and not ours:
            raise TwlError(
                f"{shown(upload.address)}: exists already", hint="use {force} to replace it"
            )

    def _check_names(self) -> None:
        """Raise TwlError where a file is needed twice, be it only until the run is complete."""
        read = {place_of(path) for path in self.inputs}
        needed: dict[Path, Path] = {}
        for path, also in self._names():
            if place_of(path) in read:
                raise TwlError(f"{path}: is read by this run, and cannot be an output")
            for name in (path, *also):
                if needed.setdefault(place_of(name), path) is not path:
                    which = "" if name == path else f" {name}"
                    raise TwlError(f"{path}: two outputs name the same file{which}")

    def _names(self) -> Iterator[tuple[Path, list[Path]]]:
        """Each file that is written, and those that are needed on the way."""
        for output in self.outputs:
            if output.file is not None:
                also = [partial_path(output.file)]
                if self.shard is not None and self._is_joined(output):
                    from twlcli.tagging.shards import record_path

                    also.append(record_path(output.file))
                yield output.file, also
        if self.journal is not None:
            from twlcli.tagging.journal_file import BESIDE

            yield self.journal, [self.journal.with_name(self.journal.name + end) for end in BESIDE]

    def tag(self, work: pipeline.Spread, decoders: Sequence[Decoder], spool: Spool | None) -> Tally:
        """Load the model, then tag everything."""
        predictor = load_onnx(
            self.model, provider=self.provider, threads=work.threads, stated=self.stated
        )
        spec = predictor.spec
        thresholds = None if self.threshold is None else thresholds_of(spec, self.threshold)
        rules = self._read_rules(spec)
        digest = _Digest(predictor.files, self.stated)
        names = spec.vocabulary if rules is None else rules.vocabulary
        facts = RunFacts(names, digest, self.force, spec=spec)
        start = TagStart(
            self.model,
            predictor.provider,
            self.journal,
            work.is_one_chunk,
            self._count(),
            self.left_out,
            "" if self.threshold is None else never_given_note(spec, self.threshold),
            list(self.uploads.values()),
        )

        def decision() -> Decision:
            """What makes two runs the same; reads the whole model file."""
            return Decision(
                digest(),
                self.threshold,
                thresholds,
                self.top_k,
                self.decoding,
                None if rules is None else rules.digest,
            )

        # The record comes after the journal, which may refuse the run: entering it removes the
        # records of the outputs that are there.
        choice = Choice(spec, thresholds, self.top_k, logits=self.with_scores)
        with self._opened_journal(decision, choice, spec) as lookup, self._record() as record:
            files = self._no_outputs(work.files if record is None else record.take(work.files))
            opened = open_outputs(
                self.outputs, facts, rules=rules, on_failure=self.watcher.failed, lookup=lookup
            )
            with opened as outputs:
                self.watcher.began(start)
                tally = pipeline.tag(
                    files,
                    predictor,
                    outputs,
                    decoders=decoders,
                    thresholds=thresholds,
                    top_k=self.top_k,
                    batch_size=self.batch_size,
                    decoding=self.decoding,
                    ordered=self.ordered,
                    lookup=lookup,
                    logits=self.with_scores,
                    spool=spool,
                    progress=self.watcher.advanced,
                )
            if lookup is not None and not self.uploads:
                lookup.journal.finish(self.files)
            if record is not None:
                record.finish(self._rows_written(tally), decision().conditions)
            if self.uploads:
                sent = self._upload(with_records=record is not None)
                if lookup is not None:
                    lookup.journal.finish(self.files, sent)
        return tally

    def _upload(self, *, with_records: bool) -> dict[Path, tuple[int, int]]:
        """Upload what is complete; what each file is like in its store."""
        sent = {}
        for path, upload in self.uploads.items():
            upload.send()
            sent[path] = upload.status() or (0, 0)
            if with_records:
                from twlcli.tagging.shards import record_path

                record = record_path(path)
                if record.exists():
                    replace(upload, file=record, address=f"{upload.address}.shard").send()
        return sent

    def _no_outputs(self, files: Iterable[ImageFile]) -> Iterator[ImageFile]:
        """The images, of which none may be an output, and none in a store for some of them."""
        outputs = {str(place_of(path)): path for path in self.files}
        names = {path.name for path in self.files}
        for file in files:
            if file.stored is not None:
                self.check_takes_stored(file.name)
            if Path(file.path).name in names:
                path = outputs.get(str(place_of(Path(file.path))))
                if path is not None:
                    raise TwlError(f"{path}: is an image of this run, and cannot be an output")
            yield file

    def _read_rules(self, spec: ModelSpec) -> TagRules | None:
        if self.rules is None:
            return None
        from twlcli.tagging.tag_rules import TagRules

        return TagRules.read(self.rules, spec.vocabulary)

    def _count(self) -> Callable[[], Iterable[object]] | None:
        shard = self.shard
        if self.scans_once:
            return None
        return lambda: (file for file in self.scan() if shard is None or shard.takes(file.name))

    @contextmanager
    def _opened_journal(
        self, decision: Callable[[], Decision], choice: Choice, spec: ModelSpec
    ) -> Iterator[JournalLookup | None]:
        if self.journal is None:
            yield None
            return
        from twlcli.tagging.journal import open_journal

        opened = open_journal(
            self.journal,
            decision().logits_key if self.with_scores else decision().scores_key,
            spec.vocabulary,
            outputs_key=decision().key,
            model=str(self.model),
            own=not self.journal_is_named,
            logits=self.with_scores,
        )
        with opened as journal:
            for path in self.files:
                partial = partial_path(path)
                if (upload := self.uploads.get(path)) is not None:
                    there = upload.status()
                    ours = self.force or there is None or journal.made(path, partial, there)
                    self._check_stored(upload, ours=ours)
                    continue
                ours = self.force or not path.exists() or journal.made(path, partial)
                check_free(path, force=ours)
            journal.begin(self.files)
            yield JournalLookup(
                journal, choice, content=self.content_hash, retry_failed=self.retry_failed
            )

    def _record(self) -> AbstractContextManager[ShardRecord | None]:
        if self.shard is None:
            return nullcontext()
        from twlcli.tagging.shards import ShardRecord

        joined = [output.file for output in self.outputs if self._is_joined(output)]
        return ShardRecord(self.shard, [path for path in joined if path is not None])

    def _rows_written(self, tally: Tally) -> dict[Path, int]:
        rows = {}
        for output in filter(self._is_joined, self.outputs):
            failures = isinstance(output, FailureTable)
            assert output.file is not None
            rows[output.file] = tally.failed + tally.unwritten if failures else tally.tagged
        return rows

    @staticmethod
    def _is_joined(output: Output) -> bool:
        """Whether `merge` joins the output of this shard with those of the others."""
        return output.file is not None and (is_table(output) or isinstance(output, FailureTable))


class _Digest:
    """The model's digest, taken when it is first asked for."""

    def __init__(self, files: Sequence[Path], stated: Stated | None) -> None:
        self._files = files
        self._stated = stated

    def __call__(self) -> str:
        return self._value

    @cached_property
    def _value(self) -> str:
        digest = model_digest(self._files)
        if self._stated is None:
            return digest
        return hashlib.sha256(f"{digest} {self._stated.digest}".encode()).hexdigest()
