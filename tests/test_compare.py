"""One comparison: what passes, what does not, and the tolerance that would have been needed, exactly."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stgcn_onnx.compare import Comparison, Tolerance, compare
from stgcn_onnx.errors import VerificationError

Floats = npt.NDArray[np.float32]
LOOSE = Tolerance(1e-3, 1e-5)


def compared(candidate: object, reference: object, tolerance: Tolerance = LOOSE) -> Comparison:
    one, other = (np.atleast_2d(np.asarray(values, np.float32)) for values in (candidate, reference))
    shape = (len(other), 2, 20, 17, 3)
    return compare(
        "x", shape, (1,), candidate=one, reference=other, exact=other.astype(np.float64), tolerance=tolerance
    )


logits = arrays.arrays(np.float32, (3, 4), elements=st.floats(-1e3, 1e3, width=32))
noise = arrays.arrays(np.float32, (3, 4), elements=st.floats(-1, 1, width=32))


@settings(deadline=None)
@given(reference=logits, difference=noise, rtol=st.floats(0, 1e-2))
def test_it_passes_with_the_tolerance_it_needs_and_fails_just_below(
    reference: Floats, difference: Floats, rtol: float
) -> None:
    candidate = reference + difference
    row = compared(candidate, reference, Tolerance(rtol, 0.0))
    assert row.passed == (row.needed_atol == 0.0)
    assert compared(candidate, reference, Tolerance(rtol, row.needed_atol)).passed
    if row.needed_atol > 0:
        below = math.nextafter(row.needed_atol, 0.0)
        assert not compared(candidate, reference, Tolerance(rtol, below)).passed


@settings(deadline=None)
@given(reference=logits, difference=noise, atol=st.floats(1e-6, 1e-2))
def test_the_relative_tolerance_it_needs_is_enough_and_half_of_it_is_not(
    reference: Floats, difference: Floats, atol: float
) -> None:
    reference = np.where(np.abs(reference) < 1, np.float32(1), reference)
    candidate = reference + difference
    needed = compared(candidate, reference, Tolerance(0.0, atol)).needed_rtol
    assert compared(candidate, reference, Tolerance(needed * (1 + 1e-9), atol * (1 + 1e-9))).passed
    if needed > 0:
        assert not compared(candidate, reference, Tolerance(needed / 2, atol)).passed


def test_the_figures_are_what_they_say() -> None:
    row = compared([[1.0, 2.5], [3.0, -4.0]], [[1.0, 2.0], [4.0, -4.0]], Tolerance(0.1, 0.05))
    assert row.max_abs == 1.0
    assert row.max_rel == pytest.approx(0.25)
    assert row.needed_atol == pytest.approx(1.0 - 0.1 * 4.0)
    assert row.needed_rtol == pytest.approx((1.0 - 0.05) / 4.0)
    assert row.margin == pytest.approx(1.0)
    assert row.argmax_agreement == 1.0
    assert row.cosine == pytest.approx(25 * 1.12 / (5 * math.sqrt(32)), abs=1e-9)
    assert not row.passed
    assert row.shape == (2, 2, 20, 17, 3)


def test_another_winner_fails_where_the_margin_is_more_than_the_tolerance() -> None:
    tolerance = Tolerance(0.0, 0.1)
    near = compared([[1.0, 1.04]], [[1.05, 1.0]], tolerance)
    assert (near.argmax_agreement, near.passed) == (0.0, True)
    far = compared([[1.0, 1.3]], [[1.3, 1.0]], tolerance)
    assert (far.argmax_agreement, far.passed) == (0.0, False)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_on_one_side_only_never_passes(value: float) -> None:
    everything = Tolerance(1e30, 1e30)
    for candidate, reference in (([[value, 1.0]], [[1.0, 1.0]]), ([[1.0, 1.0]], [[value, 1.0]])):
        row = compared(candidate, reference, everything)
        assert not row.passed
        assert row.max_abs == math.inf
        assert row.needed_atol == math.inf


def test_the_same_that_is_not_finite_on_both_sides_agrees_and_another_does_not() -> None:
    values = [[math.nan, math.inf, -math.inf, 1.0]]
    row = compared(values, values)
    assert row.passed
    assert row.max_abs == 0.0
    assert not compared([[math.inf, 1.0]], [[-math.inf, 1.0]], Tolerance(1.0, 1e30)).passed
    assert not compared([[math.nan, 1.0]], [[math.inf, 1.0]], Tolerance(1.0, 1e30)).passed


def test_logits_of_another_shape_are_an_error_of_their_own() -> None:
    with pytest.raises(VerificationError, match=r"the file gives logits \[1, 3\], PyTorch gives \[1, 2\]"):
        compared([[1.0, 2.0, 3.0]], [[1.0, 2.0]])


def test_one_class_has_no_margin_and_nothing_but_zeros_is_fine() -> None:
    assert compared([[1.0]], [[1.0]]).margin == math.inf
    zeros = compared([[0.0, 0.0]], [[0.0, 0.0]])
    assert (zeros.passed, zeros.cosine, zeros.max_rel) == (True, 1.0, 0.0)


def test_rounding_is_measured_against_the_float64_run() -> None:
    reference = np.array([[1.0, 2.0]], np.float32)
    row = compare(
        "x",
        (1, 2, 20, 17, 3),
        (1,),
        candidate=reference + np.float32(0.5),
        reference=reference,
        exact=np.array([[1.25, 2.0]]),
        tolerance=LOOSE,
    )
    assert row.rounding_abs == 0.25
    assert row.candidate_float64_abs == 0.5


@settings(deadline=None)
@given(reference=logits, difference=noise)
def test_a_row_that_passes_is_one_that_the_tolerance_allows(reference: Floats, difference: Floats) -> None:
    """The rule for hidden values, in NumPy's own words, agrees but for the last bit."""
    candidate = reference + difference
    row = compared(candidate, reference)
    assume(abs(row.needed_atol - LOOSE.atol) > 1e-4)
    assert LOOSE.allows(candidate, reference) == (row.needed_atol <= LOOSE.atol)
