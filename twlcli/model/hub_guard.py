"""What a Hugging Face hub may say when something is downloaded from it.

huggingface_hub builds names of files from what the hub answers, and writes for as long as it sends.
Anybody may run a hub, and `HF_ENDPOINT` names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from inspect import signature
from typing import Any
from unittest.mock import patch

from twlcli.errors import ModelError

_PLAIN = re.compile(r"\w[\w.+=-]{0,127}", re.ASCII)  # digests; nothing that leads elsewhere


@contextmanager
def guarded_hub(most: int) -> Iterator[None]:
    """`checked_answers`, for what timm downloads inside the block.

    Raises:
        ModelError: the hub names a version that no file can be named after, or sends more.
    """
    download, hub = (
        import_module("huggingface_hub.file_download"),
        import_module("timm.models._hub"),
    )
    with ExitStack() as stack:
        stack.enter_context(checked_answers(most))
        if "tqdm_class" in signature(download.hf_hub_download).parameters:  # not in old ones
            bounded = partial(hub.hf_hub_download, tqdm_class=bounded_bar(most))
            stack.enter_context(patch.object(hub, "hf_hub_download", bounded))
        yield


@contextmanager
def checked_answers(most: int) -> Iterator[None]:
    """Refuse odd answers of the hub, and files that it says have more bytes, inside the block.

    Raises:
        ModelError: the hub names a version that no file can be named after, or a larger file.
    """
    download = import_module("huggingface_hub.file_download")
    metadata = _checked(download.get_hf_file_metadata, most)
    with patch.object(download, "get_hf_file_metadata", metadata):
        yield


def _checked(metadata_of: Callable[..., Any], most: int) -> Callable[..., Any]:
    def checked(*args: Any, **options: Any) -> Any:
        try:
            metadata = metadata_of(*args, **options)
        except Exception as error:  # also what is not there is noted under the version's name
            headers = getattr(getattr(error, "response", None), "headers", {})
            _check_plain(headers.get("X-Repo-Commit"))
            raise
        _check_plain(metadata.etag, metadata.commit_hash)
        _check_size(metadata.size or 0, most)
        return metadata

    return checked


def _check_plain(*names: str | None) -> None:
    for name in names:
        if name is not None and not _PLAIN.fullmatch(name):
            raise ModelError(f"the hub names a version {name[:80]!a}, expected a digest")


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise ModelError(f"the hub sends more than {most >> 20:,} MiB")


def bounded_bar(most: int) -> type:
    """A progress bar for huggingface_hub that ends a download of more bytes by a ModelError."""
    tqdm: Any = import_module("huggingface_hub.utils").tqdm

    class Bounded(tqdm):  # type: ignore[misc]
        """A progress bar that is told of each piece before it is written."""

        came = 0

        def update(self, n: float | None = 1) -> bool | None:
            self.came += int(n or 0)
            _check_size(self.came, most)
            return super().update(n)  # type: ignore[no-any-return]

    return Bounded
