"""What a pose network makes of people in a picture: scores, jitter, wrong joints, sides swapped, joints missing.

The figures follow MoveNet MultiPose on surveillance video: every joint of a found person has a place, the mean
score is about 0.4, a joint that is hidden or unsure has a low score and an error that grows as the score falls.
Some networks report such a joint as (0, 0) instead; a share of the clips has that as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stgcn_onnx.scene.body import MIRROR
from stgcn_onnx.scene.camera import Camera
from stgcn_onnx.scene.kinematics import Array
from stgcn_onnx.scene.ranges import SceneRanges, draw

USUAL_SCORE = np.array(
    [0.43, 0.42, 0.42, 0.44, 0.44, 0.52, 0.52, 0.38, 0.38, 0.31, 0.31, 0.57, 0.57, 0.42, 0.42, 0.38, 0.38]
)
"""Mean score of each COCO joint when nothing is in the way."""

_PARENT = np.array([0, 0, 0, 1, 2, 6, 5, 5, 6, 7, 8, 12, 11, 11, 12, 13, 14])
_ARMS, _LEGS = (5, 7, 9), (11, 13, 15)
_ZERO_STYLE = 0.12
_MARGIN = 0.15


@dataclass(frozen=True)
class Detections:
    """People found in each frame.

    Attributes:
        pixels: (P, T, 17, 2).
        scores: (P, T, 17) in 0..1.
        inside: (P, T) whether the camera shows enough of the person to be found.
        hidden: (P, T) share of the person's joints that somebody nearer covers.
    """

    pixels: Array
    scores: Array
    inside: npt.NDArray[np.bool_]
    hidden: Array


def detect(rng: np.random.Generator, ranges: SceneRanges, camera: Camera, joints: Array) -> Detections:
    """Observe `joints` (P, T, 17, 3) in the world through `camera`.

    Returns:
        The detections; people outside the picture or behind the camera are not `inside`.
    """
    pixels, depth = camera.project(joints)
    height, width = camera.image_shape
    within = np.all((pixels >= 0.0) & (pixels <= np.array([width, height])), axis=-1)
    inside = (within.mean(axis=-1) >= 0.55) & (depth.min(axis=-1) > 0.5)
    exact = np.nan_to_num(pixels, nan=0.0)
    tall = _person_size(exact, inside)
    covered = _covered(exact, depth, inside)
    scores = _scores(rng, depth, covered, tall / height)
    placed = _wrong_joints(rng, _swap_sides(rng, exact), scores, tall)
    placed = placed + _jitter(rng, ranges, scores, tall, height)
    placed = np.clip(placed, -_MARGIN * tall[..., None], np.array([width, height]) + _MARGIN * tall[..., None])
    placed, scores = _missing(rng, placed, scores, tall)
    return Detections(placed, scores, inside, covered.mean(axis=-1))


def _person_size(pixels: Array, inside: npt.NDArray[np.bool_]) -> Array:
    """Typical extent of each person in pixels (P, 1, 1): median over frames of the larger side of the box."""
    extent = np.ptp(pixels, axis=2).max(axis=-1)  # (P, T, 17, 2) -> (P, T)
    sizes = [float(np.median(row[seen])) if seen.any() else 1.0 for row, seen in zip(extent, inside, strict=True)]
    tall: Array = np.maximum(np.array(sizes), 1.0)[:, None, None]
    return tall


def _covered(pixels: Array, depth: Array, inside: npt.NDArray[np.bool_]) -> Array:
    """1 where a joint lies in the box of somebody nearer to the camera (P, T, 17)."""
    covered = np.zeros(depth.shape)
    low, high = pixels.min(axis=2), pixels.max(axis=2)
    nearness = depth.mean(axis=-1)
    for me in range(len(pixels)):
        for other in range(len(pixels)):
            if me == other:
                continue
            in_front = inside[other] & (nearness[other] < nearness[me] - 0.1)
            in_box = np.all((pixels[me] > low[other][:, None]) & (pixels[me] < high[other][:, None]), axis=-1)
            covered[me] = np.maximum(covered[me], in_box & in_front[:, None])
    return covered


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], keep: float) -> Array:
    """Gaussian noise of unit variance whose frames (axis 1) are correlated by `keep`."""
    noise = rng.standard_normal(shape)
    fresh = np.sqrt(1.0 - keep**2)
    for frame in range(1, shape[1]):
        noise[:, frame] = keep * noise[:, frame - 1] + fresh * noise[:, frame]
    return noise


def _scores(rng: np.random.Generator, depth: Array, covered: Array, share_of_picture: Array) -> Array:
    """Scores (P, T, 17): lower for joints behind the own body, behind others, and of people far away."""
    people, frames, count = depth.shape
    behind = np.clip((depth - depth.mean(axis=-1, keepdims=True)) / 0.4, -0.5, 1.0)
    far = np.clip(0.25 - share_of_picture, 0.0, 0.25)
    person = rng.normal(0.0, 0.06, (people, 1, 1))
    scores = USUAL_SCORE + person - 0.08 * behind - 0.14 * covered - 0.4 * far
    scores = scores + 0.09 * _smooth_noise(rng, (people, frames, count), 0.85)
    clipped: Array = np.clip(scores, 0.02, 0.95)
    return clipped


def _jitter(rng: np.random.Generator, ranges: SceneRanges, scores: Array, tall: Array, height: int) -> Array:
    """Displacements (P, T, 17, 2) in pixels, heavy-tailed, growing with distance and as the score falls."""
    relative = draw(rng, ranges.jitter) * (0.7 + 0.09 * height / tall) * np.exp(3.0 * (0.45 - scores))
    shape = (*scores.shape, 2)
    slow = _smooth_noise(rng, shape, 0.8)
    fast = rng.standard_t(4.0, shape) / np.sqrt(2.0)
    moved: Array = (relative * tall)[..., None] * (0.6 * slow + 0.8 * np.clip(fast, -8.0, 8.0))
    return moved


def _swap_sides(rng: np.random.Generator, pixels: Array) -> Array:
    """Left and right of arms or legs exchanged for a few frames, now and then."""
    out = pixels.copy()
    people, frames = pixels.shape[:2]
    for person in range(people):
        for _ in range(int(rng.poisson(0.02 * frames))):
            start, length = int(rng.integers(frames)), int(rng.integers(1, 8))
            group = (_ARMS, _LEGS, _ARMS + _LEGS)[int(rng.integers(3))]
            left = np.array(group)
            span = slice(start, start + length)
            out[person, span, left], out[person, span, left + 1] = (
                out[person, span, left + 1].copy(),
                out[person, span, left].copy(),
            )
    return out


def _wrong_joints(rng: np.random.Generator, pixels: Array, scores: Array, tall: Array) -> Array:
    """Unsure joints jump to the other side, to the joint before them, or to those of somebody near."""
    out = pixels.copy()
    start = rng.random(scores.shape) < 0.10 * np.exp(-scores / 0.12)
    again = start & (rng.random(scores.shape) < 0.6)
    start[:, 1:] |= again[:, :-1]
    choice = rng.integers(0, 3, scores.shape)
    mirrored, parent = pixels[:, :, list(MIRROR)], pixels[:, :, _PARENT]
    other = np.roll(pixels, 1, axis=0)
    near = np.linalg.norm((other - pixels).mean(axis=2), axis=-1) < 0.6 * tall[:, :, 0]  # (P, T, 17, 2) -> (P, T)
    other = np.where(near[:, :, None, None], other, mirrored)
    for number, source in enumerate((mirrored, parent, other)):
        chosen = start & (choice == number)
        out[chosen] = source[chosen]
    return out


def _missing(rng: np.random.Generator, pixels: Array, scores: Array, tall: Array) -> tuple[Array, Array]:
    """Joints not found: a guess far off with a low score, or zeros in the clips of such a network."""
    out, low = pixels.copy(), scores.copy()
    lost = rng.random(scores.shape) < 0.05 * np.exp(-scores / 0.15)
    lost[:, 1:] |= lost[:, :-1] & (rng.random(lost[:, 1:].shape) < 0.5)
    out += lost[..., None] * rng.normal(0.0, 0.12, pixels.shape) * tall[..., None]
    low[lost] = rng.uniform(0.02, 0.15, int(lost.sum()))
    if rng.random() < _ZERO_STYLE:
        out[lost] = 0.0
        low[lost] = 0.0
    return out, low
