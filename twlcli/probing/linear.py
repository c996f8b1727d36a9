"""Linear evaluation of features: heads for all penalties, and what they score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.split import hold_out_images
from twlcli.heads.lbfgs import Solution
from twlcli.heads.standard import Standard
from twlcli.labels import PRESENT
from twlcli.probing.penalties import penalties as all_penalties
from twlcli.probing.result import MULTI_LABEL, SINGLE_LABEL, Swept, Told
from twlcli.probing.sweep import LEFT_OUT, Settings, softmax_of_classes, sweep
from twlcli.recipe import LOSS_RECIPES
from twlcli.scoring.average_precision import (
    average_precision_per_image,
    average_precision_per_label,
    mean_over_lines,
    of_labels_with_both,
)
from twlcli.training.frozen import head_loss

_HELD_OUT = 0.2
_ROWS = 8192  # of the features that are scored at once

_NONE = np.empty(0, dtype=np.int64)

Rows = NDArray[np.int64]
Loss = Callable[[Tensor], Tensor]  # the mean over images, of logits (N, C)


@dataclass(frozen=True)
class Part:
    """Images with their features.

    Attributes:
        data: N images with C labels.
        features: (N, D) float32.
    """

    data: Annotations
    features: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How features are evaluated.

    Attributes:
        loss: a key of `LOSSES`, for images of several labels; where each has one it is softmax.
        standardise: whether features are given deviation 1 first; else they stay as they are.
        penalties: λ, in any order.
        seed: draws the fifth of the training images that is held out.
        settings: how far heads are brought to their minima.
    """

    loss: str = "softmax"
    standardise: bool = False
    penalties: tuple[float, ...] = all_penalties()
    seed: int = 0
    settings: Settings = field(default_factory=Settings)


def has_single_labels(*parts: Annotations) -> bool:
    """Whether each image has exactly one label, and is known not to have the others."""
    return all(
        bool((each.labels.present_per_image() == 1).all())
        and not each.labels.unknown_per_label().any()
        for each in parts
    )


