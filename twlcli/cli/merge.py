"""`twl merge`: one table from those of several machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The table to write.")],
    parts: Annotated[
        list[Path], typer.Argument(metavar="PART...", help="The tables of all shards.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    """Join what `twl tag --shard` wrote on several machines, and check that nothing is missing.

    The result equals the table of one run over all images. Each PART needs its PART.shard beside
    it. Tables of tags and those of --errors can be joined, not mixed.

    Example: twl merge tags.csv tags-1.csv tags-2.csv
    """
    from twlcli.cli.console import err
    from twlcli.tagging.merge import merge as merge_tables

    merged = merge_tables(out, parts, force=force)
    have = "image has" if merged.without_row == 1 else "images have"
    err.print(
        f"{out}: {merged.rows:,} rows for {merged.images:,} images of {merged.shards} shards; "
        f"{merged.without_row:,} {have} no row"
    )
