import numpy as np
import pytest

from twlcli.errors import TwlError
from twlcli.probing.penalties import penalties


def test_the_defaults_are_the_papers():
    np.testing.assert_allclose(penalties(), np.geomspace(1e5, 1e-6, 45), rtol=1e-12)
    assert penalties()[0] == 1e5 and penalties()[-1] == 1e-6


def test_one_penalty_is_the_strongest():
    assert penalties(1, 1, 10) == (10.0,)


@pytest.mark.parametrize("wrong", [(0, 1, 2), (3, 0, 2), (3, 2, 1), (3, 1, np.inf), (3, np.nan, 1)])
def test_what_is_no_range_is_refused(wrong):
    with pytest.raises(TwlError, match="expected 1 or more, and 0 < the weakest"):
        penalties(*wrong)
