import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from twlcli.errors import AnnotationError
from twlcli.labels import LabelMatrix, Vocabulary

TARGETS = arrays(
    np.int8, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(-1, 1)
)


def test_vocabulary_gives_columns_and_names_the_nearest():
    vocabulary = Vocabulary(("cat", "dog"))
    assert (len(vocabulary), list(vocabulary), vocabulary.column("dog")) == (2, ["cat", "dog"], 1)
    assert "cat" in vocabulary
    assert "cow" not in vocabulary
    with pytest.raises(
        AnnotationError, match="'catt' is not in the vocabulary; did you mean 'cat'"
    ):
        vocabulary.column("catt")


def test_vocabulary_with_a_label_twice_is_refused():
    with pytest.raises(AnnotationError, match=r"label 'b' is .* twice"):
        Vocabulary(("a", "b", "b"))


@pytest.mark.parametrize("label", ["caf\udce9", "dog\ud83d", "a\0b"])
def test_vocabulary_with_a_label_that_is_no_text_is_refused(label):
    with pytest.raises(AnnotationError, match="is not valid text") as error:
        Vocabulary(("a", label))
    assert f"label {label!a} " in str(error.value)


@settings(deadline=None, max_examples=50)
@given(targets=TARGETS)
def test_sparse_rows_hold_what_the_dense_matrix_does(targets):
    matrix = LabelMatrix.from_dense(targets)
    assert matrix.shape == targets.shape
    np.testing.assert_array_equal(matrix.dense(), targets)
    np.testing.assert_array_equal(matrix.present_per_label(), (targets == 1).sum(0))
    np.testing.assert_array_equal(matrix.unknown_per_label(), (targets == -1).sum(0))
    np.testing.assert_array_equal(matrix.present_per_image(), (targets == 1).sum(1))
    for row in range(len(matrix)):
        np.testing.assert_array_equal(matrix.present(row), np.flatnonzero(targets[row] == 1))
        np.testing.assert_array_equal(matrix.unknown(row), np.flatnonzero(targets[row] == -1))


@settings(deadline=None, max_examples=50)
@given(targets=TARGETS, data=st.data())
def test_selected_rows_come_in_the_order_asked(targets, data):
    rows = data.draw(st.lists(st.integers(0, len(targets) - 1)))
    matrix = LabelMatrix.from_dense(targets)
    np.testing.assert_array_equal(matrix.select(rows).dense(), targets[rows])
    np.testing.assert_array_equal(matrix.dense(rows), targets[rows])
