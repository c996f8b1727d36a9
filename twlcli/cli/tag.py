"""`twl tag`: tag images with a model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, BinaryIO

import typer

from twlcli.cli import options as shared
from twlcli.cli import tag_options as options
from twlcli.cli.tag_outputs import pages, placed, refuse, sidecars_of, uploaded
from twlcli.cli.termination import terminable
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

        others.append(placed(scores, ScoreTable))
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


def standard_input() -> BinaryIO:
    """What `--from -` reads.

    Raises:
        TwlError: it is closed.
    """
    if sys.stdin is None:
        raise TwlError("--from - reads standard input, which is closed")
    return typer.get_binary_stream("stdin")
