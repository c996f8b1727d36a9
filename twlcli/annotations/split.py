"""Holding out a part of the images so that every label keeps its share in both parts.

The iterative stratification of Sechidis, Tsoumakas and Vlahavas, "On the Stratification of
Multi-Label Data", ECML-PKDD 2011, for two parts, on sparse labels. Their algorithm hands out the
images of the rarest remaining label one by one, each to the part that still wants most of that
label. With two parts, how many go to each follows from what the parts want, so all the images of
a label are handed out at once; which ones is drawn with weights from their other labels.

Images that belong together, such as the frames of a film, are handed out together: what is handed
out are groups, each of which has a label so many times; without groups each image is one.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twlcli.annotations.annotations import Annotations
from twlcli.annotations.names import Names
from twlcli.errors import AnnotationError
from twlcli.labels import LabelMatrix

Rows = NDArray[np.int64]

# Swaps take time in proportion to all entries; few are needed, and few of these are worth it.
_MOST_SWAPS, _WORTH_A_SWAP = 200, 1e-3
_MOST_PLACES = 16  # labels of an image that are laid out beside each other
_FEW = 2000  # images that show about how good the best one is


def hold_out_images(annotations: Annotations, *, fraction: float, seed: int) -> Rows:
    """The rows of a stratified hold-out part of some images, ascending; no group lies in both.

    Drawn by the images' paths: in whatever order the same images come, the same ones are held out.

    Args:
        annotations: N images. An image of no group is one of its own.
        fraction: share of the images to hold out, between 0 and 1.
        seed: the same seed gives the same images.

    Raises:
        AnnotationError: as `hold_out`.
    """
    order = Names.of(annotations.images).order()
    groups = None
    if annotations.groups:
        groups = annotations.group_numbers()[order]
        alone = groups < 0
        groups[alone] = groups.max() + 1 + np.flatnonzero(alone)
    labels = annotations.labels.select(order)
    return np.sort(order[hold_out(labels, fraction=fraction, seed=seed, groups=groups)])


def stratified_folds(annotations: Annotations, count: int, *, seed: int) -> Rows:
    """The fold (N,) of each image, counted from 0; no group lies in two.

    Each is a hold-out part of the images that are in none yet; see `hold_out_images`.

    Args:
        annotations: N images.
        count: of folds, at least 2; there are fewer where there are fewer images or groups.
        seed: the same seed gives the same folds.

    Raises:
        AnnotationError: there are fewer than two images or groups.
    """
    if _is_one_group(annotations):
        raise AnnotationError(
            f"{annotations.source}: all training images belong to one group; cross-validation "
            "needs two"
        )
    folds = np.zeros(len(annotations), dtype=np.int64)
    rest = np.arange(len(annotations))
    for fold in range(count - 1, 0, -1):
        part = annotations.select(rest)
        if _is_one_group(part):
            break
        held = hold_out_images(part, fraction=1 / (fold + 1), seed=seed)
        folds[rest[held]] = fold
        rest = np.delete(rest, held)
    return np.unique(folds, return_inverse=True)[1]


def _is_one_group(annotations: Annotations) -> bool:
    """Whether images cannot be parted: one alone, or all of one group."""
    groups = annotations.group_numbers()
    return len(groups) < 2 or (groups[0] >= 0 and bool((groups == groups[0]).all()))


def hold_out(
    labels: LabelMatrix,
    *,
    fraction: float,
    seed: int,
    groups: NDArray[np.integer] | None = None,
) -> Rows:
    """The rows of a stratified hold-out part, ascending.

    The part has round(fraction * N) images, at least 1 and at most N - 1; with groups as near to
    that as they allow. Images without labels are a stratum of their own; unknown labels count as
    absent. A label that two images or groups have keeps at least one in each part, as far as the
    part's size allows.

    Args:
        labels: the matrix (N, C); never made dense.
        fraction: share of the images to hold out, between 0 and 1.
        seed: the same seed gives the same rows.
        groups: (N,) numbers; images with the same number stay in the same part. None where every
            image may be in either. Which numbers they are makes no difference.

    Raises:
        AnnotationError: the fraction is not between 0 and 1, or there are fewer than two images or
            groups.
    """
    if not 0 < fraction < 1:
        raise AnnotationError(f"hold-out fraction is {fraction}; expected between 0 and 1")
    if len(labels) < 2:
        raise AnnotationError(f"cannot hold out a part of {len(labels)} image; expected 2 or more")
    if seed < 0:
        raise AnnotationError(f"hold-out seed is {seed}; expected 0 or greater")
    group_of = np.arange(len(labels)) if groups is None else numbered(groups)
    if group_of.max() == 0:
        raise AnnotationError(
            f"cannot hold out a part of one group (of {len(labels):,} images); expected 2 or more"
        )
    size = min(max(round(fraction * len(labels)), 1), len(labels) - 1)
    split = _Split(labels, group_of, fraction=fraction, seed=seed)
    split.hand_out()
    split.keep_one_in_each_part()
    split.reach_size(size)
    split.mend_shares(size)
    return np.flatnonzero(split.held[group_of])


def numbered(groups: NDArray[np.integer]) -> Rows:
    """The same groups (N,), numbered from 0 in the order of their first members."""
    _, first, group_of = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group_of]


def _entries_by_image(labels: LabelMatrix) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The columns of all images' labels, as `_Split` counts them, and how many each image has."""
    columns, lengths = labels.present_columns(), labels.present_per_image()
    is_free = lengths == 0
    sizes = lengths + is_free + 1
    ends = np.cumsum(sizes)
    # Sixteen bits, which most label counts fit in, are sorted without comparing.
    dtype = np.uint16 if labels.label_count + 2 < 1 << 16 else np.int64
    entries = np.full(ends[-1], labels.label_count + 1, dtype=dtype)
    of_labels = np.ones(len(entries), dtype=np.bool_)
    of_labels[ends - 1] = False
    of_labels[ends[is_free] - 2] = False
    entries[ends[is_free] - 2] = labels.label_count
    entries[of_labels] = columns
    return entries, sizes


