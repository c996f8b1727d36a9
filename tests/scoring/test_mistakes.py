import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twlcli.scoring.mistakes import worst_mistakes

ROWS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([1, 0, -1])), max_size=12)


@given(ROWS, st.integers(0, 5), st.integers(1, 4))
def test_the_worst_come_first(rows, threshold, most):
    probabilities = np.array([p / 4 for p, _ in rows], dtype=np.float32)
    targets = np.array([target for _, target in rows], dtype=np.int8)
    found = worst_mistakes(probabilities, targets, np.float32(threshold / 4), most=most)
    given_wrongly = [n for n, (p, target) in enumerate(rows) if target == 0 and p >= threshold]
    missed = [n for n, (p, target) in enumerate(rows) if target == 1 and p < threshold]
    assert found.given == tuple(sorted(given_wrongly, key=lambda n: -rows[n][0])[:most])
    assert found.missed == tuple(sorted(missed, key=lambda n: rows[n][0])[:most])
    assert (found.given_count, found.missed_count) == (len(given_wrongly), len(missed))
