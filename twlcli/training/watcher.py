"""What a training tells whoever shows its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from twlcli.model.weights import WeightsReport
    from twlcli.runs.run_folder import Run


@dataclass(frozen=True)
class TrainStart:
    """A training that is about to begin.

    Attributes:
        run: its folder and complete recipe.
        device: what trains.
        precision: `float32` or `bfloat16`.
        ranks: how many processes train together.
        weights: what of the pretrained weights fitted; None where there were none.
        training: number of training images.
        validation: number of validation images.
        held_out: whether these were drawn from the training images.
        read: what was read of labels, in one line.
        resumed: whether it continues an earlier one.
    """

    run: Run
    device: str
    precision: str
    ranks: int
    weights: WeightsReport | None
    training: int
    validation: int
    held_out: bool
    read: str
    resumed: bool


class Watcher(Protocol):
    """Told about a training; only the first rank's is."""

    def began(self, start: TrainStart) -> None:
        """The network is built and the data are open."""

    def noted(self, note: str, hint: str = "") -> None:
        """Something that whoever started the training should know.

        `hint` is what to do about it, with names of arguments as `{workers}`, as in a `TwlError`.
        """

    def epoch_began(self, epoch: int, steps: int, first: int) -> None:
        """Epoch `epoch`, counted from 0, has `steps` steps and begins with step `first`."""

    def step_ended(self, images: int, loss: float | None) -> None:
        """A step over `images` images ended; the mean loss so far, now and then."""

    def validated(self, done: int) -> None:
        """So many more validation images are done."""

    def epoch_ended(self, record: dict[str, Any], best: bool) -> None:
        """The line of `metrics.jsonl`, and whether this epoch is the best so far."""

    def extracted(self, done: int, total: int) -> None:
        """Of a frozen backbone: so many views of images went through it, of so many."""

    def penalty_tried(self, record: dict[str, Any], best: bool) -> None:
        """Of a frozen backbone: the line of `metrics.jsonl`, and whether it is the best so far."""


class Silent:
    """A `Watcher` that says nothing."""

    def began(self, start: TrainStart) -> None:
        """Say nothing."""

    def noted(self, note: str, hint: str = "") -> None:
        """Say nothing."""

    def epoch_began(self, epoch: int, steps: int, first: int) -> None:
        """Say nothing."""

    def step_ended(self, images: int, loss: float | None) -> None:
        """Say nothing."""

    def validated(self, done: int) -> None:
        """Say nothing."""

    def epoch_ended(self, record: dict[str, Any], best: bool) -> None:
        """Say nothing."""

    def extracted(self, done: int, total: int) -> None:
        """Say nothing."""

    def penalty_tried(self, record: dict[str, Any], best: bool) -> None:
        """Say nothing."""


class Relay:
    """A `Watcher` that tells another one everything."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def began(self, start: TrainStart) -> None:
        """Tell the other."""
        self._watcher.began(start)

    def noted(self, note: str, hint: str = "") -> None:
        """Tell the other."""
        self._watcher.noted(note, hint)

    def epoch_began(self, epoch: int, steps: int, first: int) -> None:
        """Tell the other."""
        self._watcher.epoch_began(epoch, steps, first)

    def step_ended(self, images: int, loss: float | None) -> None:
        """Tell the other."""
        self._watcher.step_ended(images, loss)

    def validated(self, done: int) -> None:
        """Tell the other."""
        self._watcher.validated(done)

    def epoch_ended(self, record: dict[str, Any], best: bool) -> None:
        """Tell the other."""
        self._watcher.epoch_ended(record, best)

    def extracted(self, done: int, total: int) -> None:
        """Tell the other."""
        self._watcher.extracted(done, total)

    def penalty_tried(self, record: dict[str, Any], best: bool) -> None:
        """Tell the other."""
        self._watcher.penalty_tried(record, best)


class EachEpoch(Relay):
    """Tells another watcher everything, and a function the record of each epoch."""

    def __init__(self, watcher: Watcher, on_epoch: Callable[[dict[str, Any]], object]) -> None:
        super().__init__(watcher)
        self._on_epoch = on_epoch

    def epoch_ended(self, record: dict[str, Any], best: bool) -> None:
        """Tell both; the function may do with the record what it likes."""
        super().epoch_ended(record, best)
        self._on_epoch(dict(record))
