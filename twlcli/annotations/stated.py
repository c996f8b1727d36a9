"""What is said of a model that does not say it itself: its labels, and how images go in."""

from __future__ import annotations

from pathlib import Path

from twlcli.annotations.label_names import LabelNames
from twlcli.errors import TwlError
from twlcli.model.foreign.stated import Stated


def stated_of(labels: Path | str | None, form: str | None) -> Stated | None:
    """Labels of a file, and the form; None where neither is given.

    Raises:
        AnnotationError: the file has no names of labels.
        TwlError: one of both is missing.
    """
    if labels is None and form is None:
        return None
    if labels is None or form is None:
        missing = "labels" if labels is None else "input"
        raise TwlError(
            "the labels and how images go in are said together", hint=f"{{{missing}}} is missing"
        )
    return Stated(tuple(LabelNames.read(Path(labels))), form)
