"""What a comparison tells whoever shows its progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from twlcli.comparison.plan import Plan, Training
from twlcli.training.watcher import Silent, Watcher


class ComparisonWatcher(Watcher, Protocol):
    """What a comparison tells whoever shows its progress; only the first rank does."""

    def planned(self, plan: Plan) -> None:
        """The data are open, and the first training begins."""

    def training_began(self, training: Training, epochs: int) -> None:
        """A training of so many epochs begins, or goes on where it was interrupted."""

    def training_ended(self, training: Training, scores: Mapping[str, float]) -> None:
        """It ended with these scores, now or in an earlier call."""

    def resampled(self, runs: int) -> None:
        """So many more of the runs are scored on resampled images."""


class SilentComparison(Silent):
    """A `ComparisonWatcher` that says nothing."""

    def planned(self, plan: Plan) -> None:
        """Say nothing."""

    def training_began(self, training: Training, epochs: int) -> None:
        """Say nothing."""

    def training_ended(self, training: Training, scores: Mapping[str, float]) -> None:
        """Say nothing."""

    def resampled(self, runs: int) -> None:
        """Say nothing."""
