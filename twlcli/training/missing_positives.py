"""Training on labels that do not list everything, such as the keywords of photographs."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from twlcli.labels import ABSENT, UNKNOWN


def without_likely_present(
    logits: Tensor, targets: Tensor, share: float, *, group: dist.ProcessGroup | None = None
) -> Tensor:
    """Targets in which the absent labels with the highest logits are unknown instead.

    A network learns what most labels say before it learns the exceptions by heart. So an absent
    label to which it gives a high logit early on is more likely one that nobody marked. Of the A
    absent entries of the batch those are left out whose logit is at least the k-th highest, with k
    the whole part of share * A.

    This is the rejection of large losses of Kim, Kim, Akata and Lee, *Large Loss Matters in Weakly
    Supervised Multi-Label Classification*, CVPR 2022 (LL-R, equation 4), with logits in the place
    of losses, of which the losses that compare have none for a single entry.

    Args:
        logits: (N, C).
        targets: (N, C) of 1 present, 0 absent, -1 unknown; int8 or wider.
        share: of the absent entries, 0..1.
        group: ranks that hold the batch together; each passes its own images, and the entries of
            all of them are compared.

    Returns:
        (N, C), the targets with some of the 0 replaced by -1.

    Example:
        >>> logits = torch.tensor([[3.0, 2.0, -1.0], [0.5, -2.0, 1.0]])
        >>> targets = torch.tensor([[1, 0, 0], [0, 0, 1]])
        >>> without_likely_present(logits, targets, 0.5).tolist()
        [[1, -1, 0], [-1, 0, 1]]
    """
    absent = targets == ABSENT
    scores = logits.detach().float().masked_fill(~absent, -torch.inf)
    count = absent.sum()
    everywhere = scores.flatten()
    if group is not None:
        everywhere = _gathered(everywhere, group)
        dist.all_reduce(count, group=group)
    # The threshold is looked up on the device, for which a GPU need not be waited for.
    rejected = (share * count).long()
    place = (rejected - 1).clamp(min=0).unsqueeze(0)
    threshold = everywhere.sort(descending=True).values.gather(0, place)
    return targets.masked_fill(absent & (rejected > 0) & (scores >= threshold), UNKNOWN)


def _gathered(values: Tensor, group: dist.ProcessGroup) -> Tensor:
    """The values of all ranks, which may be of different numbers."""
    most = torch.tensor(len(values), device=values.device)
    dist.all_reduce(most, op=dist.ReduceOp.MAX, group=group)
    padded = values.new_full((int(most),), -torch.inf)
    padded[: len(values)] = values
    parts = [torch.empty_like(padded) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, padded, group=group)
    return torch.cat(parts)
