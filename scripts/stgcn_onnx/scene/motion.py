"""How anybody moves: curves over time, gait along a path, reaching, kicking, falling.

Times are in seconds of the motion, (T,); amplitudes in metres and radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stgcn_onnx.scene.body import LEFT, RIGHT, Body, Tracks
from stgcn_onnx.scene.kinematics import UP, Array, blend, forward_of, left_of, lift

SIDES = (LEFT, RIGHT)


@dataclass(frozen=True)
class Stage:
    """Where an action is played.

    Attributes:
        rng: source of every choice.
        times: (T,) seconds.
    """

    rng: np.random.Generator
    times: Array

    @property
    def duration_s(self) -> float:
        """Length of the action."""
        return float(self.times[-1])

    def draw(self, low: float, high: float) -> float:
        """A number between `low` and `high`."""
        return float(self.rng.uniform(low, high))

    def side(self) -> int:
        """The right hand or foot more often than the left."""
        return RIGHT if self.rng.random() < 0.7 else LEFT

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)


def ramp(times: Array, start_s: float, length_s: float) -> Array:
    """0 before `start_s`, 1 after `length_s` more, a smooth step between."""
    part = np.clip((times - start_s) / max(length_s, 1e-6), 0.0, 1.0)
    return part * part * (3.0 - 2.0 * part)


def bump(times: Array, start_s: float, length_s: float, peak: float = 0.35) -> Array:
    """0, up to 1 at the fraction `peak` of `length_s`, back to 0."""
    return ramp(times, start_s, peak * length_s) - ramp(times, start_s + peak * length_s, (1.0 - peak) * length_s)


def wander(stage: Stage, size: float, bandwidth_hz: float, dims: int = 2) -> Array:
    """Smooth random motion (T, dims) of standard deviation about `size`: six sines up to `bandwidth_hz`."""
    waves = 6
    frequency_hz = stage.rng.uniform(0.1, 1.0, (waves, dims)) * bandwidth_hz
    phase = stage.rng.uniform(0.0, 2.0 * np.pi, (waves, dims))
    angle = 2.0 * np.pi * stage.times[:, None, None] * frequency_hz + phase  # (T, 1, 1) -> (T, waves, dims)
    summed: Array = np.sin(angle).sum(axis=1)  # (T, waves, dims) -> (T, dims)
    return size * float(np.sqrt(2.0 / waves)) * summed


def line(stage: Stage, start: Array, velocity: Array) -> Array:
    """A path (T, 2) from `start` (2,) at constant `velocity` (2,) in m/s."""
    return start + stage.times[:, None] * velocity


def move(stage: Stage, body: Body, path: Array, heading: Array) -> Tracks:
    """Stand, walk or run along `path` (T, 2) facing `heading` (T,): the gait follows from the speed.

    Feet swing as sines tied to the distance gone, arms against them; above 2 m/s the elbows bend and the trunk
    leans, as in running.
    """
    step_s = float(stage.times[1] - stage.times[0])
    velocity = np.gradient(path, step_s, axis=0)
    speed = np.linalg.norm(velocity, axis=1)
    going = np.clip(speed / 0.35, 0.0, 1.0)[:, None]
    run = np.clip((speed - 2.0) / 1.5, 0.0, 1.0)
    travel = velocity / np.maximum(speed, 1e-6)[:, None]
    stride = 0.8 + 0.45 * speed
    phase = stage.draw(0.0, 2.0 * np.pi) + np.cumsum(2.0 * np.pi * speed * step_s / stride)
    left = left_of(heading)[:, :2]
    feet, hands = np.empty((len(path), 2, 3)), np.empty((len(path), 2, 3))
    stance = stage.draw(0.9, 1.8)
    for side, sign in ((LEFT, 1.0), (RIGHT, -1.0)):
        swing = phase + np.pi * side
        ahead = going * (0.25 * stride * np.cos(swing))[:, None] * travel
        ground = path + sign * 0.5 * stance * body.hips_m * left + ahead
        rise = going[:, 0] * np.maximum(-np.sin(swing), 0.0) * (0.06 + 0.09 * np.minimum(speed, 3.5))
        feet[:, side] = lift(ground, body.ankle_m + rise)
        hands[:, side, 0] = 0.05 - going[:, 0] * np.cos(swing) * (0.10 + 0.05 * speed) + 0.15 * run
        hands[:, side, 1] = 0.06
        hands[:, side, 2] = -body.arm_m * (0.95 - 0.45 * run)
    hands += wander(stage, 0.015, 0.6, 6).reshape(-1, 2, 3)
    bob = 0.02 * going[:, 0] * np.cos(2.0 * phase) - 0.03 * run
    lean = wander(stage, 0.03, 0.4) + np.stack([0.04 * speed, np.zeros_like(speed)], axis=1)
    return Tracks(
        pelvis=lift(path, body.hip_height_m - 0.02 + bob),
        heading=heading,
        lean=lean,
        twist=wander(stage, 0.06, 0.5, 1)[:, 0] + 0.12 * going[:, 0] * np.cos(phase),
        nod=wander(stage, 0.08, 0.5, 1)[:, 0] + 0.1,
        hands=hands,
        hand_goal=np.zeros_like(hands),
        hand_pull=np.zeros(hands.shape[:2]),
        feet=feet,
    )


def hold(tracks: Tracks, side: int, offset: tuple[float, float, float], weight: Array) -> None:
    """Bring a hand to `offset` (forward, outward, up) from its shoulder, by `weight` (T,)."""
    tracks.hands[:, side] = blend(tracks.hands[:, side], np.broadcast_to(offset, tracks.hands[:, side].shape), weight)


def reach(tracks: Tracks, side: int, goal: Array, weight: Array) -> None:
    """Pull a hand to `goal` (T, 3) by `weight` (T,); an earlier, stronger pull stays."""
    stronger = weight > tracks.hand_pull[:, side]
    tracks.hand_goal[stronger, side] = goal[stronger]
    tracks.hand_pull[stronger, side] = weight[stronger]


def step_to(tracks: Tracks, side: int, goal: Array, weight: Array) -> None:
    """Pull a foot to `goal` (T, 3) by `weight` (T,)."""
    tracks.feet[:, side] = blend(tracks.feet[:, side], goal, weight)


def crouch(tracks: Tracks, depth_m: Array) -> None:
    """Lower the pelvis by `depth_m` (T,); the knees follow."""
    tracks.pelvis[:, 2] -= depth_m


def fall(stage: Stage, body: Body, tracks: Tracks, weight: Array, *, forward: bool) -> None:
    """Go down on the ground by `weight` (T,): trunk level, legs drawn up, hands before the face."""
    sign = 1.0 if forward else -1.0
    angle = sign * stage.draw(1.15, 1.5)
    sideways = stage.draw(-0.5, 0.5)
    tracks.lean = blend(tracks.lean, np.broadcast_to([angle, sideways], tracks.lean.shape), weight)
    lying = tracks.pelvis.copy()
    lying[:, 2] = stage.draw(0.12, 0.25)
    tracks.pelvis = blend(tracks.pelvis, lying, weight)
    front, left = forward_of(tracks.heading), left_of(tracks.heading)
    legs_m = stage.draw(0.45, 0.95) * (body.thigh_m + body.shin_m)
    for side, out in ((LEFT, 1.0), (RIGHT, -1.0)):
        ankle = tracks.pelvis - sign * legs_m * stage.draw(0.8, 1.0) * front + out * stage.draw(0.05, 0.25) * left
        ankle[:, 2] = body.ankle_m + 0.05
        step_to(tracks, side, ankle, weight)
    tracks.nod = blend(tracks.nod, np.full_like(tracks.nod, 0.5), weight)


def head_of(body: Body, tracks: Tracks) -> Array:
    """Roughly the middle of the head (T, 3): what blows aim at."""
    tilt = tracks.lean
    spine = np.cos(tilt[:, :1]) * UP + np.sin(tilt[:, :1]) * forward_of(tracks.heading)
    return tracks.pelvis + (body.trunk_m + body.head_m) * spine


def chest_of(body: Body, tracks: Tracks) -> Array:
    """The middle of the chest (T, 3)."""
    spine = np.cos(tracks.lean[:, :1]) * UP + np.sin(tracks.lean[:, :1]) * forward_of(tracks.heading)
    return tracks.pelvis + 0.75 * body.trunk_m * spine
