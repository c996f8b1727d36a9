"""Scores on disk as what a model said of labelled images."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.vocabulary import with_vocabulary
from twlcli.errors import AnnotationError
from twlcli.images.image_file import Failure
from twlcli.inference.scored import ScoredImages, assembled
from twlcli.scoring.score_table import StoredScores


def scores_of(annotations: Annotations, stored: StoredScores, path: Path) -> ScoredImages:
    """What is stored of labelled images; those without scores are left out and named.

    An image is known by its name. Where none of the names is the same, as where the folder that was
    tagged is not that of the label file, the ends of paths count: `1998/a.jpg` is
    `photos/1998/a.jpg`.

    Args:
        annotations: the images; their labels are brought into the model's order.
        stored: the scores, not drawn yet.
        path: where they are from.

    Raises:
        AnnotationError: a label that is present is not one of the model's, no image has scores, or
            by the ends of paths one may be another.
        TwlError: the file of scores is damaged.
    """
    annotations = with_vocabulary(annotations, stored.spec.vocabulary)
    logits = np.full(annotations.labels.shape, np.nan, dtype=np.float32)
    rows = {image: row for row, image in enumerate(annotations.images)}
    by_ends = _Ends(annotations)
    found: dict[int, str] = {}
    exact, first = False, ""
    doubt: AnnotationError | None = None  # of the ends of paths, which may turn out not to count
    for names, batch in stored.batches:
        first = first or names[0]
        for name, values in zip(names, batch, strict=True):
            row = rows.get(name)
            if row is not None and not exact:
                exact = True
                logits[list(found)] = np.nan
            if row is None and not exact and doubt is None:
                try:
                    row = by_ends.row_of(name, path, found)
                except AnnotationError as error:
                    doubt = error
            if row is not None:
                logits[row] = values
                found[row] = name
    if doubt is not None and not exact:
        raise doubt
    unscored = np.flatnonzero(np.isnan(logits).any(axis=1)).tolist()
    if not len(annotations):
        raise AnnotationError(f"{annotations.source}: there are no images to evaluate")
    if len(unscored) == len(annotations):
        example = f"; a name there is {first!a}" if first else ""
        raise AnnotationError(
            f"{annotations.source}: none of its {len(annotations):,} images has scores in {path} "
            f"(the first is {annotations.images[0]!a}{example})"
        )
    reason = f"has no scores in {path}"
    without = {row: Failure(annotations.images[row], reason) for row in unscored}
    return assembled(annotations, logits, without)


class _Ends:
    """Finds labelled images by the ends of their paths."""

    def __init__(self, annotations: Annotations) -> None:
        self._annotations = annotations
        self._rows: dict[str, list[int]] = defaultdict(list)
        for row, image in enumerate(annotations.images):
            self._rows[image.rpartition("/")[2]].append(row)

    def row_of(self, name: str, path: Path, found: dict[int, str]) -> int | None:
        """The row of an image; None where there is none.

        Raises:
            AnnotationError: it may be one of several, or the row is that of another name.
        """
        images = self._annotations.images
        last = name.rpartition("/")[2]
        rows = [row for row in self._rows.get(last, ()) if _is_end(name, images[row])]
        if len(rows) > 1:
            raise AnnotationError(
                f"{path}: {name!a} may be {images[rows[0]]!a} or {images[rows[1]]!a} of "
                f"{self._annotations.source}; expected the names of the label file"
            )
        if rows and rows[0] in found:
            raise AnnotationError(
                f"{self._annotations.source}: {images[rows[0]]!a} may be {found[rows[0]]!a} or "
                f"{name!a} of {path}; expected the same names"
            )
        return rows[0] if rows else None


def _is_end(one: str, other: str) -> bool:
    """Whether one of two paths is the end of the other.

    Example:
        >>> _is_end("1998/a.jpg", "photos/1998/a.jpg"), _is_end("8/a.jpg", "1998/a.jpg")
        (True, False)
    """
    return f"/{one}".endswith(f"/{other}") or f"/{other}".endswith(f"/{one}")