class _Split:
    """Which groups of images are held out so far, and how many of each label are.

    Images without labels have one of their own, in column C; and all have that of column C + 1, so
    that a part's size is kept like a label's share.
    """

    def __init__(self, labels: LabelMatrix, group_of: Rows, *, fraction: float, seed: int) -> None:
        count = labels.label_count + 2
        columns, lengths = _entries_by_image(labels)
        entry_groups: Rows = np.repeat(group_of, lengths)
        # Whether every image is a group of its own.
        self.are_images = len(labels) == group_of[-1] + 1
        if self.are_images:
            entry_counts: Rows = np.broadcast_to(np.int64(1), columns.shape)
        else:
            both, entry_counts = np.unique(entry_groups * count + columns, return_counts=True)
            entry_groups, columns = both // count, (both % count).astype(columns.dtype)
            lengths = np.bincount(entry_groups)
        self.starts: Rows = np.concatenate(([0], np.cumsum(lengths)))
        self.sizes: Rows = np.bincount(group_of)
        self.entry_counts, self.entry_columns = entry_counts, columns
        by_label = np.argsort(columns, kind="stable")
        self.groups_with: Rows = np.bincount(columns, minlength=count)
        ends = np.cumsum(self.groups_with)[:-1]
        self.groups_of_label = np.split(entry_groups[by_label], ends)
        counts = entry_counts if self.are_images else entry_counts[by_label]
        self.counts_of_label = np.split(counts, ends)
        self.most_entries = int(lengths.max())
        # Labels to keep in each part; that one has no image without labels does no harm.
        self.kept = self.groups_with >= 2
        self.kept[count - 2] = False
        self.places = self._label_places()
        self.totals: Rows = self.groups_with.copy()
        if not self.are_images:
            self.totals = self._counts(np.arange(len(self.sizes)))
        self.fraction = fraction
        self.rng = np.random.default_rng(seed)
        self.held = np.zeros(len(self.sizes), dtype=np.bool_)
        self.held_totals = np.zeros_like(self.totals)

    @cached_property
    def entry_groups(self) -> Rows:
        """The group of each entry."""
        return np.repeat(np.arange(len(self.sizes)), np.diff(self.starts))

    def hand_out(self) -> None:
        """Hand out every group, those with the rarest remaining label first."""
        waiting = np.ones(len(self.held), dtype=np.bool_)
        remaining = self.totals.copy()
        tie_break = self.rng.random(len(remaining))
        logs = np.zeros(len(remaining))
        changed = np.flatnonzero(remaining)
        while remaining.any():
            wanted = self.fraction * self.totals[changed] - self.held_totals[changed]
            shares = wanted / np.maximum(remaining[changed], 1) / self.fraction
            logs[changed] = np.log(np.clip(shares, 1e-3, 1e3))
            label = int(np.where(remaining > 0, remaining + tie_break, np.inf).argmin())
            groups, counts = self.groups_of_label[label], self.counts_of_label[label]
            are_waiting = waiting[groups]
            groups, counts = groups[are_waiting], counts[are_waiting]
            self._move(self._drawn(groups, counts, label, logs), hold=True)
            waiting[groups] = False
            handed_out = self._counts(groups)
            remaining -= handed_out
            changed = np.flatnonzero(handed_out)

    def _drawn(self, groups: Rows, counts: Rows, label: int, logs: NDArray[np.float64]) -> Rows:
        """Some of the groups that wait with a label, so many that enough of it are held out.

        Weighted sampling without replacement (Efraimidis and Spirakis, 2006); an image's weight
        is the product over its labels of the share of their remaining images that is wanted, a
        group's the geometric mean of its images'.

        Args:
            groups: with the label.
            counts: how many images with it each has.
            label: its column.
            logs: of each label's share.
        """
        wanted = self.fraction * self.totals[label] - self.held_totals[label]
        # With hundreds of labels a weight may be too small for a number: such a group comes last.
        with np.errstate(divide="ignore", over="ignore"):
            weights = np.exp(self._sums(groups, logs) / self.sizes[groups])
            times = self.rng.exponential(size=len(groups)) / weights
        # Of those that do not overshoot by more than they bring, the first until it is enough.
        may_be = np.flatnonzero(counts <= 2 * wanted)
        most = max(int(wanted) + 1, 0)  # each brings one or more
        if most < len(may_be):
            may_be = may_be[np.argpartition(times[may_be], most)[:most]]
        may_be = may_be[np.argsort(times[may_be])]
        counts = counts[may_be]
        drawn: Rows = groups[may_be[np.cumsum(counts) - counts / 2 <= wanted]]
        return drawn

    def keep_one_in_each_part(self) -> None:
        """Move a group over for every label of two or more that one part has none of."""
        for hold in (True, False):
            for label in np.flatnonzero(self.kept):
                if self._totals_of_part(hold)[label] == 0:
                    self._move_best(self.groups_of_label[label], hold=hold)

    def reach_size(self, size: int) -> None:
        """Move groups over until `size` are held out, those that mend the shares best first."""
        while excess := int(self.held_totals[-1]) - size:
            hold = excess < 0
            groups = np.flatnonzero(self.held != hold)
            whole_part = self._totals_of_part(not hold)[-1]  # is never moved
            groups = groups[self.sizes[groups] < min(2 * abs(excess), whole_part)]
            if not len(groups):
                break
            self._move_best(groups, hold=hold, among_equals=self.rng.permutation(groups))

    def mend_shares(self, size: int) -> None:
        """Swap two groups as long as that mends the shares and takes the size no further off."""
        for _ in range(_MOST_SWAPS):
            off = abs(int(self.held_totals[-1]) - size)
            taken, change = self._move_best(np.flatnonzero(~self.held), hold=True)
            back = np.abs(self.held_totals[-1] - self.sizes - size) <= off
            back &= self.held
            back[taken] = False
            if back.any():
                given, change_back = self._move_best(np.flatnonzero(back), hold=False)
                if change + change_back < -_WORTH_A_SWAP:
                    continue
                self._move(given, hold=True)
            self._move(taken, hold=False)
            break

    def _move_best(
        self, groups: Rows, *, hold: bool, among_equals: Rows | None = None
    ) -> tuple[Rows, float]:
        """Move the group that brings the labels' shares nearest to the fraction.

        The distance is the sum over labels of (held - fraction * total)^2 / total; a move that
        takes the last image of a label from its part comes after all that do not. Of equally good
        ones, that which is first in `groups` is moved, or in `among_equals` if that is given.

        Returns:
            The group (1,), and how much the distance became.
        """
        sign = 1 if hold else -1
        surplus = sign * (self.held_totals - self.fraction * self.totals)
        if self.are_images:
            change = (2 * surplus + 1) / np.maximum(self.totals, 1)
            is_last = self._totals_of_part(not hold) == 1
            change[is_last & self.kept] += self.totals[-1]
            groups, costs = self._costs_of_images(groups, change)
        else:
            counts, columns = self.entry_counts, self.entry_columns
            change = counts * (2 * surplus[columns] + counts) / self.totals[columns]
            is_last = counts == self._totals_of_part(not hold)[columns]
            change[is_last & self.kept[columns]] += self.totals[-1]
            sums = np.bincount(self.entry_groups, weights=change)
            costs = sums[groups].astype(np.float64)
        cost = float(costs.min())
        equals = groups[costs == cost]
        if among_equals is not None and len(equals) > 1:
            are_equal = np.zeros(len(self.sizes), dtype=np.bool_)
            are_equal[equals] = True
            equals = among_equals[[are_equal[among_equals].argmax()]]
        self._move(equals[:1], hold=hold)
        return equals[:1], cost

    def _costs_of_images(
        self, images: Rows, change: NDArray[np.float64]
    ) -> tuple[Rows, NDArray[np.float64]]:
        """Those of some images whose labels' changes may add up to the least, and the sums.

        An image whose sum is at most some bound has a label whose change is at most the bound, and
        where that is negative the bound over the number of its labels. So with the bound from a few
        images, only those of a few labels are looked at, and not all.
        """
        may_be = np.zeros(len(self.sizes), dtype=np.bool_)
        may_be[images] = True
        own = change[:-1]  # without the column that all images have
        ascending = np.argsort(own)
        bound, looked_at = np.inf, 0
        for label in ascending:
            some = self.groups_of_label[label]
            if len(some := some[may_be[some]]):
                bound = min(bound, self._sums(some, change).min() - change[-1])
                looked_at += len(some)
            if looked_at >= _FEW:
                break
        share = bound / (self.most_entries - 1) if bound < 0 else bound
        few = ascending[own[ascending] <= share + 1e-9 * (1 + abs(share))]  # as sums are rounded
        wanted = images
        if self.groups_with[few].sum() < len(images):
            is_wanted = np.zeros_like(may_be)
            is_wanted[np.concatenate([self.groups_of_label[label] for label in few])] = True
            wanted = images[is_wanted[images]]
        return wanted, self._sums(wanted, change)

    def _label_places(self) -> NDArray[Any] | None:
        """The labels (most, N) of all images, with the number of labels behind the last of each.

        None where they are too many, or groups are handed out.
        """
        most, count = self.most_entries, len(self.groups_with)
        if not self.are_images or most > _MOST_PLACES:
            return None
        places = np.full((len(self.sizes), most), count, dtype=self.entry_columns.dtype)
        places[np.arange(most) < np.diff(self.starts)[:, None]] = self.entry_columns
        return np.ascontiguousarray(places.T)

    def _sums(self, groups: Rows, change: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum of the changes of each group's labels, each as often as the group has it."""
        if self.places is not None:
            padded = np.append(change, 0)
            sums = np.zeros(len(groups))
            for columns in self.places:
                sums += padded[columns[groups]]
            return sums
        entries, lengths = self._entries(groups)
        weights = change[self.entry_columns[entries]] * self.entry_counts[entries]
        of_group = np.repeat(np.arange(len(groups)), lengths)
        return np.bincount(of_group, weights=weights).astype(np.float64)

    def _move(self, groups: Rows, *, hold: bool) -> None:
        self.held[groups] = hold
        self.held_totals += self._counts(groups) if hold else -self._counts(groups)

    def _totals_of_part(self, hold: bool) -> Rows:
        return self.held_totals if hold else self.totals - self.held_totals

    def _counts(self, groups: Rows) -> Rows:
        """How many images of these groups have each label."""
        count = len(self.groups_with)
        if self.places is not None:
            return np.bincount(self.places[:, groups].ravel(), minlength=count + 1)[:count]
        entries, _ = self._entries(groups)
        weights = self.entry_counts[entries]
        counts = np.bincount(self.entry_columns[entries], weights=weights, minlength=count)
        return counts.astype(np.int64)

    def _entries(self, groups: Rows) -> tuple[Rows, Rows]:
        """The entries of these groups one after another, and how many each has (1 or more)."""
        lengths = self.starts[groups + 1] - self.starts[groups]
        offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return np.repeat(self.starts[groups], lengths) + offsets, lengths
