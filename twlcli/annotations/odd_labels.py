"""Labels that look as if a cell had not been taken apart as it was meant."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from twlcli.annotations.annotations import Annotations
from twlcli.errors import AnnotationError
from twlcli.labels import some_of

# What some write between labels, beside those that are found.
_RARE = ("/", "+", "&", "、", "，", "；", "・", "\\", ":", ".", "\t")
# What spreadsheets write where a formula went wrong; `#N/A` is an empty cell.
_ERRORS = frozenset(("#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NULL!", "#NUM!"))
# A label with a probability: `dog:0.9`, `dog (0.9)`.
_VALUED = re.compile(r"\S.*?\s*[:=(\[]\s*([01]|[01]?\.\d+|[01]\.\d*)\s*[)\]]?")
_NUMBER = re.compile(r"\d+(\.\d+)+")  # or a version


def with_notes_of_labels(annotations: Annotations) -> Annotations:
    """The annotations with a note of labels that all images have, or joined by an unusual sign.

    The latter are noted where the joined labels also occur alone.

    Raises:
        AnnotationError: every label ends with a probability, or one is the error of a formula.
    """
    names = annotations.vocabulary.names
    if errors := sorted(_ERRORS.intersection(names)):
        message = f"a cell of labels holds {errors[0]}, the error of a formula"
        raise AnnotationError(f"{annotations.source}: {message}", hint="mend or empty it")
    values = [_VALUED.fullmatch(name) for name in names]
    if names and all(values) and any("." in value[1] for value in values if value):
        message = f"every label ends with a number, as '{names[0]}'; expected names alone"
        hint = 'probabilities may stand in JSON Lines: "labels": {"dog": 0.9}'
        raise AnnotationError(f"{annotations.source}: {message}", hint=hint)
    if len(annotations) > 2 and len(names) > 1:
        counts = annotations.labels.present_per_label().tolist()
        always = [
            name for name, count in zip(names, counts, strict=True) if count == len(annotations)
        ]
        if always:
            annotations = annotations.with_note(f"labels that every image has: {some_of(always)}")
    for sign, name in _joined(frozenset(names)):
        parts = "' and '".join(part.strip() for part in name.split(sign))
        annotations = annotations.with_note(
            f"'{name}' was read as one label, though '{parts}' are labels; a separator of '{sign}' "
            "splits such cells"
        )
    return annotations


def _joined(names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Signs with the first label in which each joins labels that are there alone too.

    Example:
        >>> list(_joined(("cat", "cat/dog", "dog", "AC/DC")))
        [('/', 'cat/dog')]
    """
    for sign in _RARE:
        for name in sorted(name for name in names if sign in name):
            if not _NUMBER.fullmatch(name) and all(
                part.strip() in names for part in name.split(sign)
            ):
                yield sign, name
                break
