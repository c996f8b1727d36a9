"""Tags as a Parquet table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from twlcli.errors import needs_extra
from twlcli.images.image_file import ImageFile
from twlcli.io import open_partial
from twlcli.tagging.outputs.output import RunFacts, Sink
from twlcli.tagging.tags import Row, Tags

# A row group is what is held in memory; whichever bound is reached first ends it.
GROUP_ROWS = 8_192
GROUP_LABELS = 1 << 20


@dataclass(frozen=True)
class Parquet:
    """A Parquet table with the columns

        image          string; null where the name is not UTF-8
        image_bytes    binary; the name's own bytes where it is not UTF-8, otherwise null
        labels         list<string>, the most probable first
        probabilities  list<float32>, beside the labels, not rounded

    Parquet's strings must be UTF-8, and a column of bytes would be unreadable for everybody whose
    names all are.
    """

    file: Path

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """As an `Output` does."""
        with needs_extra("writing Parquet", "parquet"):
            import pyarrow.parquet  # noqa: F401  before the file is begun
        with open_partial(self.file) as file, parquet_rows(file) as groups:
            yield _ParquetSink(groups)


@contextmanager
def parquet_rows(file: BinaryIO) -> Iterator[Groups]:
    """Takes rows; Parquet's index is written when the block ends well."""
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema(
        [
            pyarrow.field("image", pyarrow.string()),
            pyarrow.field("image_bytes", pyarrow.binary()),
            pyarrow.field("labels", pyarrow.list_(pyarrow.string()), nullable=False),
            pyarrow.field("probabilities", pyarrow.list_(pyarrow.float32()), nullable=False),
        ]
    )
    with parquet.ParquetWriter(file, schema, compression="zstd") as table:
        groups = Groups(table, schema)
        yield groups
        groups.flush()


class Groups:
    """Gathers rows and writes them as row groups, so that memory does not grow with the table."""

    def __init__(self, table: Any, schema: Any) -> None:
        self._table = table
        self._schema = schema
        self._rows: list[dict[str, object]] = []
        self._labels = 0

    def add(self, tags: Tags) -> None:
        """Take one row."""
        try:
            tags.image.encode()
        except UnicodeEncodeError:
            name: dict[str, object] = {"image_bytes": os.fsencode(tags.image)}
        else:
            name = {"image": tags.image}
        self._rows.append({**name, "labels": tags.labels, "probabilities": tags.probabilities})
        self._labels += len(tags.labels)
        if len(self._rows) >= GROUP_ROWS or self._labels >= GROUP_LABELS:
            self.flush()

    def flush(self) -> None:
        """Write the rows gathered so far."""
        import pyarrow

        if self._rows:
            batch = pyarrow.RecordBatch.from_pylist(self._rows, schema=self._schema)
            self._table.write_batch(batch, row_group_size=len(self._rows))
            self._rows, self._labels = [], 0


class _ParquetSink:
    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    def write(self, file: ImageFile, row: Row) -> None:
        """Take one row."""
        if isinstance(row, Tags):
            self._groups.add(row)
