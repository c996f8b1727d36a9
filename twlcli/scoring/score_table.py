"""Logits of many images as a Parquet file: written in row groups, read in another process."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from twlcli import __version__
from twlcli.confined import ConfinedError, confined
from twlcli.errors import ModelError, TwlError, needs_extra, reason_of
from twlcli.io import check_regular, parse_json
from twlcli.model.decisions import calibration_of
from twlcli.model.spec import SPEC_KEY, ModelSpec
from twlcli.versions import FileFormat, unknown_keys

SUFFIX = ".parquet"
SCORES_KEY = "twl.scores"  # in the file's metadata, beside the spec
SCORES_FORMAT = FileFormat("scores", 1)
_KEYS = dict.fromkeys(("twl", "model", "spec"))
_MAGIC = b"PAR1"  # at the end of the file, after the length of its metadata
_MOST_METADATA = 1 << 30
_COLUMNS = ["image", "image_bytes", "logits"]

# A row group is what is held in memory; whichever bound is reached first ends it.
GROUP_ROWS = 8_192
GROUP_ENTRIES = 1 << 20
_ROWS_AT_ONCE = 4_096  # read, with the same bound on entries
_MOST_IMAGES = 100_000_000
_LONGEST_NAME = 1 << 15  # characters; no system has longer paths


def is_score_table(path: Path) -> bool:
    """Whether the name of a file is that of scores, as no model's is."""
    return path.suffix.lower() == SUFFIX


