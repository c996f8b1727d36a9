"""What resuming a run needs: its last two states, checked before they are used.

A state is written whole before it takes the place of the one before it, which is kept beside it. A
file that was damaged later is found by the checksums that torch writes into it.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twlcli.annotations.names import Names
from twlcli.errors import ModelError
from twlcli.io import check_not_compressed, write_whole

if TYPE_CHECKING:
    import torch

    from twlcli.annotations.annotations import Annotations

_NEWEST, _OLDER = "state.pt", "state-older.pt"


@dataclass(frozen=True)
class SavedState:
    """A state that was read back.

    Attributes:
        values: what was written.
        note: what was wrong with a newer one; empty where this is the newest.
    """

    values: dict[str, Any]
    note: str = ""


def data_identity(train: Annotations, validation: Annotations) -> dict[str, Any]:
    """What a state keeps of the data, so that a run is resumed on the same: labels and a digest.

    The digest is of the images' names, in their order, and of their labels.
    """
    digest = hashlib.sha256()
    for part in (train, validation):
        blocks = Names.of(part.images).blocks()
        names = [block.lines().encode("utf-8", "surrogateescape") for block in blocks]
        digest.update(b"%d\0" % (sum(map(len, names)) + max(len(names) - 1, 0)))
        digest.update(b"\n".join(names))
        for array in (part.labels.starts, part.labels.columns, part.labels.values):
            digest.update(array.tobytes())
    return {"labels": list(train.vocabulary.names), "digest": digest.hexdigest()}


def check_identity(saved: Mapping[str, Any], now: Mapping[str, Any], *, source: Path) -> None:
    """Raise ModelError where a run's data are not those that it began with.

    Args:
        saved: of the state.
        now: of the data as they are.
        source: where these are.
    """
    before, after = saved["labels"], now["labels"]
    if before != after:
        gone, new = set(before) - set(after), set(after) - set(before)
        told = [
            *(f"no label '{name}' any more" for name in sorted(gone)),
            *(f"a new label '{name}'" for name in sorted(new)),
        ]
        raise ModelError(
            f"{source}: has {', '.join(told) or 'its labels in another order'}; "
            "a run is resumed with the labels that it began with"
        )
    if saved["digest"] != now["digest"]:
        raise ModelError(
            f"{source}: its images, or their labels or splits, are not those that the run began "
            "with; a run is resumed on the same data"
        )


def has_state(folder: Path) -> bool:
    """Whether a run was saved, so that it can continue."""
    return (folder / _NEWEST).exists() or (folder / _OLDER).exists()


def write_state(folder: Path, values: Mapping[str, Any]) -> None:
    """Save a state, and keep the one before it.

    Raises:
        TwlError: it cannot be written; what was saved before is as it was.
    """
    import torch

    write_whole(folder / _NEWEST, lambda file: torch.save(dict(values), file), keep=folder / _OLDER)


def read_state(folder: Path, device: torch.device) -> SavedState:
    """The newest state that is not damaged.

    Raises:
        ModelError: nothing was saved, or all of it is damaged.
    """
    damaged: list[str] = []
    for path in (folder / _NEWEST, folder / _OLDER):
        if not path.exists():
            if path.name == _NEWEST and (folder / _OLDER).exists():
                damaged.append(f"{path}: missing")
            continue
        try:
            values = _checked(path, device)
        except Exception as error:  # damaged archives raise nearly anything
            reason = str(error).strip().splitlines() or [type(error).__name__]
            damaged.append(f"{path}: damaged ({reason[0]})")
            continue
        used = f"; continuing from {path.name}, which is older" if damaged else ""
        return SavedState(values, "; ".join(damaged) + used)
    if not damaged:
        raise ModelError(f"{folder / _NEWEST}: nothing to resume; the run was not saved yet")
    raise ModelError(
        "; ".join(damaged),
        hint="a new run can begin with the best weights so far: {weights} " + str(folder),
    )


def remove_states(folder: Path) -> None:
    """Remove what resuming needs; the run then counts as one that was never saved."""
    for name in (_OLDER, _NEWEST):
        (folder / name).unlink(missing_ok=True)


def _checked(path: Path, device: torch.device) -> dict[str, Any]:
    """The values of a file; torch itself does not look at its checksums."""
    import torch

    check_not_compressed(path)
    with zipfile.ZipFile(path) as archive:
        wrong = archive.testzip()
    if wrong is not None:
        raise ValueError(f"wrong checksum of {wrong}")
    values: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return values
