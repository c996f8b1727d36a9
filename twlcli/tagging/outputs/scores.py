"""What the model says of every image, as a Parquet table from which tags can be made later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twlcli.errors import TwlError, needs_extra
from twlcli.images.image_file import ImageFile
from twlcli.io import open_partial
from twlcli.tagging.outputs.output import RunFacts, Sink
from twlcli.tagging.tags import Row, Tags

if TYPE_CHECKING:
    from twlcli.scoring.score_table import ScoreGroups


@dataclass(frozen=True)
class ScoreTable:
    """The logits of all labels for every image, and the model's spec.

    `twlcli.retag` makes tags of it at other thresholds, without the model and without the images,
    and `twlcli.evaluate` scores it. A Parquet table with the columns

        image          string; null where the name is not UTF-8
        image_bytes    binary; the name's own bytes where it is not UTF-8, otherwise null
        logits         fixed-size list<float32>, in the order of the model's labels

    Images that failed are not in it. The metadata have two keys, both JSON: `twl.spec`, what the
    model carries besides its weights, such as labels, calibration and thresholds; and `twl.scores`,
    the version of twl and the digests (SHA-256) of the model file and of the spec.

    Attributes:
        file: its name ends in `.parquet`.
    """

    file: Path

    needs_logits = True

    def __post_init__(self) -> None:
        if self.file.suffix.lower() != ".parquet":
            raise TwlError(f"{self.file}: expected a name that ends in .parquet for scores")

    @contextmanager
    def open(self, run: RunFacts) -> Iterator[Sink]:
        """As an `Output` does."""
        from twlcli.scoring.score_table import score_groups  # most runs write no scores

        assert run.spec is not None, "scores are those of a model"
        with needs_extra("writing Parquet", "parquet"):
            import pyarrow.parquet  # noqa: F401  before the file is begun
        with (
            open_partial(self.file) as file,
            score_groups(file, run.spec, run.model_digest()) as groups,
        ):
            yield _ScoreSink(groups)


class _ScoreSink:
    def __init__(self, groups: ScoreGroups) -> None:
        self._groups = groups

    def write(self, file: ImageFile, row: Row) -> None:
        """Take one row."""
        if isinstance(row, Tags):
            assert row.logits is not None, "a run with scores has them"
            self._groups.add(row.image, row.logits)
