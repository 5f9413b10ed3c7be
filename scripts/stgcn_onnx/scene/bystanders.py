"""People who have no part in what happens: they stand and watch, shift away, or walk through the picture."""

from __future__ import annotations

import numpy as np

from stgcn_onnx.scene.body import Body, Tracks
from stgcn_onnx.scene.motion import SIDES, Stage, hold, line, move, ramp, wander


def bystander(stage: Stage, body: Body) -> Tracks:
    """One person beside the action."""
    kind = stage.rng.choice(["watch", "leave", "pass"], p=[0.5, 0.15, 0.35])
    if kind == "pass":
        return _pass_by(stage, body)
    angle, distance_m = stage.draw(0.0, 2.0 * np.pi), stage.draw(1.2, 3.0)
    direction = np.array([np.cos(angle), np.sin(angle)])
    path = distance_m * direction + wander(stage, 0.04, 0.4)
    if kind == "leave":
        gone_m = stage.draw(0.5, 1.5) * stage.duration_s * ramp(stage.times, stage.draw(-0.5, 1.0), stage.duration_s)
        path = path + gone_m[:, None] * direction
    looks = angle + np.pi * (0.0 if kind == "leave" else 1.0) + stage.draw(-0.5, 0.5)
    me = move(stage, body, path, np.full_like(stage.times, looks))
    if stage.chance(0.3):
        for side in SIDES:
            hold(me, side, (0.25, -0.1, -0.3), np.ones_like(stage.times))
    return me


def _pass_by(stage: Stage, body: Body) -> Tracks:
    """Walk on a straight line that passes the action at one to three metres."""
    angle, speed = stage.draw(0.0, 2.0 * np.pi), stage.draw(0.7, 1.7)
    velocity = speed * np.array([np.cos(angle), np.sin(angle)])
    beside = stage.draw(1.0, 3.0) * np.array([-np.sin(angle), np.cos(angle)])
    start = beside - velocity * stage.duration_s * stage.draw(-0.2, 1.2)
    return move(stage, body, line(stage, start, velocity), np.full_like(stage.times, angle))
