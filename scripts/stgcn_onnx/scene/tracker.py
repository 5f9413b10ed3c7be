"""What a tracker makes of detections: smoothing that lags, people lost for frames, broken and exchanged tracks.

Slots come out as in the clips of real trackers: an absent person is all zeros, the slot seen longest is first,
tracks shorter than a tenth of the clip are dropped, four at most stay.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stgcn_onnx.scene.detector import Detections
from stgcn_onnx.scene.kinematics import Array
from stgcn_onnx.scene.ranges import SceneRanges, draw

MAX_SLOTS = 4

_NEW_TRACK = 0.06
_EXCHANGE = 0.15
_OVERLOOKED = 0.1
_SHORTEST_SHARE = 0.1

Mask = npt.NDArray[np.bool_]


def track(rng: np.random.Generator, ranges: SceneRanges, seen: Detections) -> tuple[Array, Array]:
    """Slots of a clip from its detections.

    Returns:
        Pixels (M, T, 17, 2) and scores (M, T, 17) with 0 to 4 slots, zeros where a slot is empty.
    """
    present = _present(rng, ranges, seen)
    smooth = _smooth(seen.pixels, present, draw(rng, ranges.lag))
    owners = _break_and_exchange(rng, smooth, present)
    slots = [_slot(smooth, seen.scores, owner) for owner in owners]
    shares = np.array([float((owner >= 0).mean()) for owner in owners])
    order = [index for index in np.argsort(-shares, kind="stable") if shares[index] >= _SHORTEST_SHARE][:MAX_SLOTS]
    frames, joints = seen.scores.shape[1:]
    if not order:
        return np.zeros((0, frames, joints, 2)), np.zeros((0, frames, joints))
    return np.stack([slots[index][0] for index in order]), np.stack([slots[index][1] for index in order])


def _present(rng: np.random.Generator, ranges: SceneRanges, seen: Detections) -> Mask:
    """Who is found in which frame (P, T): runs of losses, likelier where hidden, lost frames, somebody overlooked."""
    people, frames = seen.inside.shape
    loss = draw(rng, ranges.loss)
    habit = np.exp(rng.normal(0.0, 0.7, (people, 1)))
    chance = np.clip(loss * habit * (1.0 + 6.0 * seen.hidden), 0.0, 0.5)
    present = seen.inside.copy()
    for person in range(people):
        for frame in np.flatnonzero(rng.random(frames) < chance[person]):
            present[person, frame : frame + int(rng.geometric(0.35))] = False
    present[:, rng.random(frames) < 0.3 * loss] = False
    if people > 1 and rng.random() < _OVERLOOKED:
        present[int(rng.integers(people))] = False
    return present


def _smooth(pixels: Array, present: Mask, lag: float) -> Array:
    """Exponential smoothing along the frames of a run: each place keeps the share `lag` of the one before."""
    out = pixels.copy()
    for frame in range(1, pixels.shape[1]):
        going = present[:, frame] & present[:, frame - 1]
        out[going, frame] = lag * out[going, frame - 1] + (1.0 - lag) * pixels[going, frame]
    return out


def _break_and_exchange(rng: np.random.Generator, pixels: Array, present: Mask) -> list[npt.NDArray[np.int64]]:
    """For each track the person it follows in every frame (T,), -1 where none."""
    people, frames = present.shape
    followed = [np.where(present[person], person, -1) for person in range(people)]
    for first in range(people):
        for second in range(first + 1, people):
            both = np.flatnonzero(present[first] & present[second])
            if len(both) < 2 or rng.random() >= _EXCHANGE:
                continue
            gap = np.linalg.norm((pixels[first] - pixels[second]).mean(axis=1)[both], axis=-1)
            frame = int(both[int(gap.argmin())])
            followed[first][frame:], followed[second][frame:] = (
                followed[second][frame:].copy(),
                followed[first][frame:].copy(),
            )
    tracks: list[npt.NDArray[np.int64]] = []
    for row in followed:
        tracks.extend(_break(rng, row, frames))
    return tracks


def _break(rng: np.random.Generator, row: npt.NDArray[np.int64], frames: int) -> list[npt.NDArray[np.int64]]:
    """Cut a track where a person comes back: sometimes as somebody new."""
    parts, current = [], np.full(frames, -1, dtype=np.int64)
    for frame in range(frames):
        came_back = frame > 0 and row[frame] >= 0 and row[frame - 1] < 0 and bool((current >= 0).any())
        if came_back and rng.random() < _NEW_TRACK:
            parts.append(current)
            current = np.full(frames, -1, dtype=np.int64)
        current[frame] = row[frame]
    return [*parts, current]


def _slot(pixels: Array, scores: Array, owner: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """One slot's pixels (T, 17, 2) and scores (T, 17)."""
    frames = np.arange(len(owner))
    on = owner >= 0
    keypoint = np.where(on[:, None, None], pixels[owner, frames], 0.0)
    return keypoint, np.where(on[:, None], scores[owner, frames], 0.0)
