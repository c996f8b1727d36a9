"""What tells whether a sidecar or a whole run is still the same as before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twlcli.images.decoding import USUAL, Decoding
from twlcli.images.identity import Identity, identify
from twlcli.images.image_file import ImageFile
from twlcli.model.decisions import threshold_file
from twlcli.parallel import in_threads, usable_cores

ROWS = 2  # to be raised when another twl would decode or decide the same image differently


@dataclass(frozen=True, slots=True)
class Written:
    """What twl last wrote beside an image.

    Attributes:
        name: the image's.
        kind: of sidecar.
        content: a digest of what the sidecar was made from.
        status: size and time of the last change of the sidecar then; None where there was no need
            for one.
    """

    name: str
    kind: str
    content: bytes
    status: tuple[int, int] | None


def identities(files: Sequence[ImageFile], *, content: bool) -> list[Identity | None]:
    """What tells each of the files apart; with `content` they are read, in several threads."""
    if not content:
        return [identify(file) for file in files]
    identity = partial(identify, content=True)
    return list(in_threads(identity, files, threads=usable_cores(), name="twl-hashes"))


def model_digest(files: Sequence[Path]) -> str:
    """SHA-256 of a model's file, in hexadecimal; of several, that of all of theirs."""
    digests = []
    for each in files:
        with each.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


@dataclass(frozen=True)
class Decision:
    """All that decides the tags of an image, apart from the image: what makes two runs the same.

    Execution provider, batch size and workers are left out: they move a probability in its last
    digits only, and a run may go on with others.

    Attributes:
        model: its `model_digest`; labels, preprocessing and calibration are inside.
        threshold: what was asked for, as text; None where all labels are given.
        thresholds: (C,), what that came to; None where all labels are given.
        top_k: at most this many labels.
        decoding: the settings that change pixels.
        rules: digest of the tag rules; None without.
    """

    model: str
    threshold: str | None
    thresholds: NDArray[np.float32] | None
    top_k: int | None = None
    decoding: Decoding = USUAL
    rules: str | None = None

    @property
    def scores_key(self) -> bytes:
        """A digest of what decides the scores: all but what is made of them afterwards."""
        text = json.dumps([ROWS, self.model, *astuple(self.decoding)])
        return hashlib.sha256(text.encode()).digest()

    @property
    def logits_key(self) -> bytes:
        """As `scores_key`, for the rows of runs that write scores: they hold the logits."""
        return hashlib.sha256(b"logits" + self.scores_key).digest()

    @property
    def key(self) -> bytes:
        """A digest by which a journal knows its outputs; other tag rules write them anew."""
        given = "all" if self.thresholds is None else self.thresholds.tobytes().hex()
        text = json.dumps([ROWS, self.model, given, self.top_k, *astuple(self.decoding)])
        return hashlib.sha256(text.encode()).digest()

    @property
    def conditions(self) -> dict[str, str | int | bool | None]:
        """What has to be the same in all shards of a run, in the words of their records."""
        return {
            "model": self.model,
            "threshold": self._threshold_in_words(),
            "top_k": self.top_k,
            **asdict(self.decoding),
            "policy": self.rules,
        }

    def _threshold_in_words(self) -> str | None:
        """What was asked for; of a file, whose name may differ between machines, a digest."""
        if self.threshold is None or self.thresholds is None or not threshold_file(self.threshold):
            return self.threshold
        return f"file {hashlib.sha256(self.thresholds.tobytes()).hexdigest()[:16]}"
