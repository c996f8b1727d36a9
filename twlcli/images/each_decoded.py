"""Work on many images, each thread with a decoder process of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from queue import SimpleQueue
from typing import TypeVar

from twlcli.images.sandbox import Decoder, decoder_processes
from twlcli.parallel import in_threads

Item = TypeVar("Item")
Result = TypeVar("Result")


def each_decoded(
    work: Callable[[Decoder, Item], Result], items: Iterable[Item], *, workers: int, name: str
) -> Generator[Result, None, None]:
    """Do work on items, in order, with a decoder that no other thread uses meanwhile.

    Closing the generator, as an interrupt does, ends the processes and threads at once; what is
    being decoded ends as an ImageError then.

    Args:
        work: called in threads with a decoder and an item.
        items: drawn as threads come free.
        workers: how many processes and threads there are.
        name: how the names of the threads begin.

    Raises:
        Exception: what `work` raised.
    """
    idle: SimpleQueue[Decoder] = SimpleQueue()

    def with_decoder(item: Item) -> Result:
        decoder = idle.get()
        try:
            return work(decoder, item)
        finally:
            idle.put(decoder)

    with decoder_processes(workers) as decoders:
        for decoder in decoders:
            idle.put(decoder)

        def end() -> None:
            for decoder in decoders:
                decoder.close()

        yield from in_threads(with_decoder, items, threads=workers, name=name, end=end)
