"""The penalties of linear evaluation."""

from __future__ import annotations

import math

from twlcli.errors import TwlError

COUNT, WEAKEST, STRONGEST = 45, 1e-6, 1e5


def penalties(
    count: int = COUNT, weakest: float = WEAKEST, strongest: float = STRONGEST
) -> tuple[float, ...]:
    """Penalties equally spaced on a log scale, from strong to weak.

    Those of Kobayashi, "Two-Way Multi-Label Loss", CVPR 2023, supplement, section B, are 45 in
    [1e-6, 1e5].

    Raises:
        TwlError: fewer than one, or ends that are not positive, finite and in order.

    Example:
        >>> penalties(3, 0.01, 100)
        (100.0, 1.0, 0.01)
    """
    if count < 1 or not 0 < weakest <= strongest < math.inf:
        raise TwlError(
            f"{count} penalties from {weakest:g} to {strongest:g}; expected 1 or more, "
            "and 0 < the weakest <= the strongest"
        )
    low, high = math.log10(weakest), math.log10(strongest)
    return tuple(10 ** (high + (low - high) * step / max(1, count - 1)) for step in range(count))
