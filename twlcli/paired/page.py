"""Models on the same images as one HTML page that needs nothing else: no server, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from twlcli.annotations.annotations import Annotations
from twlcli.comparison.report import signed
from twlcli.inference.thumbnails import thumbnails
from twlcli.io import write_whole
from twlcli.model.spec import ModelSpec
from twlcli.pages.addresses import folder_address, quoted
from twlcli.pages.plot import svg
from twlcli.pages.shown_names import shown
from twlcli.pages.templates import as_json, digest, part, render_page, style_of
from twlcli.paired.plots import labels_plot
from twlcli.paired.report import (
    HOW_LABELS,
    difference_rows,
    how_differences,
    images_text,
    interval_text,
    labels_text,
    notes_on,
    score_rows,
)
from twlcli.paired.result import ImageDifference, LabelDecision, ModelDifference, PairedEvaluation
from twlcli.scoring.report import percent
from twlcli.scoring.source import Running

MOST_LABELS = 5000  # in a page; of more, those that most images have
MOST_UNREADABLE = 100  # that are named
_MOST_PICTURES = 4 << 20  # bytes
_LONG = 600  # characters of a sentence that may list names
_SHORT = 40  # of a model's name
_TRUTH = 12  # labels that an image has


def write_page(
    paired: PairedEvaluation,
    spec: ModelSpec,
    annotations: Annotations,
    path: Path,
    *,
    running: Running,
) -> None:
    """Write models on the same images as one HTML file.

    It holds the scores with their differences, the labels that differ, a table of all labels, and
    the images on which the models disagree most as thumbnails, which link to the images.

    Args:
        paired: what to show.
        spec: of the first model, whose crop thumbnails show.
        annotations: the images, where they lie.
        path: of the file; replaced if it is there.
        running: how images are decoded.

    Raises:
        DeviceError: the processes that decode do not start.
        TwlError: the file cannot be written.
    """
    names = [shown(each, _SHORT) for each in paired.names]
    pictures = _Pictures.of(paired, spec, annotations, path, running)
    style = style_of(
        "pages/report.css", "pages/scores.css", "report/report.css", "paired/paired.css"
    )
    script = part("paired/paired.js")
    columns = _columns(paired)
    page = render_page(
        "paired/page.html",
        title=_title(paired, names),
        style=style,
        # Nothing but this style, this script and the pictures inside the page.
        policy=f"img-src data:; style-src {digest(style)}; script-src {digest(script)}",
        paired=paired,
        names=names,
        facts=_facts(paired),
        scores=score_rows(paired),
        differences=[
            _shown_difference(paired, each, names, pictures) for each in paired.differences
        ],
        how=how_differences(paired),
        how_labels=HOW_LABELS,
        notes=[_sentence(shown(each, _LONG), paired.names) for each in notes_on(paired)],
        rows=[_row(paired, column) for column in columns],
        label_count=len(paired.differences[0].labels),
        # As the template of the evaluation report has them.
        summary={"unreadable": [(shown(e.image), shown(e.reason)) for e in paired.unreadable]},
        most_unreadable=MOST_UNREADABLE,
        percent=percent,
        signed=signed,
        interval=interval_text,
        svg=svg,
        # JSON in which every `<` is an escape, and twl's own script.
        table=Markup(as_json(_table(paired, names, columns))),  # noqa: S704
        script=Markup(script),  # noqa: S704
    )
    write_whole(path, lambda file: file.write(page.encode(errors="replace")))


def _title(paired: PairedEvaluation, names: list[str]) -> str:
    data = shown(paired.data, 80)
    if len(names) == 2:
        return f"{names[1]} against {names[0]} on {data}"
    return f"{len(names)} models on {data}"


def _sentence(note: str, names: Sequence[str]) -> str:
    """A note with a capital letter, unless it begins with the name of a model."""
    return note if note.startswith(tuple(names)) else note[:1].upper() + note[1:]


def _facts(paired: PairedEvaluation) -> dict[str, str]:
    evaluation = paired.evaluations[0]
    positives = sum(row.support for row in evaluation.labels)
    return {
        "first model": shown(paired.models[0]),
        "compared with it": "; ".join(map(shown, paired.models[1:])),
        "data": shown(paired.data),
        "split": shown(paired.split),
        "images": f"{paired.images:,}, with {positives / paired.images:.2f} labels each",
        "labels": f"{len(paired.labels):,}",
        "thresholds": evaluation.threshold,
    }


# --- labels -----------------------------------------------------------------------------------


def _columns(paired: PairedEvaluation) -> list[int]:
    """The places of the labels in the page among those that can be ranked."""
    labels = paired.differences[0].labels
    order = sorted(range(len(labels)), key=lambda each: -labels[each].support)[:MOST_LABELS]
    return sorted(order)


def _row(paired: PairedEvaluation, column: int) -> dict[str, Any]:
    labels = [each.labels[column] for each in paired.differences]
    return {
        "name": shown(labels[0].label),
        "support": labels[0].support,
        "first": labels[0].first,
        "others": labels,
    }


def _table(paired: PairedEvaluation, names: list[str], columns: list[int]) -> dict[str, Any]:
    """The script's values.

    Of each label: name, images, AP by the first, and of each other model AP, difference, ends of
    its interval or null, and 1 where it is more than chance.
    """

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 6)

    rows = []
    for column in columns:
        labels = [each.labels[column] for each in paired.differences]
        others = [
            [
                rounded(each.value),
                rounded(each.difference.value),
                rounded(each.difference.low),
                rounded(each.difference.high),
                int(each.difference.significant),
            ]
            for each in labels
        ]
        rows.append([shown(labels[0].label), labels[0].support, rounded(labels[0].first), others])
    return {"names": names, "labels": rows}


# --- images -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pictures:
    """Thumbnails and addresses of the images that the page shows, by name."""

    pictures: dict[str, str]
    addresses: dict[str, str]

    @classmethod
    def of(
        cls,
        paired: PairedEvaluation,
        spec: ModelSpec,
        annotations: Annotations,
        path: Path,
        running: Running,
    ) -> _Pictures:
        wanted = dict.fromkeys(
            each.image for model in paired.differences for each in model.disagreement.worst
        )
        row_of = {image: row for row, image in enumerate(annotations.images) if image in wanted}
        rows = [row_of[image] for image in wanted]
        found = thumbnails(
            annotations,
            rows,
            spec.preprocessing,
            most_bytes=_MOST_PICTURES,
            decoding=running.decoding,
            workers=running.workers,
        )
        folder = path.absolute().parent
        files = {image: annotations.path(row_of[image]) for image in wanted}
        return cls(
            {annotations.images[row]: picture for row, picture in found.items()},
            {
                image: folder_address(file.parent.absolute(), folder) + quoted(file.name)
                for image, file in files.items()
            },
        )


def _shown_difference(
    paired: PairedEvaluation, difference: ModelDifference, names: list[str], pictures: _Pictures
) -> dict[str, Any]:
    """What the page shows of a model against the first."""
    pair = (names[0], names[paired.names.index(difference.name)])
    return {
        "name": pair[1],
        "rows": difference_rows(difference),
        "labels": labels_text(difference),
        "plot": labels_plot(difference, pair[0]) if difference.labels else None,
        "images": images_text(difference.disagreement, paired.images, pair),
        "worst": [_image(each, pictures, pair) for each in difference.disagreement.worst],
    }


def _image(each: ImageDifference, pictures: _Pictures, pair: tuple[str, str]) -> dict[str, Any]:
    present = [shown(label, 60) for label in each.present[:_TRUTH]]
    if len(each.present) > _TRUTH:
        present.append(f"… and {len(each.present) - _TRUTH:,} more")
    return {
        "name": shown(each.image),
        "address": pictures.addresses[each.image],
        "picture": pictures.pictures.get(each.image, ""),
        "present": ", ".join(present) or "no label",
        "sides": [
            {"name": name, "labels": [_decision(d) for d in each.labels if d.given == is_other]}
            for is_other, name in enumerate(pair)
        ],
    }


def _decision(each: LabelDecision) -> dict[str, Any]:
    words = {True: "right", False: "wrong", None: "unknown"}
    return {
        "name": shown(each.label, 60),
        "word": words[each.present],
        "first": f"{each.first:.2f}",
        "value": f"{each.value:.2f}",
    }
