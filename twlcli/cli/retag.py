"""`twl retag`: make tags of scores again, without the model and without decoding images."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twlcli.cli import options as shared
from twlcli.cli import tag_options as options
from twlcli.cli.printable import say
from twlcli.cli.tag_outputs import pages, refuse, sidecars_of, tables_of
from twlcli.errors import TwlError
from twlcli.io import is_address

if TYPE_CHECKING:
    from twlcli.tagging.outputs.fan_out import Tally
    from twlcli.tagging.outputs.output import Output

Scores = Annotated[
    Path, typer.Argument(metavar="SCORES", help="A file of `twl tag --scores`, a .parquet file.")
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="Folder of the images, which was given to twl tag: for --txt, --xmp, --gallery and "
        "--errors. Images are looked for, not decoded.",
    ),
]


def retag(
    scores: Scores,
    out: options.Outs = None,
    format_name: options.Format = None,
    image_prefix: options.ImagePrefix = None,
    images: Images = None,
    txt: options.Txt = False,
    txt_existing: options.TxtExisting = None,
    xmp: options.Xmp = False,
    restore_deleted: options.RestoreDeleted = False,
    sidecar_names: options.SidecarNaming = None,
    hierarchy: options.Hierarchy = None,
    gallery: options.Gallery = None,
    errors: options.Errors = None,
    bom: options.Bom = False,
    force: options.Force = False,
    top_k: options.TopK = None,
    threshold: shared.Threshold = None,
    rules: options.RulesFile = None,
) -> None:
    """Make tags of scores at other thresholds, without the model, in seconds.

    The tags are those that `twl tag` would write with the same options. With --images, they are
    also written beside the images and into a gallery; images that are not there any more are listed
    at the end, and the exit code is 3.

    Example: twl retag scores.parquet --threshold precision=0.9 --out tags.csv
    """
    from twlcli.cli.tag_report import Failures, counts_beside
    from twlcli.tagging.retag import retag as retag_scores

    refuse(
        {
            "--hierarchy requires --xmp": hierarchy is not None and not xmp,
            "--restore-deleted requires --xmp": restore_deleted and not xmp,
            "--errors requires a file on the disk": is_address(errors),
        }
    )
    others: list[Output] = []
    others += sidecars_of(
        txt=txt,
        txt_existing=txt_existing,
        xmp=xmp,
        names=sidecar_names,
        hierarchy=hierarchy,
        restore_deleted=restore_deleted,
    )
    others += pages(gallery, str(images), errors, bom=bom)
    if others and images is None:
        raise TwlError("--txt, --xmp, --gallery and --errors need the images: --images DIR")
    if images is not None and not others:
        raise TwlError("--images requires --txt, --xmp, --gallery or --errors")
    only_errors = len(others) == (errors is not None)
    outs = out or (["-"] if only_errors else [])
    tables = tables_of(outs, format_name, bom=bom, image_prefix=image_prefix)
    failures = Failures(errors)
    with _progress(tables) as show:
        done = retag_scores(
            scores,
            [*tables, *others],
            images=images,
            threshold=threshold,
            top_k=top_k,
            rules=rules,
            force=force,
            on_failure=failures.add,
            progress=show,
        )
    failures.list(done.tally)
    if done.never_given:
        say(done.never_given)
    counted = f"{done.images:,} {'image' if done.images == 1 else 'images'} tagged from {scores}"
    if images is not None:
        counted = ", ".join([counted, *counts_beside(done.tally), ""]).rstrip()
    say(f"{counted} in {done.seconds:.1f} s")
    if done.tally.failed or done.tally.unwritten:
        raise typer.Exit(3)


@contextmanager
def _progress(tables: Sequence[Output]) -> Iterator[Callable[[Tally, int], None]]:
    """A bar of images, if stderr is a terminal that rows do not scroll."""
    scrolls = any(each.file is None for each in tables) and sys.stdout and sys.stdout.isatty()
    if scrolls or not sys.stderr or not sys.stderr.isatty():
        yield lambda tally, total: None
        return
    from twlcli.cli.progress import image_bar

    with image_bar() as (show, set_total):

        def advanced(tally: Tally, total: int) -> None:
            set_total(total)
            show(tally.tagged + tally.failed, tally.images_per_second)

        yield advanced
