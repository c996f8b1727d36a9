import numpy as np

from twlcli.images.grey import grey_levels


def test_grey_levels_of_values_that_are_not_finite():
    raw = np.array([[0.0, 0.5, 1.0, np.nan, np.inf, -np.inf]], dtype=np.float32)
    assert grey_levels(raw, sixteen_bits=False).tolist() == [[0, 128, 255, 0, 0, 0]]


def test_grey_levels_of_negative_and_constant_values():
    assert grey_levels(np.array([[-1.0, 0, 1]]), sixteen_bits=False).tolist() == [[0, 128, 255]]
    assert grey_levels(np.full((1, 2), -7, np.int32), sixteen_bits=False).tolist() == [[0, 0]]
