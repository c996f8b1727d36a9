"""Which images a model has seen: those that it was trained on, and those it was fitted to.

A model carries a sample of each set: of the hashes of all its images the smallest ones (a bottom-k
sketch; Broder, "On the resemblance and containment of documents", 1997). The share of them that
comes up among other images estimates the share of the whole set, exactly so for small sets.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations

SEEN_KEY = "seen"  # in a spec's provenance
_MOST_IMAGES = 1 << 40
_NONE = np.empty(0, dtype=np.uint64)
SAMPLE = 256  # hashes kept; the standard error of a share is at most 3 points


@dataclass(frozen=True)
class Seen:
    """How many of some images a model has seen; None where the model does not say.

    Attributes:
        training: that it was trained on.
        fitted: that chose its best epoch, calibration and thresholds.
    """

    training: int | None = None
    fitted: int | None = None


def sample_of(images: NDArray[np.uint64]) -> dict[str, Any]:
    """What a model carries of a set of images, given by their hashes."""
    smallest = np.unique(images)[:SAMPLE]
    text = base64.b64encode(smallest.astype(">u8").tobytes()).decode()
    return {"images": len(images), "sample": text}


def with_sample(sample: Mapping[str, Any], other: Any) -> dict[str, Any]:
    """The sample of two sets together, such as those that a model and its start were trained on.

    Args:
        sample: of one set.
        other: of the other, as a model carries it; None or a damaged one adds nothing.
    """
    found = _read(other)
    if found is None:
        return dict(sample)
    (count, hashes), (more, others) = _read(sample) or (0, _NONE), found
    both = np.union1d(hashes, others)[:SAMPLE]
    # Of the sets' union the share that the smallest hashes have in common is in common.
    common = float((np.isin(both, hashes) & np.isin(both, others)).mean()) if len(both) else 0.0
    images = max(count, more, round((count + more) / (1 + common)))
    text = base64.b64encode(both.astype(">u8").tobytes()).decode()
    return {"images": images, "sample": text}


def hashes_of(annotations: Annotations) -> NDArray[np.uint64]:
    """A hash (N,) of each image: of its file's name, without folders, and of its size in bytes."""
    hashes = np.empty(len(annotations), dtype=np.uint64)
    for row in range(len(annotations)):
        path = annotations.path(row)
        try:
            size = path.stat().st_size
        except (OSError, ValueError):
            size = -1
        name = path.name.encode("utf-8", "surrogateescape")
        digest = hashlib.blake2b(b"%d\0%s" % (size, name), digest_size=8).digest()
        hashes[row] = int.from_bytes(digest, "big")
    return hashes


def seen_among(provenance: Mapping[str, Any], images: NDArray[np.uint64]) -> Seen:
    """How many of some images, given by their hashes, a model has seen.

    Args:
        provenance: of the model's spec.
        images: hashes (N,).
    """
    samples = provenance.get(SEEN_KEY)
    if not isinstance(samples, Mapping):
        return Seen()
    return Seen(*(found_among(samples.get(each), images) for each in ("training", "fitted")))


def sizes_of(provenance: Mapping[str, Any]) -> Seen:
    """How many images a model has seen in all.

    Args:
        provenance: of the model's spec.
    """
    samples = provenance.get(SEEN_KEY)
    if not isinstance(samples, Mapping):
        return Seen()
    found = (_read(samples.get(each)) for each in ("training", "fitted"))
    return Seen(*(each and each[0] for each in found))


def found_among(sample: Any, images: NDArray[np.uint64]) -> int | None:
    """The number of images of a set that are among others; None where the sample is damaged."""
    found = _read(sample)
    if found is None or not len(found[1]):
        return None
    count, hashes = found
    return min(len(images), round(float(np.isin(hashes, images).mean()) * count))


def _read(sample: Any) -> tuple[int, NDArray[np.uint64]] | None:
    try:
        count = int(sample["images"])
        hashes = np.frombuffer(base64.b64decode(sample["sample"], validate=True), dtype=">u8")
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return (count, hashes.astype(np.uint64)) if 0 <= count <= _MOST_IMAGES else None