def evaluate_features(
    train: Part,
    test: Part,
    evaluation: Evaluation,
    *,
    device: torch.device,
    solved: Told = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[Swept, ...]:
    """Find a linear head for each penalty, and score them on the test images.

    Kobayashi, "Two-Way Multi-Label Loss", CVPR 2023, supplement, section B. The head of λ has the
    least

        sum over the training images of the softmax loss + λ / 2 |W|^2

    with features as the network gives them and a bias that is not penalised. λ is 1 / C of
    scikit-learn's `LogisticRegression(C=C)`: others sweep C. Of other losses the sum is N times the
    loss, N being the training images with a label.

    The features are shifted by their mean, which changes the bias alone and spares iterations.

    Args:
        train: the training images; their features are changed.
        test: the test images; likewise.
        evaluation: how.
        device: what finds the heads.
        solved: told about each head.
        should_stop: asked once an iteration.

    Returns:
        All penalties, from strong to weak; nothing where `should_stop` said so.
    """
    features = torch.from_numpy(train.features).to(device)
    test_features = torch.from_numpy(test.features).to(device)
    standard = Standard.of(features) if evaluation.standardise else _centred(features)
    standard.apply_(features)
    standard.apply_(test_features)
    single = has_single_labels(train.data, test.data)
    losses = _Classes.of(train.data) if single else _Targets.of(train.data, evaluation.loss)
    penalties = evaluation.penalties
    total, done = 2 * len(penalties), 0

    def heads_without(rows: Rows, others: Tensor, data: Annotations) -> list[_Scored]:
        """Heads that are found without some images, and what they score on others."""
        nonlocal done
        loss, count = losses.without(rows, device)
        found = []
        solutions = sweep(
            features,
            loss,
            penalties,
            images=count,
            labels=len(train.data.vocabulary),
            settings=evaluation.settings,
            should_stop=should_stop,
        )
        for penalty, solution in solutions:
            scores = _scores(_logits(others, solution.head), data, single=single)
            found.append(_Scored.of(penalty, solution, scores))
            done += 1
            solved(done, total)
        return found

    held = hold_out_images(train.data, fraction=_HELD_OUT, seed=evaluation.seed)
    held_features = features[torch.from_numpy(held).to(device)]
    validated = heads_without(held, held_features, train.data.select(held))
    tested = heads_without(_NONE, test_features, test.data)
    if len(tested) < len(penalties):  # it was stopped
        return ()
    return tuple(map(_swept, tested, validated))


@dataclass(frozen=True)
class _Scored:
    """What is kept of a head: of many classes all heads together are large."""

    penalty: float
    scores: dict[str, float]
    gradient_norm: float
    converged: bool
    iterations: int

    @classmethod
    def of(cls, penalty: float, solution: Solution, scores: dict[str, float]) -> _Scored:
        return cls(penalty, scores, solution.gradient_norm, solution.converged, solution.iterations)


def _swept(tested: _Scored, validated: _Scored) -> Swept:
    main = next(iter(tested.scores))
    return Swept(
        tested.penalty,
        tested.scores,
        validated.scores[main],
        tested.gradient_norm,
        tested.converged,
        tested.iterations,
        validated.converged,
    )


@dataclass(frozen=True)
class _Classes:
    """The softmax loss of images of one class each."""

    classes: Rows

    @classmethod
    def of(cls, data: Annotations) -> _Classes:
        return cls(_classes(data))

    def without(self, rows: Rows, device: torch.device) -> tuple[Loss, int]:
        """The loss of the other images, and how many they are."""
        classes = self.classes.copy()
        classes[rows] = LEFT_OUT
        return softmax_of_classes(torch.from_numpy(classes).to(device)), len(classes) - len(rows)


@dataclass(frozen=True)
class _Targets:
    """A loss of images of several labels."""

    name: str
    targets: NDArray[np.int8]

    @classmethod
    def of(cls, data: Annotations, name: str) -> _Targets:
        return cls(name, data.labels.dense())

    def without(self, rows: Rows, device: torch.device) -> tuple[Loss, int]:
        """The loss of the other images, and how many of them have a label.

        That labels are unknown leaves an image out exactly.
        """
        targets = self.targets.copy()
        targets[rows] = -1
        count = int((targets == 1).any(1).sum())
        loss, on_device = head_loss(LOSS_RECIPES[self.name]()), torch.from_numpy(targets).to(device)
        return lambda logits: loss(logits, on_device), max(1, count)


def _centred(features: Tensor) -> Standard:
    """What moves the mean of features (N, D) to 0 and leaves their size as it is."""
    mean = features.mean(0)
    return Standard(mean, torch.ones_like(mean))


def _classes(data: Annotations) -> Rows:
    """The column (N,) of the one label of each image."""
    columns: Rows = data.labels.columns[data.labels.values == PRESENT].astype(np.int64)
    return columns


def _logits(features: Tensor, head: Tensor) -> NDArray[np.float32]:
    parts = [(each @ head[:-1] + head[-1]).float().cpu() for each in features.split(_ROWS)]
    logits: NDArray[np.float32] = torch.cat(parts).numpy()
    return logits


def _scores(logits: NDArray[np.float32], data: Annotations, *, single: bool) -> dict[str, float]:
    if single:
        return accuracies(logits.argmax(1), _classes(data))
    targets = data.labels.dense()
    by_label = of_labels_with_both(average_precision_per_label(logits, targets), targets)
    values = by_label, average_precision_per_image(logits, targets)
    named = zip(MULTI_LABEL, values, strict=True)
    return {name: mean_over_lines(lines).value for name, lines in named}


def accuracies(
    given: Sequence[int] | NDArray[np.integer], classes: NDArray[np.int64]
) -> dict[str, float]:
    """`accuracy`, and `class_accuracy`, its mean over the classes that occur.

    Args:
        given: the class (N,) that each image was given.
        classes: the one (N,) that it has.

    Example:
        >>> accuracies([0, 0, 0, 0], np.array([0, 0, 0, 1]))
        {'accuracy': 0.75, 'class_accuracy': 0.5}
    """
    correct = np.asarray(given) == classes
    counts = np.bincount(classes)
    there = counts > 0
    by_class = np.bincount(classes, weights=correct)[there] / counts[there]
    values = float(correct.mean()), float(by_class.mean())
    return dict(zip(SINGLE_LABEL, values, strict=True))
