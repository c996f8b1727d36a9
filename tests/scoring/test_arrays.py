import numpy as np
import pytest
import torch

from twlcli.scoring.arrays import as_array, as_probabilities, as_targets

MARKS = [[1, 0, -1], [0, 1, 0]]


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float16, np.float32, np.float64])
def test_targets_of_any_dtype(dtype):
    for targets in (np.array(MARKS, dtype=dtype), torch.tensor(np.array(MARKS, dtype=dtype))):
        found = as_targets(targets)
        assert found.dtype == np.int8
        assert found.tolist() == MARKS


def test_targets_that_are_known_are_bools_or_bytes_too():
    for dtype in (bool, np.uint8):
        assert as_targets(np.array([[1, 0]], dtype=dtype)).tolist() == [[1, 0]]
    assert as_targets([[True, False]]).tolist() == [[1, 0]]
    assert as_targets(torch.tensor([[1, -1]], dtype=torch.bfloat16)).tolist() == [[1, -1]]
    assert as_targets(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (0.9, np.float32, "0.9"),
        (np.nan, np.float64, "nan"),
        (2, np.int64, "2"),
        (-2, np.int8, "-2"),
        (255, np.uint8, "255"),
    ],
)
def test_targets_that_are_no_marks_are_refused(value, dtype, text):
    targets = np.zeros((2, 3), dtype=dtype)
    targets[1, 2] = value
    with pytest.raises(ValueError, match=rf"-1 unknown, got {text} at \(1, 2\)$"):
        as_targets(targets)


@pytest.mark.parametrize("value", [1.5, -0.1, np.nan, np.inf])
def test_probabilities_outside_0_to_1_are_refused(value):
    with pytest.raises(ValueError, match=rf"in 0\.\.1, got {value} at \(0, 1\)$"):
        as_probabilities([[0.0, value], [1.0, 0.5]])


def test_arrays_are_not_copied():
    array = np.zeros((2, 3), dtype=np.int8)
    assert as_targets(array) is array
    assert np.shares_memory(as_array(torch.from_numpy(array)), array)


def test_tensors_with_gradients_and_of_bfloat16():
    values = torch.tensor([[0.5, 2.0]], dtype=torch.bfloat16, requires_grad=True)
    assert as_array(values).dtype == np.float32
    assert as_array(values).tolist() == [[0.5, 2.0]]


@pytest.mark.gpu
def test_tensors_on_a_gpu():
    assert as_array(torch.ones(2, 3, device="cuda", requires_grad=True)).tolist() == [[1.0] * 3] * 2
