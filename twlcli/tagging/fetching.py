"""Images of stores, fetched ahead of the workers that decode them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from twlcli.images.decoding import USUAL, Caveat, Decoding
from twlcli.images.identity import identify
from twlcli.images.image_file import ImageFile, suffix_of
from twlcli.images.sandbox import Cut, Decoder
from twlcli.parallel import in_threads
from twlcli.stores import fetch
from twlcli.stores.faults import StoreError
from twlcli.stores.spool import AHEAD, THREADS, Spool
from twlcli.tagging.chunks import Item


class Fetching:
    """Fetches the images of one run into its spool, and removes each once it is decoded."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def fetched(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items in their order, those of stores with a copy to decode.

        Threads begin with the first image that has to be fetched. One that cannot be fetched comes
        with its failure and, since the network may be at fault, without its identity, so that no
        journal keeps that.

        Raises:
            TwlError: the store is gone, or the disk full.
        """
        for item in items:
            if _is_wanted(item):
                numbered = _numbered(chain([item], items))
                yield from in_threads(
                    self._fetched,
                    numbered,
                    threads=THREADS,
                    name="twl-fetch",
                    ahead=AHEAD,
                    end=self._spool.stop,
                )
                return
            yield item

    def _fetched(self, numbered: tuple[int | None, Item]) -> Item:
        number, item = numbered
        if number is None:
            return item
        file = item.file
        assert file.stored is not None, "as _is_wanted says"
        within = file.byte_range
        part = None if within is None else fetch.Part(within.offset, within.size)
        try:
            path, found = self._spool.fetch(number, file.stored, part, suffix_of(file.name))
        except StoreError as error:
            reason = error.message.replace("cannot be reached", "cannot be fetched", 1)
            failed = replace(file, failure=reason)
            return replace(item, file=failed, identity=None)
        now = item.identity and identify(replace(file, stored=found))
        return replace(item, identity=now, decoded=ImageFile(path, file.name))

    def releasing(self, decoder: Decoder) -> Decoder:
        """The decoder; a fetched image is removed when it is done with it."""
        return _Releasing(decoder, self._spool)


def _is_wanted(item: Item) -> bool:
    return item.stored is None and item.file.stored is not None and item.file.failure is None


def _numbered(items: Iterator[Item]) -> Iterator[tuple[int | None, Item]]:
    """The items, with numbers for those that have to be fetched."""
    number = 0
    for item in items:
        if _is_wanted(item):
            yield number, item
            number += 1
        else:
            yield None, item


@dataclass(frozen=True)
class _Releasing:
    decoder: Decoder
    spool: Spool

    def decode(
        self, file: ImageFile, cut: Cut, out: NDArray[np.uint8], *, decoding: Decoding = USUAL
    ) -> Caveat:
        try:
            return self.decoder.decode(file, cut, out, decoding=decoding)
        finally:
            self.spool.release(file.path)

    def close(self) -> None:
        self.decoder.close()
