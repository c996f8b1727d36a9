"""What images belong to, such as patients, and splits that part it."""

from __future__ import annotations

from dataclasses import replace

from twlcli.annotations.annotations import Annotations

_NOTE = "groups that lie in several splits: "


def parted_groups(annotations: Annotations) -> tuple[str, ...]:
    """The groups with images in more than one split, in order of first appearance."""
    splits_of: dict[str, set[str]] = {}
    for group, split in zip(annotations.groups, annotations.splits, strict=False):
        if group and split:
            splits_of.setdefault(group, set()).add(split)
    return tuple(group for group, splits in splits_of.items() if len(splits) > 1)


def with_note_of_parted_groups(annotations: Annotations) -> Annotations:
    """The annotations with a note that says how many groups their splits part, if any."""
    if not annotations.groups:
        return annotations
    notes = tuple(note for note in annotations.notes if not note.startswith(_NOTE))
    if parted := parted_groups(annotations):
        notes += (f"{_NOTE}{len(parted):,}, such as '{parted[0]}'",)
    return replace(annotations, notes=notes)
