"""`twl tag`: tag images with a model."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO

import typer

from twlcli.cli import options as shared
from twlcli.cli import tag_options as options
from twlcli.cli.printable import data_stream
from twlcli.errors import TwlError
from twlcli.io import is_address
from twlcli.stores.address import shown

if TYPE_CHECKING:
    from twlcli.tagging.outputs.output import Output


def tag(
    paths: options.Paths = None,
    model: options.Model = None,
    out: options.Outs = None,
    format_name: options.Format = None,
    image_prefix: options.ImagePrefix = None,
    txt: options.Txt = False,
    txt_existing: options.TxtExisting = None,
    xmp: options.Xmp = False,
    write_embedded: options.WriteEmbedded = False,
    no_originals: options.NoOriginals = False,
    restore_deleted: options.RestoreDeleted = False,
    sidecar_names: options.SidecarNaming = None,
    hierarchy: options.Hierarchy = None,
    gallery: options.Gallery = None,
    scores: options.ScoresFile = None,
    errors: options.Errors = None,
    bom: options.Bom = False,
    unordered: options.Unordered = False,
    force: options.Force = False,
    top_k: options.TopK = None,
    threshold: shared.Threshold = None,
    rules: options.RulesFile = None,
    policy: options.Policy = None,
    lists: options.Lists = None,
    null: options.Null = False,
    include: options.Include = None,
    exclude: options.Exclude = None,
    hidden: options.Hidden = False,
    shard: options.ShardText = None,
    engine: options.Engine = None,
    journal: options.JournalFile = None,
    no_journal: options.NoJournal = False,
    content_hash: options.ContentHash = False,
    retry_failed: options.RetryFailed = False,
    labels: options.LabelsFile = None,
    form: options.InputForm = None,
    provider: shared.Provider = None,
    batch_size: shared.BatchSize = None,
    workers: shared.Threads = None,
    exact: shared.Exact = False,
    max_pixels: shared.MaxPixels = None,
    accept_damaged: shared.AcceptDamaged = False,
    time_limit: options.TimeLimit = None,
    memory_limit: options.MemoryLimit = None,
) -> None:
    """Tag images with a model: the labels of each, with their probabilities.

    Writes one row per image, in the order of the files; paths are relative to the folder given.
    Images that cannot be read do not stop the run: they are listed at the end, and the exit code
    is 3. After an interruption the same command continues. Run again later, it processes only new
    or changed files.

    Example: twl tag holiday/ --model voc.onnx --out tags.csv --xmp
    """
    from twlcli.cli.tag_report import TagReport
    from twlcli.tagging.run import AUTO, tag_files

    refuse(
        {
            "--null requires a list: --from FILE": null and not lists,
            "--journal and --no-journal cannot be combined": bool(journal and no_journal),
            "--unordered and --shard cannot be combined: parts are joined in order": bool(
                unordered and shard
            ),
        }
    )
    if engine is not None:
        from twlcli.cli.tag_ray import tag_on_engine

        with terminable():
            tag_on_engine(
                engine,
                paths or (),
                out,
                unused={
                    "format": format_name,
                    "image-prefix": image_prefix,
                    "txt": txt,
                    "txt-existing": txt_existing,
                    "xmp": xmp,
                    "write-embedded": write_embedded,
                    "no-originals": no_originals,
                    "restore-deleted": restore_deleted,
                    "sidecar-names": sidecar_names,
                    "hierarchy": hierarchy,
                    "gallery": gallery,
                    "scores": scores,
                    "errors": errors,
                    "bom": bom,
                    "force": force,
                    "shard": shard,
                    "journal": journal,
                    "no-journal": no_journal,
                    "hash": content_hash,
                    "retry-failed": retry_failed,
                    "labels": labels,
                    "input": form,
                },
                options={
                    "model": model,
                    "lists": lists or (),
                    "null": null,
                    "include": include or (),
                    "exclude": exclude or (),
                    "hidden": hidden,
                    "threshold": threshold,
                    "top_k": top_k,
                    "rules": rules or policy,
                    "exact": exact,
                    "max_pixels": max_pixels,
                    "accept_damaged": accept_damaged,
                    "provider": provider,
                    "batch_size": batch_size,
                    "workers": workers,
                    "time_limit": time_limit,
                    "memory_limit": memory_limit,
                },
            )
        return
    title = ", ".join(shown(path) if is_address(path) else path for path in paths or ()) or "images"
    others: list[Output] = []
    others += sidecars_of(
        txt=txt,
        txt_existing=txt_existing,
        xmp=xmp,
        names=sidecar_names,
        hierarchy=hierarchy,
        restore_deleted=restore_deleted,
        embedded=write_embedded,
        originals=not no_originals,
    )
    if scores is not None:
        from twlcli.tagging.outputs.scores import ScoreTable

        others.append(_placed(scores, ScoreTable))
    others += pages(gallery, title, errors, bom=bom)
    only_errors = len(others) == (errors is not None)
    outs = out or (["-"] if only_errors else [])
    tables = list(uploaded(outs, format_name, bom=bom, image_prefix=image_prefix))
    report = TagReport(
        default_model=model is None,
        tables=[each.file for each in tables if each.file is not None],
        errors=shown(errors) if is_address(errors) else errors,
        streams=any(each.file is None for each in tables),
    )
    with terminable(), report.reported():
        tally = tag_files(
            paths or (),
            model=model,
            outputs=[*tables, *others],
            lists=lists or (),
            null=null,
            standard_input=standard_input() if "-" in (lists or ()) else None,
            include=include or (),
            exclude=exclude or (),
            hidden=hidden,
            shard=shard,
            threshold=threshold,
            top_k=top_k,
            rules=rules or policy,
            exact=exact,
            max_pixels=max_pixels,
            accept_damaged=accept_damaged,
            ordered=not unordered,
            force=force,
            journal=None if no_journal else journal or AUTO,
            content_hash=content_hash,
            retry_failed=retry_failed,
            labels=labels,
            input=form,
            provider=provider,
            batch_size=batch_size,
            workers=workers,
            time_limit=time_limit,
            memory_limit=memory_limit,
            watcher=report,
        )
    if tally.failed or tally.unwritten:
        raise typer.Exit(3)


# --- what is written, also by `twl retag` ---------------------------------------------------------


def refuse(wrong: dict[str, bool]) -> None:
    """Raise TwlError for the first of some sentences that is true."""
    for sentence, is_so in wrong.items():
        if is_so:
            raise TwlError(sentence)


def uploaded(
    outs: Sequence[str], format_name: str | None, *, bom: bool, image_prefix: str | None
) -> Iterator[Output]:
    """As `tables_of`, with those whose names are addresses uploaded."""
    if not any(map(is_address, outs)):
        yield from tables_of(outs, format_name, bom=bom, image_prefix=image_prefix)
        return
    from twlcli.stores.upload import beside, named_as_given, staged
    from twlcli.tagging.outputs.uploaded import Uploaded

    places = {str(staged(out)): out for out in outs if is_address(out)}
    names = {address: place for place, address in places.items()}
    local = [names.get(out, out) for out in outs]
    addresses = {Path(place).parent: address for place, address in places.items()}
    with named_as_given(names):
        tables = tables_of(local, format_name, bom=bom, image_prefix=image_prefix)
    for each in tables:
        address = None if each.file is None else addresses.get(each.file.parent)
        if address is None or each.file is None:
            yield each
        else:
            is_named = str(each.file) in places
            yield Uploaded(each, address if is_named else beside(address, each.file.name))


def _placed(name: str, make: Callable[[Path], Output]) -> Output:
    """What `make` makes of the name of a file, be it an address."""
    if not is_address(name):
        return make(Path(name))
    from twlcli.tagging.outputs.uploaded import Uploaded

    return Uploaded.to(name, make)


def tables_of(
    outs: Sequence[str], format_name: str | None, *, bom: bool, image_prefix: str | None
) -> list[Output]:
    """The tables of the options `--out`, `--format`, `--bom` and `--image-prefix`.

    Raises:
        TwlError: one cannot be written as it is named.
    """
    from twlcli.tagging.outputs.csv import Csv
    from twlcli.tagging.outputs.label_studio import LabelStudio, LabelStudioConfig

    if image_prefix is not None and format_name != "label-studio":
        raise TwlError("--image-prefix requires --format label-studio")
    if outs.count("-") > 1:
        raise TwlError("--out - is given more than once")
    for out in outs:
        if is_address(out):
            raise TwlError(f"{shown(out)}: expected a file on the disk")
        if out in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
            raise TwlError(f"--out {out}: --out - is standard output")
    if format_name is not None and not outs:
        raise TwlError("--format requires a table: --out FILE")
    tables: list[Output] = []
    for each in _named_tables(outs, format_name):
        if isinstance(each, Csv):
            tables.append(replace(each, bom=bom))
        elif isinstance(each, LabelStudio):
            if each.file is not None:
                tables.append(LabelStudioConfig(each.file.with_suffix(".xml")))
            tables.append(
                each if image_prefix is None else replace(each, image_prefix=image_prefix)
            )
        else:
            tables.append(each)
    return tables


def _named_tables(outs: Sequence[str], format_name: str | None) -> Iterator[Output]:
    """The table of each `--out`; formats of JSON are for `.json` files, and others keep theirs."""
    from twlcli.tagging.outputs.tables import FOR_TOOLS, streamed_table, table

    def is_json(out: str) -> bool:
        return Path(out).suffix.lower() == ".json"

    for_tool = format_name in FOR_TOOLS
    if for_tool and not any(is_json(out) or out == "-" for out in outs):
        raise TwlError(f"--format {format_name} requires --out with a name that ends in .json")
    for out in outs:
        if out == "-":
            yield streamed_table(_standard_output(), format_name)
        elif is_json(out) and format_name is None:
            choice = " or ".join(f"--format {name}" for name in FOR_TOOLS)
            raise TwlError(f"{out}: a .json file requires {choice}; a .jsonl file needs neither")
        else:
            yield table(Path(out), None if for_tool and not is_json(out) else format_name)


def _standard_output() -> BinaryIO:
    try:
        os.write(sys.stdout.fileno(), b"")
    except OSError as error:
        if error.errno == errno.EBADF:  # closed by whoever called; else it is no file, in a test
            message = "standard output is closed; write to a file with --out FILE"
            raise TwlError(message) from None
    return data_stream()


def sidecars_of(
    *,
    txt: bool,
    txt_existing: str | None,
    xmp: bool,
    names: str | None,
    hierarchy: str | None,
    restore_deleted: bool,
    embedded: bool = False,
    originals: bool = True,
) -> Iterator[Output]:
    """The sidecars of the options of these names; `embedded` is `--write-embedded`.

    Raises:
        TwlError: an option has no use without another, or a value is not known.
    """
    no_xmp = not (xmp or embedded)
    refuse(
        {
            "--sidecar-names requires --txt or --xmp": bool(names and not (txt or xmp)),
            "--hierarchy requires --xmp or --write-embedded": hierarchy is not None and no_xmp,
            "--restore-deleted requires --xmp or --write-embedded": restore_deleted and no_xmp,
            "--no-originals requires --write-embedded": not (originals or embedded),
            "--txt-existing requires --txt": txt_existing is not None and not txt,
        }
    )
    levels = "|" if hierarchy is None else hierarchy
    if txt:
        from twlcli.tagging.outputs.txt import TxtSidecars

        yield TxtSidecars(names or "stem", txt_existing)
    if xmp:
        from twlcli.tagging.outputs.xmp.writer import XmpSidecars

        yield XmpSidecars(names, levels, restore_deleted)
    if embedded:
        from twlcli.tagging.outputs.xmp.inside import EmbeddedXmp

        yield EmbeddedXmp(levels, restore_deleted, originals)


def pages(gallery: str | None, title: str, errors: str | None, *, bom: bool) -> Iterator[Output]:
    """The gallery, and the table of failures.

    Raises:
        TwlError: the gallery would not be on the disk.
    """
    if gallery is not None and is_address(gallery):
        raise TwlError(f"{shown(gallery)}: a gallery links to images beside it on the disk")
    if gallery is not None:
        from twlcli.tagging.outputs.gallery.page import Gallery

        yield Gallery(Path(gallery), title)
    if errors is not None:
        from twlcli.tagging.outputs.csv import FailureTable

        yield _placed(errors, partial(FailureTable, bom=bom))


# --- how it is read, and stopped ------------------------------------------------------------------


def standard_input() -> BinaryIO:
    """What `--from -` reads.

    Raises:
        TwlError: it is closed.
    """
    if sys.stdin is None:
        raise TwlError("--from - reads standard input, which is closed")
    return typer.get_binary_stream("stdin")


class TerminatedError(KeyboardInterrupt):
    """SIGTERM has come; like Ctrl-C, with another exit code."""


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises `TerminatedError` inside the block, and both end with their exit codes.

    Raises:
        typer.Exit: with 143 for SIGTERM, 130 for Ctrl-C.
    """
    try:
        if threading.current_thread() is threading.main_thread():  # the only one that is asked
            with _handled():
                yield
        else:
            yield
    except KeyboardInterrupt as interrupt:
        raise typer.Exit(143 if isinstance(interrupt, TerminatedError) else 130) from None


@contextmanager
def _handled() -> Iterator[None]:
    def terminate(number: int, frame: FrameType | None) -> None:
        raise TerminatedError

    before: Callable[[int, FrameType | None], object] | int | None
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
