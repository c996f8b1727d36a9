"""What features are of: a network and the way in which images go in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from twlcli.io import parse_json
from twlcli.model.preprocessing import Preprocessing

_FORMAT = 1  # to be raised when features would be computed or kept differently


@dataclass(frozen=True)
class About:
    """What features are of.

    Attributes:
        backbone: the network's name.
        weights: SHA-256 of its parameters and buffers but for the head's, in hexadecimal.
        preprocessing: how images become its input.
        precision: of the network, such as `float32`.
        width: D, the features of an image.
        response: of code of the user's own, what it makes of some images, roughly: code may change
            and leave the weights as they are. Empty for other networks.
    """

    backbone: str
    weights: str
    preprocessing: Preprocessing
    precision: str
    width: int
    response: str = ""

    @property
    def key(self) -> str:
        """The name of its folder."""
        text = json.dumps([_FORMAT, self._fields()], sort_keys=True)
        name = self.backbone.replace(":", "-").replace("/", "-")
        return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def to_json(self) -> str:
        """As `from_json` reads it."""
        return json.dumps({"format": _FORMAT, **self._fields()}, indent=1) + "\n"

    def _fields(self) -> dict[str, Any]:
        return {**asdict(self), "preprocessing": self.preprocessing.fields()}

    @classmethod
    def from_json(cls, text: str) -> About:
        """Read what `to_json` gives.

        Raises:
            ValueError: it is something else.
        """
        try:
            values = dict(parse_json(text))
            if values.pop("format") != _FORMAT:
                raise ValueError("it is of another version of twl")
            form = dict(values.pop("preprocessing"))
            for name in ("mean", "std"):
                form[name] = tuple(form[name])
            about = cls(preprocessing=Preprocessing(**form), **values)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(str(error)) from error
        if not (type(about.width) is int and about.width > 0):
            raise ValueError(f"width is {about.width!a}")
        return about
