"""What the run of a model recorded while it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twlcli.errors import TwlError
from twlcli.labels import Vocabulary
from twlcli.pages.curves import LARGEST, curve_plots, penalty_plots
from twlcli.pages.plot import Plot
from twlcli.runs.run_folder import CHECKPOINT_NAME, Run


def run_of(model: Path) -> Run | None:
    """The run that a model is in: its folder, or the one around its checkpoint."""
    folder = model.parent if model.name == CHECKPOINT_NAME else model
    try:
        return Run.open(folder)
    except TwlError:  # an exported model, or a folder that is no run any more
        return None


def run_plots(run: Run) -> list[Plot]:
    """Loss and scores by epoch; of a frozen backbone, the scores by penalty."""
    try:
        history = [_numbers(record) for record in run.history()]
    except (TwlError, OSError, UnicodeDecodeError):  # the evaluation is good without
        return []
    by_epoch = [record for record in history if isinstance(record.get("epoch"), int)]
    return curve_plots(by_epoch) if by_epoch else penalty_plots(history)


def training_images(run: Run, source: Path, vocabulary: Vocabulary) -> NDArray[np.int64] | None:
    """In how many of the images that a run was trained on each label was, (C,).

    None where other data were evaluated: those of the run are not read just for this, which may
    take long. None too where they are not the same any more.

    Args:
        run: the model's.
        source: of the data that were evaluated.
        vocabulary: the model's.
    """
    source = source.absolute()
    # A folder of labels may be named by itself, or have them in a file somewhat further down.
    if Path(run.recipe.data.path).absolute() not in (source, *source.parents[:2]):
        return None
    try:
        data = run.data()
        if data.split_names():
            data = data.split(run.splits[0])
    except TwlError:
        return None
    counts = dict(zip(data.vocabulary, data.labels.present_per_label().tolist(), strict=True))
    return np.array([counts.get(label, 0) for label in vocabulary], dtype=np.int64)


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """What of a record can be drawn."""
    return {
        key: value
        for key, value in record.items()
        if isinstance(value, int | float) and not abs(value) >= LARGEST  # NaN can be drawn
    }
