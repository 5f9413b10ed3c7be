"""Figures against values worked out by hand, and against what they must not be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stgcn_onnx.metrics import (
    agrees,
    confusion,
    mean_class_accuracy,
    probability_difference,
    roc_auc,
    roc_curve,
    softmax,
    top1,
)

SCORES = np.array([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.5, 0.4, 0.1], [0.0, 1.0, 5.0], [0.0, 2.0, 0.0]])
"""The answers are 0, 1, 0, 2, 1."""
LABELS = [0, 1, 1, 2, 2]


def test_shares_of_right_answers() -> None:
    assert top1(SCORES, LABELS) == pytest.approx(3 / 5)
    # Of class 0 one of one, of class 1 one of two, of class 2 one of two.
    assert mean_class_accuracy(SCORES, LABELS) == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_the_rows_of_the_confusion_matrix_are_the_true_classes() -> None:
    np.testing.assert_array_equal(confusion(SCORES, LABELS), [[1, 0, 0], [1, 1, 0], [0, 1, 1]])


def test_a_class_without_clips_keeps_its_row_and_column() -> None:
    np.testing.assert_array_equal(confusion(SCORES[:1], [0]), [[1, 0, 0], [0, 0, 0], [0, 0, 0]])


def test_probabilities() -> None:
    found = softmax(np.array([[0.0, math.log(3)], [1000.0, 0.0]]))
    np.testing.assert_allclose(found, [[0.25, 0.75], [1.0, 0.0]], atol=1e-12)
    assert found.dtype == np.float64
    assert np.isnan(softmax(np.array([[np.nan, 0.0], [np.inf, 0.0]]))).all()


def test_area_below_the_roc() -> None:
    # Of the four pairs (class 1, class 0) three are in order: 0.9 > 0.5, 0.9 > 0.1, 0.3 > 0.1.
    assert roc_auc(np.array([0.9, 0.5, 0.3, 0.1]), [1, 0, 1, 0]) == pytest.approx(0.75)
    assert roc_auc(np.array([0.2, 0.2]), [0, 1]) == 0.5
    assert roc_auc(np.array([0.0, 1.0]), [0, 1]) == 1.0
    assert roc_auc(np.array([1.0, 0.0]), [0, 1]) == 0.0


def test_the_curve_takes_one_step_for_equal_scores() -> None:
    curve = roc_curve(np.array([0.9, 0.5, 0.5, 0.1]), [1, 1, 0, 0])
    assert curve is not None
    np.testing.assert_allclose(curve, [[0, 0, 0.5, 1], [0, 0.5, 1, 1]])


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_has_no_roc(label: int) -> None:
    assert roc_curve(np.array([0.1, 0.9]), [label, label]) is None
    assert roc_auc(np.array([0.1, 0.9]), [label, label]) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_the_area_is_the_share_of_pairs_in_order(clips: list[tuple[int, bool]]) -> None:
    scores, labels = np.array([score for score, _ in clips], float), [int(label) for _, label in clips]
    pairs = [(a > b) + 0.5 * (a == b) for a, fight in clips if fight for b, other in clips if not other]
    area = roc_auc(scores, labels)
    assert area is None if not pairs else area == pytest.approx(sum(pairs) / len(pairs))


def test_agreement_is_of_the_winning_class() -> None:
    candidate = np.array([[0.6, 0.4], [0.4, 0.6], [np.nan, np.nan]])
    reference = np.array([[0.9, 0.1], [0.6, 0.4], [0.9, 0.1]])
    np.testing.assert_array_equal(agrees(candidate, reference), [True, False, False])


def test_a_difference_of_probabilities_does_not_shrink_with_the_number_of_classes() -> None:
    two = probability_difference(np.array([[0.7, 0.3]]), np.array([[0.6, 0.4]]))
    many = np.full((1, 50), 0.0)
    shifted = many.copy()
    many[0, :2], shifted[0, :2] = (0.6, 0.4), (0.7, 0.3)
    assert two == pytest.approx([0.1])
    assert probability_difference(shifted, many) == pytest.approx([0.1])
    # Moved from one class to two others: half the sum of 0.3, 0.1 and 0.2.
    found = probability_difference(np.array([[0.2, 0.4, 0.4]]), np.array([[0.5, 0.3, 0.2]]))
    assert found == pytest.approx([0.3])


def test_what_is_not_finite_is_as_far_away_as_can_be() -> None:
    assert probability_difference(np.array([[np.nan, 0.5]]), np.array([[0.5, 0.5]])) == pytest.approx([1.0])
