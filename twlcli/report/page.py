"""The evaluation report as one HTML page that needs nothing else: no server, no network."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from twlcli.images.decoding import USUAL, Decoding
from twlcli.io import write_whole
from twlcli.pages.plot import svg
from twlcli.pages.shown_names import shown
from twlcli.pages.templates import as_json, digest, part, render_page, style_of
from twlcli.report.evaluated import Evaluated
from twlcli.report.label_cards import cards_of
from twlcli.report.matrix import matrices_of
from twlcli.report.run_curves import run_of, run_plots, training_images
from twlcli.report.summary import summary_of
from twlcli.scoring.report import percent

# The pictures inside the page, and images in their places.
_IMAGES = "img-src data: 'self' file:"
MOST_UNREADABLE = 100  # that are named


def write_report(
    evaluated: Evaluated,
    path: Path,
    *,
    decoding: Decoding = USUAL,
    workers: int | None = None,
) -> None:
    """Write the report of an evaluation as one HTML file.

    It holds the scores, the curves of the model's run where it has one, a table of all labels and,
    for each, curves, a threshold slider and its worst mistakes as thumbnails, which link to the
    images.

    Args:
        evaluated: the evaluation and what it was made of.
        path: of the file; replaced if it is there.
        decoding: the settings that change pixels of thumbnails.
        workers: processes that decode; None is one for each core.

    Raises:
        DeviceError: the processes that decode do not start.
        TwlError: the file cannot be written.
    """
    run = run_of(Path(evaluated.model))
    source, vocabulary = evaluated.annotations.source, evaluated.spec.vocabulary
    trained = None if run is None else training_images(run, source, vocabulary)
    folder = path.absolute().parent
    cards = cards_of(evaluated, folder, trained=trained, decoding=decoding, workers=workers)
    summary = summary_of(evaluated)
    style = style_of("pages/report.css", "pages/scores.css", "pages/marks.css", "report/report.css")
    script = part("pages/marks.js") + part("report/report.js")
    page = render_page(
        "report/page.html",
        title=summary.title,
        style=style,
        policy=f"{_IMAGES}; style-src {digest(style)}; script-src {digest(script)}",
        summary=summary,
        most_unreadable=MOST_UNREADABLE,
        plots=[] if run is None else run_plots(run),
        svg=svg,
        rows=[
            (shown(row.label), row, None if trained is None else int(trained[column]))
            for column, row in ((each, evaluated.evaluation.labels[each]) for each in cards.columns)
        ],
        label_count=len(evaluated.evaluation.labels),
        has_unknown=any(row.unknown for row in evaluated.evaluation.labels),
        is_trained_known=trained is not None,
        cards=cards,
        matrices=matrices_of(evaluated),
        percent=percent,
        # JSON in which every `<` is an escape, and twl's own script.
        table=Markup(as_json(cards.table)),  # noqa: S704
        details=Markup(as_json(cards.details)),  # noqa: S704
        examples=Markup(as_json(cards.examples)),  # noqa: S704
        script=Markup(script),  # noqa: S704
    )
    write_whole(path, lambda file: file.write(page.encode(errors="replace")))
