"""`twl retag`: make tags of scores again, without the model and without the images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twlcli.cli import options as shared
from twlcli.cli import tag_options as options
from twlcli.cli.printable import say
from twlcli.cli.tag import NO_PREFIX, refuse, tables_of

Scores = Annotated[
    Path, typer.Argument(metavar="SCORES", help="A file of `twl tag --scores`, a .parquet file.")
]
Outs = Annotated[
    list[str] | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="A .csv, .jsonl or .parquet file, or - for standard output (repeatable) [default: -]",
    ),
]


def retag(
    scores: Scores,
    out: Outs = None,
    format_name: options.Format = None,
    image_prefix: options.ImagePrefix = None,
    bom: options.Bom = False,
    force: options.Force = False,
    top_k: options.TopK = None,
    threshold: shared.Threshold = None,
    rules: options.RulesFile = None,
) -> None:
    """Make tags of scores at other thresholds, without model and images, in seconds.

    The tags are those that `twl tag` would write with the same options. Only tables: sidecars and
    the gallery need the images.

    Example: twl retag scores.parquet --threshold precision=0.9 --out tags.csv
    """
    from twlcli.tagging.retag import retag as retag_scores

    refuse({NO_PREFIX: image_prefix is not None and format_name != "label-studio"})
    tables = tables_of(out or ["-"], format_name, bom=bom, image_prefix=image_prefix)
    done = retag_scores(scores, tables, threshold=threshold, top_k=top_k, rules=rules, force=force)
    if done.never_given:
        say(done.never_given)
    images = "image" if done.images == 1 else "images"
    say(f"{done.images:,} {images} tagged from {scores} in {done.seconds:.1f} s")
