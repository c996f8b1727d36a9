"""The page of `twl review`: pictures with their labels, to be set right."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from twlcli.images.decoding import Decoding
from twlcli.images.each_decoded import each_decoded
from twlcli.images.image_file import ImageFile
from twlcli.images.sandbox import Decoder
from twlcli.images.whole import Whole
from twlcli.inference.whole_pictures import whole_picture
from twlcli.labels import Vocabulary
from twlcli.pages.addresses import folder_address, quoted
from twlcli.pages.shown_names import shown
from twlcli.pages.templates import as_json, digest, part, render_page, style_of
from twlcli.parallel import usable_cores
from twlcli.tagging.outputs.review.candidates import Chosen

_FOLDER = "tagging/outputs/review"
_MOST_PICTURES = 14 << 20  # bytes
# With this many images, pictures are so large; about 25 kB each, then 12.
_SIDES = ((300, 400), (2000, 288))


@dataclass(frozen=True)
class Said:
    """What a model says of one label of an image.

    Attributes:
        column: the label.
        probability: of it.
        is_given: whether it reaches the threshold.
    """

    column: int
    probability: float
    is_given: bool


@dataclass(frozen=True)
class Reviewed:
    """An image in the page.

    Attributes:
        name: as a table of corrections calls it.
        file: where it lies.
        labels: the most probable first.
    """

    name: str
    file: ImageFile
    labels: tuple[Said, ...]


def page_of(
    images: Sequence[tuple[Reviewed, Chosen]],
    vocabulary: Vocabulary,
    *,
    title: str,
    of: int,
    folder: Path,
    decoding: Decoding,
    workers: int | None,
) -> str:
    """The page as text.

    Args:
        images: those to show, and what each was chosen for.
        vocabulary: the model's.
        title: of the page.
        of: from how many images they were chosen.
        folder: where the page lies; links are relative to it.
        decoding: the settings that change the pixels of pictures.
        workers: processes that decode; None is one for each core.

    Raises:
        DeviceError: the processes that decode do not start.
    """
    pictures = _pictures([image for image, _ in images], decoding=decoding, workers=workers)
    rows = [
        _fields(image, chosen, picture, folder)
        for (image, chosen), picture in zip(images, pictures, strict=True)
    ]
    labels = [name if shown(name) == name else [shown(name), name] for name in vocabulary]
    style = style_of(
        "pages/report.css", "pages/scores.css", "pages/marks.css", f"{_FOLDER}/review.css"
    )
    script = part("pages/marks.js") + part(f"{_FOLDER}/review.js")
    return render_page(
        f"{_FOLDER}/page.html",
        title=f"Review of {shown(title)}",
        style=style,
        policy=f"img-src data:; style-src {digest(style)}; script-src {digest(script)}",
        count=len(rows),
        of=of,
        page_id=_digest([image.name for image, _ in images]),
        images=Markup(as_json(rows)),  # noqa: S704  JSON in which every `<` is an escape
        labels=Markup(as_json(labels)),  # noqa: S704
        script=Markup(script),  # noqa: S704  twl's own
    )


def _digest(names: Sequence[str]) -> str:
    """Tells pages of other images apart."""
    return hashlib.sha256(json.dumps(sorted(names)).encode()).hexdigest()[:12]


def _fields(image: Reviewed, chosen: Chosen, picture: str, folder: Path) -> list[Any]:
    """What the script knows of an image: see `review.js`."""
    path = Path(image.file.path)
    address = folder_address(path.parent, folder) + quoted(path.name)
    said = [[each.column, round(each.probability, 4), int(each.is_given)] for each in image.labels]
    name = shown(image.name)
    whole = None if name == image.name else image.name
    return [name, address, picture, [chosen.column, int(chosen.is_doubtful)], said, whole]


def _pictures(images: Sequence[Reviewed], *, decoding: Decoding, workers: int | None) -> list[str]:
    """Addresses that hold the pictures themselves; empty for those that cannot be shown."""
    side = next(side for most, side in _SIDES if len(images) <= most)
    work = partial(_picture, whole=Whole(side), decoding=decoding)
    found: list[str] = []
    left = _MOST_PICTURES
    count = workers or usable_cores()
    with closing(each_decoded(work, images, workers=count, name="twl-pictures")) as addresses:
        for address in addresses:
            left -= len(address)
            if left < 0:
                break
            found.append(address)
    return found + [""] * (len(images) - len(found))


def _picture(decoder: Decoder, image: Reviewed, *, whole: Whole, decoding: Decoding) -> str:
    content = whole_picture(decoder, image.file, whole=whole, decoding=decoding)
    return "" if content is None else f"data:image/jpeg;base64,{b64encode(content).decode()}"
