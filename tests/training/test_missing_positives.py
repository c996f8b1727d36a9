import torch
from hypothesis import given
from hypothesis import strategies as st

from twlcli.training.missing_positives import without_likely_present


def in_loops(logits: list[list[float]], targets: list[list[int]], share: float) -> list[list[int]]:
    """One entry after the other."""
    absent = sorted(
        (
            logit
            for row, marks in zip(logits, targets, strict=True)
            for logit, mark in zip(row, marks, strict=True)
            if mark == 0
        ),
        reverse=True,
    )
    count = int(share * len(absent))
    return [
        [
            -1 if mark == 0 and count and logit >= absent[count - 1] else mark
            for logit, mark in zip(row, marks, strict=True)
        ]
        for row, marks in zip(logits, targets, strict=True)
    ]


entries = st.tuples(st.integers(-5, 5), st.sampled_from([1, 0, 0, -1]))


@given(
    st.integers(1, 4).flatmap(
        lambda labels: st.lists(
            st.lists(entries, min_size=labels, max_size=labels), min_size=1, max_size=5
        )
    ),
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]),
)
def test_equals_the_definition(rows, share):
    logits = [[float(logit) for logit, _ in row] for row in rows]
    targets = [[mark for _, mark in row] for row in rows]
    found = without_likely_present(
        torch.tensor(logits), torch.tensor(targets, dtype=torch.int8), share
    )
    assert found.dtype == torch.int8
    assert found.tolist() == in_loops(logits, targets, share)


def test_no_gradient_flows_and_bf16_is_compared():
    logits = torch.tensor([[1.0, 2.0, 3.0, 0.0]], dtype=torch.bfloat16, requires_grad=True)
    found = without_likely_present(logits, torch.tensor([[0, 0, 1, 0]]), 0.4)
    assert found.tolist() == [[0, -1, 1, 0]]
    assert not found.requires_grad
