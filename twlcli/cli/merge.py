"""`twl merge`: one table from those of several machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The joined table to write.")],
    parts: Annotated[
        list[Path],
        typer.Argument(metavar="PART...", help="The tables of all shards, in any order."),
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    """Join the tables of `twl tag --shard`, and check that nothing is missing.

    The result equals the table of a single run over all images. Each PART needs its PART.shard
    file beside it. Tables of tags can be joined, and tables of --errors, but not one with the
    other.

    Example: twl merge tags.csv tags-1.csv tags-2.csv
    """
    from twlcli.cli.console import err
    from twlcli.tagging.merge import merge as merge_tables

    merged = merge_tables(out, parts, force=force)
    rows = "row" if merged.rows == 1 else "rows"
    have = "image has" if merged.without_row == 1 else "images have"
    err.print(
        f"{out}: {merged.rows:,} {rows} for {merged.images:,} images in {merged.shards} shards; "
        f"{merged.without_row:,} {have} no row"
    )
