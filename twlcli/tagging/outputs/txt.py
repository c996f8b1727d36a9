"""Tags in text files beside the images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from twlcli.annotations.builder import normal_label
from twlcli.errors import ImageError, TwlError
from twlcli.images.image_file import ImageFile
from twlcli.tagging.outputs.output import RunFacts, Sink
from twlcli.tagging.outputs.sidecar import (
    SidecarSink,
    Wrote,
    check_names,
    check_place,
    read_existing,
    replace_file,
    sidecar_path,
)
from twlcli.tagging.tags import Tags

EXISTING = ("append", "keep", "replace")
APPENDED = "txt-append"  # the kind of text files whose beginning is somebody else's
WHOLE = "txt"

# In a memo: whether the text file was there before twl, or twl began it; what twl added follows.
_TO_A_FILE, _NEW = "+", "="


@dataclass(frozen=True)
class TxtSidecars:
    """Tags in `a.txt` beside `a.jpg`, as captioning tools read them: `dog, person`.

    An image without tags gets an empty file. `read_sidecars` reads the tags back. A text file that
    says something else is not twl's, as nothing in it tells who wrote it: it is left as it is, and
    a failure of that image, unless `existing` says what to do.

    Attributes:
        names: `stem` for `a.txt`, `full` for `a.jpg.txt`.
        existing: what to do with a text file that somebody else wrote: `append` the tags that it
            does not have, `keep` it as it is, or `replace` it, as a run that may replace files.
    """

    names: str = "stem"
    existing: str | None = None
    file: None = None

    needs_files = True

    def __post_init__(self) -> None:
        check_names(self.names)
        if self.existing is not None and self.existing not in EXISTING:
            expected = f"{', '.join(EXISTING[:-1])} or {EXISTING[-1]}"
            raise TwlError(f"existing text files '{self.existing}': expected {expected}")

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """As an `Output` does."""
        existing = "replace" if run.force and self.existing is None else self.existing
        yield SidecarSink(TxtWriter(names=self.names, existing=existing), run)


class TxtWriter:
    """Writes single text files; see `TxtSidecars`."""

    settings = ""
    merges = False
    insists = False

    def __init__(self, *, names: str = "stem", existing: str | None = None) -> None:
        """Choose how the files are called, and what becomes of those that exist."""
        self.kind = f"{APPENDED if existing == 'append' else WHOLE}:{names}"
        self._names: str = names
        self._existing = existing

    def path(self, file: ImageFile) -> Path:
        """Where the tags of an image are written."""
        return sidecar_path(file, ".txt", self._names)

    def write(self, file: ImageFile, tags: Tags, *, ours: bool = False, memo: str = "") -> Wrote:
        """Write one image's tags.

        Args:
            file: the image.
            tags: its tags.
            ours: the text file that exists is known to be twl's.
            memo: of the last time that tags were appended.

        Raises:
            ImageError: the file exists and says something else, cannot be written, or a label
                cannot stand in it.
            TwlError: the disk is full.
        """
        for label in tags.labels:
            _check_label(label)
        path = self.path(file)
        check_place(file, path, self._names)
        existing = read_existing(path)
        if self._existing == "append":
            return _append(file, path, existing, tags.labels, memo)
        content = (", ".join(tags.labels) + "\n").encode() if tags.labels else b""
        if existing == content:
            return Wrote(changed=False, ours=ours)
        if existing is not None and not ours and self._existing != "replace":
            if self._existing == "keep":
                return Wrote(changed=False, ours=False)
            raise ImageError("its .txt exists already with other content; force replaces it")
        replace_file(path, content, file.folders)
        return Wrote(changed=True)


def _append(
    file: ImageFile, path: Path, existing: bytes | None, labels: Sequence[str], memo: str
) -> Wrote:
    """Add the tags that are missing in a text, in place of those of the last time."""
    origin = _NEW if existing is None or was_new(memo) else _TO_A_FILE
    text = without_appended(existing, memo)
    if text is None:
        text = _decoded(existing or b"")
    body = text.rstrip("\r\n")
    there = {normal_label(tag).casefold() for tag in re.split(r"[,\r\n]", body)}
    missing = [label for label in labels if normal_label(label).casefold() not in there]
    separator = "\n" if "\n" in body and "," not in body else ", "
    added = separator.join([""] * bool(body and missing) + missing)
    end = text[len(body) :] or ("\n" if existing is None and added else "")
    content = (body + added + end).encode()
    if content == existing:
        return Wrote(changed=False, memo=origin + added)
    replace_file(path, content, file.folders)
    return Wrote(changed=True, memo=origin + added)


def without_appended(existing: bytes | None, memo: str) -> str | None:
    r"""A text without what was appended to it; None if that is not at its end any more.

    >>> without_appended(b"by hand, dog\n", "+, dog"), without_appended(b"by hand\n", "+, dog")
    ('by hand\n', None)
    """
    text = _decoded(existing or b"")
    added, body = memo[1:], text.rstrip("\r\n")
    if not body.endswith(added):
        return None
    return body.removesuffix(added) + text[len(body) :]


def was_new(memo: str) -> bool:
    """Whether twl began the text file to which it appended."""
    return memo.startswith(_NEW)


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ImageError("its .txt is left alone: not UTF-8 text") from error


def _check_label(label: str) -> None:
    """Raise ImageError where a text file would not give the label back."""
    read = [normal_label(tag) for line in label.splitlines() for tag in line.split(",")]
    if read != [normal_label(label)] or not read[0] or _has_surrogate(label):
        raise ImageError(
            f"label {label!a} cannot be written to a .txt, where commas and lines separate tags; "
            "give it another name with an alias in the tag rules"
        )


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
