"""One comparison of logits, as an object that also records the tolerance it would have needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stgcn_onnx.errors import VerificationError
from stgcn_onnx.runtime import FloatArray

_TINY = 1e-12


@dataclass(frozen=True)
class Tolerance:
    """|candidate - reference| has to be at most `atol + rtol * |reference|`."""

    rtol: float
    atol: float

    def allows(self, candidate: FloatArray, reference: FloatArray) -> bool:
        """Whether two arrays agree; NaN agrees with NaN, an infinity with the same infinity."""
        return candidate.shape == reference.shape and bool(
            np.allclose(candidate, reference, rtol=self.rtol, atol=self.atol, equal_nan=True)
        )


@dataclass(frozen=True)
class Comparison:
    """Logits of one input, candidate against reference.

    `margin` is the smallest distance between the first and the second class in the reference, `needed_atol` the
    absolute tolerance that would have passed with the given `rtol`, `needed_rtol` the relative one with the given
    `atol`. `rounding_abs` is what the reference itself differs from its float64 run, `candidate_float64_abs` what the
    candidate differs from it: when both are alike, the difference is rounding and not a fault.
    """

    label: str
    shape: tuple[int, ...]
    people: tuple[int, ...]
    max_abs: float
    max_rel: float
    cosine: float
    argmax_agreement: float
    margin: float
    needed_atol: float
    needed_rtol: float
    rounding_abs: float
    candidate_float64_abs: float
    passed: bool


def compare(
    label: str,
    shape: tuple[int, ...],
    people: tuple[int, ...],
    *,
    candidate: FloatArray,
    reference: FloatArray,
    exact: npt.NDArray[np.float64],
    tolerance: Tolerance,
) -> Comparison:
    """Compare logits `[N, classes]`.

    Args:
        exact: the reference computed in float64.

    Raises:
        VerificationError: the two have different shapes.

    A row passes when every logit is within the tolerance, and the winning class is the same wherever the two best
    logits are further apart than the tolerance could account for.
    """
    if candidate.shape != reference.shape:
        raise VerificationError(
            f"{label} {list(shape)}: the file gives logits {list(candidate.shape)}, "
            f"PyTorch gives {list(reference.shape)}",
            hint="an axis came out wrong; try the other exporter",
        )
    difference = _distance(candidate, reference)
    magnitude = np.abs(np.nan_to_num(reference.astype(np.float64), posinf=0.0, neginf=0.0))
    winners = reference.argmax(axis=-1)
    agrees = candidate.argmax(axis=-1) == winners
    best_two = np.sort(np.nan_to_num(reference), axis=-1)[:, -2:]
    margins = best_two[:, -1] - best_two[:, 0] if reference.shape[-1] > 1 else np.full(len(reference), np.inf)
    slack = 2 * (tolerance.atol + tolerance.rtol * magnitude.max(axis=-1))
    needed_atol = max(0.0, float((difference - tolerance.rtol * magnitude).max()))
    return Comparison(
        label=label,
        shape=shape,
        people=people,
        max_abs=float(difference.max()),
        max_rel=float((difference / (magnitude + _TINY)).max()),
        cosine=_cosine(candidate, reference),
        argmax_agreement=float(agrees.mean()),
        margin=float(margins.min()),
        needed_atol=needed_atol,
        needed_rtol=max(0.0, float(((difference - tolerance.atol) / (magnitude + _TINY)).max())),
        rounding_abs=float(_distance(reference, exact).max()),
        candidate_float64_abs=float(_distance(candidate, exact).max()),
        passed=needed_atol <= tolerance.atol and bool((agrees | (margins <= slack)).all()),
    )


def _distance(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Elementwise distance in float64; 0 where both are the same NaN or infinity, infinite where only one is."""
    with np.errstate(invalid="ignore"):
        distance = np.abs(one.astype(np.float64) - other.astype(np.float64))
    same = (np.isnan(one) & np.isnan(other)) | (one == other)
    return np.where(same, 0.0, np.where(np.isnan(distance), np.inf, distance))


def _cosine(one: FloatArray, other: FloatArray) -> float:
    """The smallest cosine between the logit vectors of a clip; 1 when both are zero."""
    a, b = np.nan_to_num(one.astype(np.float64)), np.nan_to_num(other.astype(np.float64))
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosines = np.where(lengths > 0, (a * b).sum(axis=-1) / np.maximum(lengths, _TINY), 1.0)
    return float(cosines.min())
