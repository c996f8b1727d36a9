"""`twl tag`: labels for every image in a folder."""

from __future__ import annotations

import typer

from twlcli.cli import tag_options as options
from twlcli.errors import TwlError


def tag(
    paths: options.Paths = None,
    model: options.Model = None,
    out: options.Outs = None,
    format_name: options.Format = None,
    txt: options.Txt = False,
    xmp: options.Xmp = False,
    sidecar_names: options.SidecarNaming = None,
    hierarchy: options.Hierarchy = "|",
    gallery: options.Gallery = None,
    errors: options.Errors = None,
    unordered: options.Unordered = False,
    force: options.Force = False,
    top_k: options.TopK = None,
    threshold: options.Threshold = None,
    policy: options.PolicyFile = None,
    lists: options.Lists = None,
    null: options.Null = False,
    include: options.Include = None,
    exclude: options.Exclude = None,
    hidden: options.Hidden = False,
    shard: options.ShardText = None,
    journal: options.JournalFile = None,
    no_journal: options.NoJournal = False,
    content_hash: options.ContentHash = False,
    retry_failed: options.RetryFailed = False,
    provider: options.Provider = None,
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    exact: options.Exact = False,
    time_limit: options.TimeLimit = None,
    memory_limit: options.MemoryLimit = None,
) -> None:
    """Tag images: which labels each one has, and how probably.

    Writes a row for each image, in the order of the files; paths are relative to the folder given.
    Images that cannot be read do not stop the run: they are listed at the end, and the exit code is
    3. After an interruption the same command goes on, and called again later it does what is new or
    has changed.
    """
    from twlcli.cli.tag_outputs import Destinations, sidecar_names_of, tables_of
    from twlcli.cli.tag_request import Decision, Engine, Remembering, Sources, limits_of, shard_of
    from twlcli.cli.tag_run import TagRun

    sources = Sources(
        paths=tuple(paths or ()),
        lists=tuple(lists or ()),
        null=null,
        hidden=hidden,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        shard=shard_of(shard),
    )
    destinations = Destinations(
        tables=tables_of(out or (), format_name, other_outputs=txt or xmp or gallery is not None),
        errors=errors,
        gallery=gallery,
        txt=txt,
        xmp=xmp,
        sidecar_names=sidecar_names_of(sidecar_names),
        hierarchy=hierarchy,
        ordered=not unordered,
        force=force,
    )
    if unordered and shard is not None:
        raise TwlError("--unordered and --shard exclude each other: parts are joined in order")
    if journal is not None and no_journal:
        raise TwlError("--journal and --no-journal exclude each other")
    place = None if no_journal else journal or destinations.default_journal(sources.paths)
    run = TagRun(
        sources,
        Decision(threshold=threshold, top_k=top_k, exact=exact, policy=policy),
        Engine(model, provider, batch_size, workers, limits_of(time_limit, memory_limit)),
        destinations,
        Remembering(place, content=content_hash, retry_failed=retry_failed),
    )
    tally = run.run()
    if tally.failed or tally.unwritten:
        raise typer.Exit(3)
