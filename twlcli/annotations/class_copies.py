"""The same picture in the folders of two classes: then one image would need two labels."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress

from twlcli.annotations.annotations import Annotations

_MANY = 20_000  # images


def copies_in_classes(annotations: Annotations) -> list[tuple[str, str]]:
    """Pairs of images with the same bytes and different labels, each image once.

    Only files of the same size are read; among many images, where sizes say little, only those that
    have the same name too.
    """
    first_of = dict[bytes, int]()
    pairs = []
    for row in _of_same_size(annotations):
        with suppress(OSError):
            content = hashlib.blake2b(annotations.path(row).read_bytes()).digest()
            first = first_of.setdefault(content, row)
            if _label(annotations, first) != _label(annotations, row):
                pairs.append((annotations.images[first], annotations.images[row]))
    return pairs


def _of_same_size(annotations: Annotations) -> Iterator[int]:
    """The images of more than one class whose files are as large as those of another."""
    alike = defaultdict[tuple[int, str], list[int]](list)
    for row, size in _sizes(annotations):
        name = annotations.images[row].rpartition("/")[2] if len(annotations) > _MANY else ""
        alike[size, name].append(row)
    for rows in alike.values():
        if len(rows) > 1 and len({_label(annotations, row) for row in rows}) > 1:
            yield from rows


def _sizes(annotations: Annotations) -> Iterator[tuple[int, int]]:
    """The size of every image that is there and not empty."""
    for row in range(len(annotations)):
        try:
            size = os.stat(annotations.path(row)).st_size  # noqa: PTH116  of up to a million
        except (OSError, ValueError):
            continue
        if size:
            yield row, size


def _label(annotations: Annotations, row: int) -> tuple[int, ...]:
    return tuple(annotations.labels.present(row).tolist())
