"""Pillow's warnings about odd files, left out."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

_silence_lock = threading.Lock()
_silence_depth = 0
_silence_filter: Any = None


@contextmanager
def pillow_silenced() -> Iterator[None]:
    """Ignore the warnings that Pillow's modules give about odd files.

    `warnings.catch_warnings` restores what it saw on entry, so that threads which overlap would
    leave each other's filters behind. Here the first one in adds one filter to the list and the
    last one out removes that filter only.
    """
    global _silence_depth, _silence_filter
    with _silence_lock:
        if _silence_depth == 0:
            warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\.")
            _silence_filter = warnings.filters[0]
        _silence_depth += 1
    try:
        yield
    finally:
        with _silence_lock:
            _silence_depth -= 1
            if _silence_depth == 0 and _silence_filter in warnings.filters:
                cast(list[Any], warnings.filters).remove(_silence_filter)
