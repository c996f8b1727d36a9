"""Outputs that are opened and given rows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from twlcli.images.image_file import ImageFile
from twlcli.labels import Vocabulary
from twlcli.tagging.outputs.output import Output, RunFacts, Sink
from twlcli.tagging.outputs.tables import TABLES, streamed_table
from twlcli.tagging.tags import Row

ANY = Vocabulary(())


def give(sink: Sink, row: Row) -> None:
    sink.write(ImageFile(Path(row.image.replace("\0", "?")).absolute(), row.image), row)


@contextmanager
def opened(output: Output, vocabulary: Vocabulary = ANY) -> Iterator[Callable[[Row], None]]:
    with output.open(RunFacts(vocabulary, lambda: "digest")) as sink:
        yield lambda row: give(sink, row)


def opened_table(path: Path, format_name: str, vocabulary: Vocabulary = ANY):
    return opened(TABLES[format_name](path), vocabulary)


def opened_stream(stream: BinaryIO, format_name: str, vocabulary: Vocabulary = ANY):
    return opened(streamed_table(stream, format_name), vocabulary)
