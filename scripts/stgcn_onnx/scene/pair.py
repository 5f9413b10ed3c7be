"""Two people who face each other: where they stand over time, and events in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stgcn_onnx.scene.kinematics import Array
from stgcn_onnx.scene.motion import Stage, bump, ramp


@dataclass(frozen=True)
class Pair:
    """Paths (T, 2) and headings (T,) of two people; `axis` (T, 2) points from the first to the second."""

    paths: tuple[Array, Array]
    headings: tuple[Array, Array]
    axis: Array


def pair_up(stage: Stage, gap_m: Array, turn_rad: Array, shifts: tuple[Array, Array]) -> Pair:
    """Stand opposite each other around the origin.

    Args:
        stage: where it happens.
        gap_m: (T,) distance between the two.
        turn_rad: (T,) turning of their axis from its random first direction.
        shifts: for each a displacement (T, 2): along the axis away from the other, and across.
    """
    angle = stage.draw(0.0, 2.0 * np.pi) + turn_rad
    axis = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    across = np.stack([-axis[:, 1], axis[:, 0]], axis=1)
    first = -0.5 * gap_m[:, None] * axis - shifts[0][:, :1] * axis + shifts[0][:, 1:] * across
    second = 0.5 * gap_m[:, None] * axis + shifts[1][:, :1] * axis + shifts[1][:, 1:] * across
    towards = second - first
    facing = np.unwrap(np.arctan2(towards[:, 1], towards[:, 0]))
    return Pair((first, second), (facing, facing + np.pi), axis)


def moments(stage: Stage, rate_hz: float, first_s: float = 0.0) -> list[float]:
    """Irregular moments from `first_s` to the end, about `rate_hz` a second; one at least, early enough to be seen."""
    found = [first_s + stage.draw(0.0, min(0.6 / rate_hz, 0.4 * stage.duration_s))]
    while found[-1] < stage.duration_s:
        found.append(found[-1] + stage.draw(0.55, 1.6) / rate_hz)
    return found[:-1] if len(found) > 1 else found


def jolts(stage: Stage, at_s: list[float], size: float, *, lasting: float) -> Array:
    """Pushes (T,) of about `size` at the moments `at_s`; the share `lasting` of each stays, the rest swings back."""
    total = np.zeros_like(stage.times)
    for moment in at_s:
        push = size * stage.draw(0.5, 1.5)
        total += push * lasting * ramp(stage.times, moment, 0.25)
        total += push * (1.0 - lasting) * bump(stage.times, moment, 0.6, 0.25)
    return total
