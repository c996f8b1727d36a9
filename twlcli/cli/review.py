"""`twl review`: a page of the images whose labels teach a model most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twlcli.annotations.read_options import DEFAULTS, ReadOptions
from twlcli.cli import options as shared
from twlcli.cli import tag_options as options
from twlcli.cli.label_options import flags_of, with_label_options
from twlcli.cli.printable import say
from twlcli.errors import TwlError

if TYPE_CHECKING:
    from twlcli.tagging.outputs.fan_out import Tally
    from twlcli.tagging.outputs.output import Output

Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="An exported .onnx model, a name from `twl models`, or scores of `twl tag --scores`, "
        "whose images lie in the one folder of PATHS.",
    ),
]
Out = Annotated[
    Path, typer.Option(metavar="FILE", help="The HTML page to write.", show_default=True)
]
Count = Annotated[int, typer.Option(min=1, metavar="N", help="Images to look at, at most 2000.")]
Labelled = Annotated[
    Path | None,
    typer.Option(
        metavar="DATA",
        help="Labels that are there already: their images are left out, and the others are named "
        "as these are. The options for labels say how they are read.",
    ),
]


@with_label_options
def review(
    model: Model,
    paths: options.Paths = None,
    out: Out = Path("review.html"),
    count: Count = 200,
    labelled: Labelled = None,
    reading: ReadOptions = DEFAULTS,
    threshold: shared.Threshold = None,
    lists: options.Lists = None,
    null: options.Null = False,
    include: options.Include = None,
    exclude: options.Exclude = None,
    hidden: options.Hidden = False,
    errors: options.Errors = None,
    force: options.Force = False,
    journal: options.JournalFile = None,
    no_journal: options.NoJournal = False,
    retry_failed: options.RetryFailed = False,
    provider: shared.Provider = None,
    batch_size: shared.BatchSize = None,
    workers: shared.Threads = None,
    exact: shared.Exact = False,
    max_pixels: shared.MaxPixels = None,
    accept_damaged: shared.AcceptDamaged = False,
    time_limit: options.TimeLimit = None,
    memory_limit: options.MemoryLimit = None,
) -> None:
    """Choose the images whose labels teach a model most, as a page to label them in.

    The labels take turns: each takes the image that is most probable for it, then the one about
    which it is least certain. What you say in the page is saved as corrections.csv, which
    `twl train` takes with --corrections, or as DATA.

    Example: twl review voc.onnx photos/ --out review.html
    """
    from twlcli.annotations.detect import read_with
    from twlcli.cli.tag import standard_input
    from twlcli.cli.tag_report import TagReport
    from twlcli.cli.termination import terminable
    from twlcli.images.decoding import MAX_PIXELS, Decoding
    from twlcli.labels import counted
    from twlcli.scoring.score_table import is_score_table
    from twlcli.tagging.outputs.csv import FailureTable
    from twlcli.tagging.outputs.review.output import Review
    from twlcli.tagging.run import AUTO, tag_files

    if labelled is None and (given := flags_of(reading)):
        raise TwlError(f"--{next(iter(given))} requires --labelled")
    if journal and no_journal:
        raise TwlError("--journal and --no-journal cannot be combined")
    shown: list[tuple[int, int]] = []
    page = Review(
        out,
        count,
        None if labelled is None else read_with(labelled, reading),
        title=", ".join(Path(path).name or path for path in paths or ()) or "images",
        decoding=Decoding(exact, max_pixels or MAX_PIXELS, accept_damaged),
        workers=workers,
        told=lambda *counts: shown.append(counts),
    )
    outputs: list[Output] = [page]
    if errors is not None:
        outputs.append(FailureTable(Path(errors)))
    if is_score_table(model):
        given = {"from": lists, "include": include, "exclude": exclude, "hidden": hidden}
        if useless := next((name for name, value in given.items() if value), None):
            raise TwlError(f"--{useless} has no meaning with scores: all their images are taken")
        tally = _of_scores(
            model, [*map(Path, paths or ())], outputs, errors, threshold=threshold, force=force
        )
    else:
        report = TagReport(default_model=False, tables=[out], errors=errors, streams=False)
        with terminable(), report.reported():
            tally = tag_files(
                paths or (),
                model=model,
                outputs=outputs,
                lists=lists or (),
                null=null,
                standard_input=standard_input() if "-" in (lists or ()) else None,
                include=include or (),
                exclude=exclude or (),
                hidden=hidden,
                threshold=threshold,
                exact=exact,
                max_pixels=max_pixels,
                accept_damaged=accept_damaged,
                force=force,
                journal=None if no_journal else journal or AUTO,
                retry_failed=retry_failed,
                provider=provider,
                batch_size=batch_size,
                workers=workers,
                time_limit=time_limit,
                memory_limit=memory_limit,
                watcher=report,
            )
    count, of = shown[-1]
    ready = "open it in a browser; what you say there it saves as corrections.csv"
    next_step = ready if count else "there is nothing to label"
    say(f"{out}: {count:,} of {counted(of, 'image', 'images')}; {next_step}")
    if tally.failed or tally.unwritten:
        raise typer.Exit(3)


def _of_scores(
    scores: Path,
    paths: Sequence[Path],
    outputs: Sequence[Output],
    errors: str | None,
    *,
    threshold: str | None,
    force: bool,
) -> Tally:
    from twlcli.cli.tag_report import Failures
    from twlcli.tagging.retag import retag

    if len(paths) != 1:
        raise TwlError(f"{scores}: holds scores; expected the one folder that they are of")
    failures = Failures(errors)
    done = retag(
        scores,
        outputs,
        images=paths[0],
        threshold=threshold,
        force=force,
        on_failure=failures.add,
    )
    failures.list(done.tally)
    return done.tally
