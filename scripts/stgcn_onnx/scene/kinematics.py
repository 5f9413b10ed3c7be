"""Vectors over time: everything here takes and returns arrays whose first axis is the frame.

World axes: X and Y on the ground, Z up, metres. A heading of 0 looks along +X; left of it is +Y.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

UP: Array = np.array([0.0, 0.0, 1.0])


def unit(vectors: Array) -> Array:
    """Vectors (..., 3) scaled to length 1; a zero vector stays zero."""
    length: Array = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-9)


def without(vectors: Array, axis: Array) -> Array:
    """What is left of `vectors` (..., 3) across the unit vectors `axis`, scaled to length 1."""
    return unit(vectors - np.sum(vectors * axis, axis=-1, keepdims=True) * axis)


def forward_of(heading: Array) -> Array:
    """Unit vectors (..., 3) on the ground along `heading` (radians)."""
    return np.stack([np.cos(heading), np.sin(heading), np.zeros_like(heading)], axis=-1)


def left_of(heading: Array) -> Array:
    """Unit vectors (..., 3) on the ground to the left of `heading` (radians)."""
    return np.stack([-np.sin(heading), np.cos(heading), np.zeros_like(heading)], axis=-1)


def lift(ground: Array, height_m: float | Array) -> Array:
    """Points (..., 2) on the ground raised to `height_m`: (..., 3)."""
    height = np.broadcast_to(np.asarray(height_m, dtype=np.float64), ground.shape[:-1])
    return np.concatenate([ground, height[..., None]], axis=-1)


def blend(start: Array, end: Array, weight: Array) -> Array:
    """From `start` to `end` (T, ...) by `weight` (T,) in 0..1."""
    shaped = weight.reshape(weight.shape + (1,) * (start.ndim - weight.ndim))
    return (1.0 - shaped) * start + shaped * end


def two_bones(root: Array, goal: Array, upper_m: float, lower_m: float, pole: Array) -> tuple[Array, Array]:
    """Middle and end joint of a limb of two bones that reaches from `root` towards `goal`.

    The law of cosines places the middle joint in the plane that `pole` points into; a goal out of reach is met
    by the stretched limb in its direction.

    Args:
        root: shoulder or hip (T, 3).
        goal: where wrist or ankle should be (T, 3).
        upper_m: length of the bone at the root.
        lower_m: length of the bone at the end.
        pole: direction the elbow or knee bends to (T, 3).

    Returns:
        Middle and end joint, (T, 3) each.
    """
    span = goal - root
    reach = np.linalg.norm(span, axis=-1, keepdims=True)
    direction = span / np.maximum(reach, 1e-9)
    reach = np.clip(reach, abs(upper_m - lower_m) + 1e-3, upper_m + lower_m - 1e-3)
    along = (upper_m**2 - lower_m**2 + reach**2) / (2.0 * reach)
    across = np.sqrt(np.maximum(upper_m**2 - along**2, 0.0))
    return root + along * direction + across * without(pole, direction), root + reach * direction
