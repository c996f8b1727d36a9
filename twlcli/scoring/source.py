"""What says something of labelled images: a model that runs, or its scores on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from twlcli.annotations.annotations import Annotations
from twlcli.errors import TwlError
from twlcli.images.decoding import USUAL, Decoding
from twlcli.inference.scored import ScoredImages, score_images
from twlcli.model.load import load_predictor
from twlcli.model.spec import ModelSpec
from twlcli.scoring.score_table import is_score_table, open_scores
from twlcli.scoring.stored import scores_of

Watcher = Callable[[int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True)
class Running:
    """How models are run; see `twlcli.evaluate`."""

    batch_size: int | None = None
    workers: int | None = None
    decoding: Decoding = USUAL
    provider: str | None = None
    device: str | None = None
    allow_code: bool = False
    watcher: Watcher | None = None


@dataclass(frozen=True)
class Source:
    """A model, ready to score images.

    Attributes:
        spec: its labels, calibration and thresholds.
        score: what it says of labelled images; to be called once.
    """

    spec: ModelSpec
    score: Callable[[Annotations], ScoredImages]


@contextmanager
def open_source(model: Path, running: Running) -> Iterator[Source]:
    """A model by its file or folder, or what stands for it in a file of scores.

    Args:
        model: an exported `.onnx`, a run folder, a checkpoint, the name of a bundled model, or a
            file of scores.
        running: how it is run.

    Raises:
        ModelError: the model cannot be loaded.
        TwlError: the scores cannot be read, or are to be run.
        MissingExtraError: a run or checkpoint without the `train` extra, or scores without that of
            Parquet.
    """
    if is_score_table(model) and not model.is_dir():
        for name, value in {"provider": running.provider, "device": running.device}.items():
            if value is not None:
                raise TwlError(f"{model}: no model runs, and {name} has no meaning")
        with open_scores(model) as stored:
            yield Source(stored.spec, lambda annotations: scores_of(annotations, stored, model))
        return
    predictor = load_predictor(
        model, provider=running.provider, device=running.device, allow_code=running.allow_code
    )

    def score(annotations: Annotations) -> ScoredImages:
        watcher = running.watcher
        with nullcontext() if watcher is None else watcher(len(annotations)) as progress:
            return score_images(
                predictor,
                annotations,
                batch_size=running.batch_size,
                workers=running.workers,
                decoding=running.decoding,
                progress=progress,
            )

    yield Source(predictor.spec, score)