def has_scores(path: Path) -> bool:
    """Whether a file of Parquet holds scores, by the metadata at its end."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 8))
            length = int.from_bytes(file.read(4), "little")
            if file.read() != _MAGIC or length > min(size - 8, _MOST_METADATA):
                return False
            file.seek(size - 8 - length)
            metadata = file.read(length)
    except OSError:
        return False
    return SCORES_KEY.encode() in metadata and SPEC_KEY.encode() in metadata


# --- written --------------------------------------------------------------------------------------


@contextmanager
def score_groups(file: BinaryIO, spec: ModelSpec, model: str) -> Iterator[ScoreGroups]:
    """Takes rows; Parquet's index is written when the block ends well.

    The columns are `image`, a string, null where the name is not UTF-8; `image_bytes`, the name's
    own bytes there; and `logits`, C float32. The file's metadata hold the spec under `twl.spec`,
    and under `twl.scores` the version of all this, that of twl, and the digests of model and spec.

    Args:
        file: open for writing.
        spec: the model's.
        model: the digest of the model's file.
    """
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema(
        [
            pyarrow.field("image", pyarrow.string()),
            pyarrow.field("image_bytes", pyarrow.binary()),
            pyarrow.field(
                "logits",
                pyarrow.list_(pyarrow.field("element", pyarrow.float32()), len(spec.vocabulary)),
                nullable=False,
            ),
        ]
    )
    text = spec.to_json()
    about = {
        "version": SCORES_FORMAT.version,
        "twl": __version__,
        "model": model,
        "spec": _digest(text),
    }
    # No two logits are the same, and sorted by the place of their bytes they are a sixth smaller.
    with parquet.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=False,
        column_encoding={"logits.list.element": "BYTE_STREAM_SPLIT"},
    ) as table:
        table.add_key_value_metadata({SCORES_KEY: json.dumps(about), SPEC_KEY: text})
        groups = ScoreGroups(table, schema)
        yield groups
        groups.flush()


class ScoreGroups:
    """Gathers rows and writes them as row groups, so that memory does not grow with the table."""

    def __init__(self, table: Any, schema: Any) -> None:
        self._table = table
        self._schema = schema
        self._names: list[str | None] = []
        self._bytes: list[bytes | None] = []
        self._logits: list[NDArray[np.float32]] = []
        label_count = schema.field("logits").type.list_size
        self._most = max(1, min(GROUP_ROWS, GROUP_ENTRIES // label_count))

    def add(self, image: str, logits: NDArray[np.float32]) -> None:
        """Take the logits (C,) of one image."""
        try:
            image.encode()
        except UnicodeEncodeError:
            self._names.append(None)
            self._bytes.append(os.fsencode(image))
        else:
            self._names.append(image)
            self._bytes.append(None)
        self._logits.append(logits)
        if len(self._logits) >= self._most:
            self.flush()

    def flush(self) -> None:
        """Write the rows gathered so far."""
        import pyarrow

        if not self._logits:
            return
        kind = self._schema.field("logits").type
        flat = pyarrow.array(np.concatenate(self._logits))
        columns = [
            pyarrow.array(self._names, pyarrow.string()),
            pyarrow.array(self._bytes, pyarrow.binary()),
            pyarrow.FixedSizeListArray.from_arrays(flat, type=kind),
        ]
        batch = pyarrow.RecordBatch.from_arrays(columns, schema=self._schema)
        self._table.write_batch(batch, row_group_size=len(self._logits))
        self._names, self._bytes, self._logits = [], [], []


# --- read -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredScores:
    """What a file of scores holds.

    Attributes:
        spec: of the model that gave them.
        model: the digest of its file.
        images: how many there are.
        batches: names (n) and finite logits (n, C), in the order of the file; to be drawn once.
    """

    spec: ModelSpec
    model: str
    images: int
    batches: Iterator[tuple[Sequence[str], NDArray[np.float32]]]


@contextmanager
def open_scores(path: Path) -> Iterator[StoredScores]:
    """The scores in a file, which may be anybody's: another process reads it, within limits.

    Raises:
        TwlError: it cannot be read, is no file of scores, is damaged or one of a newer twl; also
            while the batches are drawn.
        ModelError: the spec in it is damaged, or has no calibration.
        MissingExtraError: pyarrow is not installed.
    """
    with needs_extra("reading Parquet", "parquet"):
        import pyarrow  # noqa: F401
    # The other process may have begun in another folder.
    items = confined(_contents, path.absolute(), path)
    with closing(items), _confinement_told(path):
        text, model, images = next(items)
        spec = _spec_of(text, path)
        yield StoredScores(spec, model, images, _batches(path, items, len(spec.vocabulary)))


@contextmanager
def _confinement_told(path: Path) -> Iterator[None]:
    try:
        yield
    except ConfinedError as error:
        raise TwlError(f"{path}: {error}; is it a file of scores?") from None


def _batches(
    path: Path, items: Iterator[Any], label_count: int
) -> Iterator[tuple[Sequence[str], NDArray[np.float32]]]:
    with _confinement_told(path):
        for names, text in items:
            logits = np.frombuffer(base64.b64decode(text), dtype="<f4")
            yield names, logits.reshape(len(names), label_count)


def _spec_of(text: str, path: Path) -> ModelSpec:
    spec = ModelSpec.from_json(text, source=path)
    try:
        calibration_of(spec)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    return spec


def _digest(spec: str) -> str:
    return hashlib.sha256(spec.encode()).hexdigest()


# --- read, in the other process -------------------------------------------------------------------


def _contents(file_path: Path, path: Path) -> Iterator[Any]:
    """Spec, digest of the model and number of images; then names and logits of some at a time.

    Errors name `path`.
    """
    from pyarrow import parquet

    with _damage_told(path):
        check_regular(file_path)
        with parquet.ParquetFile(file_path) as file:
            text, model = _header(file.metadata.metadata or {}, path)
            label_count = len(_spec_of(text, path).vocabulary)
            _check_columns(file.schema_arrow, label_count)
            if file.metadata.num_rows > _MOST_IMAGES:
                raise ValueError(f"has more than {_MOST_IMAGES:,} images")
            yield text, model, file.metadata.num_rows
            size = max(1, min(_ROWS_AT_ONCE, GROUP_ENTRIES // label_count))
            row = 1
            for batch in _record_batches(file, size):
                names = _names(batch)
                logits = batch.column("logits").flatten().to_numpy(zero_copy_only=False)
                logits = logits.reshape(len(names), label_count)
                finite = np.isfinite(logits).all(axis=1)
                if not finite.all():
                    bad = int(np.argmin(finite))
                    raise ValueError(f"row {row + bad:,}: a logit of {names[bad]!a} is not finite")
                row += len(names)
                yield names, base64.b64encode(logits.astype("<f4").tobytes()).decode()


def _record_batches(file: Any, size: int) -> Iterator[Any]:
    """The rows, at most `size` at a time; read at once, the row groups would all stay in memory."""
    for group in range(file.num_row_groups):
        yield from file.iter_batches(batch_size=size, row_groups=[group], use_threads=False)


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (TwlError, MemoryError):
        raise
    except FileNotFoundError:
        raise TwlError(f"{path}: no such file") from None
    except Exception as error:  # on damaged files pyarrow raises nearly anything
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        first = (reason.strip().splitlines() or [type(error).__name__])[0]
        raise TwlError(f"{path}: cannot be read as scores ({first})") from error


def _header(metadata: dict[bytes, bytes], path: Path) -> tuple[str, str]:
    """The spec as text, and the digest of the model."""
    about, spec = (metadata.get(key.encode()) for key in (SCORES_KEY, SPEC_KEY))
    if about is None or spec is None:
        raise TwlError(f"{path}: is not a file of scores that tagging has written")
    version, fields = SCORES_FORMAT.opened(parse_json(about, unique_keys=True))
    unknown = unknown_keys(fields, _KEYS)
    if newer := unknown and SCORES_FORMAT.newer(version, unknown):
        raise TwlError(f"{path}: {newer}")
    if unknown:
        raise ValueError(f"unknown keys in '{SCORES_KEY}': {', '.join(unknown)}")
    if fields.get("spec") != _digest(spec.decode()):
        raise ValueError("the model's labels and calibration in it were changed")
    model = fields.get("model")
    if type(model) is not str:
        raise ValueError("the digest of its model is missing")
    return spec.decode(), model


def _check_columns(schema: Any, label_count: int) -> None:
    """Raise ValueError where the columns are not those that `score_groups` writes."""
    import pyarrow

    if schema.names != _COLUMNS:
        raise ValueError(f"expected the columns {', '.join(_COLUMNS)}")
    kind = schema.field("logits").type
    if not pyarrow.types.is_fixed_size_list(kind) or kind.value_type != pyarrow.float32():
        raise ValueError(f"logits are {kind}, expected lists of float32")
    if kind.list_size != label_count:
        raise ValueError(f"{kind.list_size:,} logits an image, expected {label_count:,}")


def _names(batch: Any) -> list[str]:
    images = batch.column("image")
    names: list[str] = images.to_pylist()
    if images.null_count:
        raw = batch.column("image_bytes").to_pylist()
        names = [
            os.fsdecode(own) if name is None else name for name, own in zip(names, raw, strict=True)
        ]
    if max(map(len, names), default=0) > _LONGEST_NAME:
        raise ValueError(f"an image's name has more than {_LONGEST_NAME:,} characters")
    return names
