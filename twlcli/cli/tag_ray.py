"""`twl tag --engine ray`: the same, on a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from twlcli.cli.printable import say
from twlcli.errors import TwlError

if TYPE_CHECKING:
    from twlcli.cluster.run import ClusterStart

ENGINES = ("ray",)


def tag_on_engine(
    engine: str,
    paths: Sequence[Any],
    outs: Sequence[str] | None,
    *,
    unused: Mapping[str, object],
    options: Mapping[str, Any],
) -> None:
    """Tag on a cluster and say how it ended.

    Args:
        engine: the word after `--engine`.
        paths: as for `twl tag`.
        outs: as given.
        unused: options that have no meaning on a cluster, as given.
        options: the others, for `tag_on_ray`.

    Raises:
        TwlError: an option has no meaning, or the folder is missing.
        typer.Exit: with 3 where images failed.
    """
    if engine not in ENGINES:
        raise TwlError(f"--engine {engine}: expected ray")
    for name, value in unused.items():
        if value:
            raise TwlError(f"--{name} and --engine cannot be combined")
    if not outs or len(outs) > 1 or outs[0] == "-":
        raise TwlError("--engine requires one folder: --out DIR")
    if outs[0].lower().endswith((".csv", ".jsonl", ".json", ".parquet")):
        raise TwlError(f"--out {outs[0]}: --engine writes parts into a folder: --out DIR")
    from twlcli.cluster.run import tag_on_ray

    try:
        tally = tag_on_ray(paths, outs[0], watcher=_say_start, **options)
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from here")
        raise
    count = tally.tagged + tally.failed
    images = "1 image" if count == 1 else f"{count:,} images"
    before = f", {tally.stored:,} of them before" if tally.stored else ""
    say(
        f"{outs[0]}: {images}: {tally.tagged:,} tagged, {tally.failed:,} failed{before}, "
        f"in {tally.seconds:,.1f} s"
    )
    if tally.failed:
        say(f"what failed, and why, is in {outs[0].rstrip('/')}/outcome=failed")
        raise typer.Exit(3)


def _say_start(start: ClusterStart) -> None:
    where = "this machine" if start.address == "local" else start.address
    workers = "1 worker" if start.workers == 1 else f"{start.workers:,} workers"
    done = f", {start.done:,} done before" if start.done else ""
    say(f"Ray on {where}: {start.images:,} images{done}, {workers}")
