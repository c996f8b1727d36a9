"""A page to look through tagged images in a browser, without a server or a network.

The page shows the images themselves, by relative links; it holds their names and tags as compact
JSON and has the images of one page in its document, so that it opens with 100,000 of them. What
somebody says of tags is kept by `pages/marks.js`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from markupsafe import Markup

from twlcli.images.image_file import ImageFile
from twlcli.io import open_partial
from twlcli.labels import Vocabulary
from twlcli.pages.addresses import folder_address, quoted
from twlcli.pages.templates import digest, part, render_page, style_of
from twlcli.tagging.outputs.gallery.thumbnails import Thumbnails
from twlcli.tagging.outputs.output import RunFacts, Sink
from twlcli.tagging.tags import Row, Tags

_FOLDER = "tagging/outputs/gallery"
_ROWS = "<!-- rows -->"  # their place in the template; text has no `<` in it
SCALE = 10_000  # probabilities are whole numbers of this; gallery.js has the same


@dataclass(frozen=True)
class Gallery:
    """The page.

    Who looks at it can say which tags are right, wrong or missing; the page saves that as a table
    for `--corrections`.

    Attributes:
        file: the HTML file; its links to the images are relative to its folder. Images that
            browsers do not show, such as TIFF, HEIC and those in archives, have small pictures in
            the folder `NAME-thumbnails` beside it.
        title: shown above the images.
    """

    file: Path
    title: str = "images"

    needs_files = True

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """As an `Output` does."""
        with open_partial(self.file) as file:
            sink = _GallerySink(file, self.file.absolute(), run.vocabulary)
            file.write(self._page("")[0].encode(errors="replace"))
            yield sink
            sink.finish()
            file.write(self._page(sink.words())[1].encode(errors="replace"))

    def _page(self, words: str) -> tuple[str, str]:
        """The page before and after its rows, which are written as they come."""
        style = style_of(f"{_FOLDER}/gallery.css", "pages/marks.css")
        script = part("pages/marks.js") + part(f"{_FOLDER}/gallery.js")
        # Nothing but this style and script, and images from the same place; no network at all.
        policy = f"img-src 'self' file:; style-src {digest(style)}; script-src {digest(script)}"
        page = render_page(
            f"{_FOLDER}/page.html",
            title=self.title,
            style=style,
            policy=policy,
            words=Markup(words),  # noqa: S704  JSON whose < are written as escapes
            script=Markup(script),  # noqa: S704  twl's own
        )
        before, _, after = page.partition(_ROWS)
        return before, after


class _GallerySink:
    """Writes one line of JSON for each image: `["beach/caf%E9.jpg", [0, 9300, 4, 7100], 0],`.

    They are the image's name with its bytes percent-encoded, which leaves nothing that HTML or JSON
    would read otherwise; numbers of labels and probabilities in turn; and where the image lies: the
    number of the address before its name, a whole address, or null where it has no file. Where
    browsers do not show it, the name of its thumbnail follows.
    """

    def __init__(self, file: BinaryIO, page: Path, vocabulary: Vocabulary) -> None:
        self._file = file
        self._vocabulary = vocabulary
        self._folder = page.parent
        self._thumbnails = Thumbnails(page)
        self._labels: dict[str, int] = {}
        self._folders: dict[str, int] = {}
        self._last = ("", "")  # a folder and its address

    def write(self, file: ImageFile, row: Row) -> None:
        """Take the tags of one image."""
        if not isinstance(row, Tags):
            return
        given: list[int] = []
        for label, probability in zip(row.labels, row.probabilities, strict=True):
            number = self._labels.setdefault(label, len(self._labels))
            given += (number, round(probability * SCALE))
        fields = [quoted(row.image), given, self._place(file, row.image)]
        if thumbnail := self._thumbnails.name_of(file):
            fields.append(thumbnail)
        self._file.write(json.dumps(fields, separators=(",", ":")).encode() + b",\n")

    def _place(self, file: ImageFile, name: str) -> int | str | None:
        if file.byte_range is not None:
            return None
        folder, base = os.path.split(file.path)
        if folder != self._last[0]:  # the files come folder by folder
            self._last = (folder, folder_address(Path(folder), self._folder))
        address, end = self._last[1] + quoted(base), quoted(name)
        if not address.endswith(end):
            return address
        before = address.removesuffix(end)
        return self._folders.setdefault(before, len(self._folders))

    def finish(self) -> None:
        """Make the thumbnails that are missing."""
        self._thumbnails.finish()

    def words(self) -> str:
        """Labels and folders that the rows name by their numbers, safe inside of a script.

        `others` are the labels that no image was given, for those who miss one.
        """
        words: dict[str, Any] = {
            "labels": list(self._labels),
            "others": [label for label in self._vocabulary if label not in self._labels],
            "folders": list(self._folders),
        }
        if self._thumbnails.wanted:
            words["thumbnails"] = f"{quoted(self._thumbnails.folder.name)}/"
        return json.dumps(words).replace("<", "\\u003c")
