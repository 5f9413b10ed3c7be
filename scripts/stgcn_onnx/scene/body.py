"""A person: bone lengths, the tracks that move them, and the 17 COCO joints that follow.

Proportions are fractions of the standing height from Drillis and Contini (1966) as given in Winter,
*Biomechanics and Motor Control of Human Movement*; each person varies around them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stgcn_onnx.scene.kinematics import UP, Array, blend, forward_of, left_of, two_bones, unit, without

LEFT, RIGHT = 0, 1

JOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
"""COCO's 17 joints in order."""

MIRROR = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
"""For each joint the one on the other side."""

_FRACTIONS = {
    "shoulders_m": 0.235, "hips_m": 0.135, "trunk_m": 0.288, "upper_arm_m": 0.186, "forearm_m": 0.150,
    "thigh_m": 0.245, "shin_m": 0.246, "ankle_m": 0.045, "head_m": 0.110,
}  # fmt: skip


@dataclass(frozen=True)
class Body:
    """Lengths of one person in metres."""

    height_m: float
    shoulders_m: float
    hips_m: float
    trunk_m: float
    upper_arm_m: float
    forearm_m: float
    thigh_m: float
    shin_m: float
    ankle_m: float
    head_m: float

    @property
    def hip_height_m(self) -> float:
        """Height of the pelvis above the ground in a relaxed stand (knees not quite straight)."""
        return self.ankle_m + 0.98 * (self.thigh_m + self.shin_m)

    @property
    def arm_m(self) -> float:
        """Shoulder to wrist with the arm stretched."""
        return self.upper_arm_m + self.forearm_m


def draw_body(rng: np.random.Generator, height_m: float) -> Body:
    """A person of this height whose proportions vary by some per cent."""
    lengths = {name: height_m * share * float(rng.normal(1.0, 0.04)) for name, share in _FRACTIONS.items()}
    breadth = float(rng.uniform(0.9, 1.15))
    lengths["shoulders_m"] *= breadth
    lengths["hips_m"] *= breadth
    return Body(height_m=height_m, **lengths)


@dataclass
class Tracks:
    """What a person does over T frames; actions change these before they are turned into joints.

    Attributes:
        pelvis: (T, 3) in the world.
        heading: (T,) radians, the way the hips face.
        lean: (T, 2) radians, of the trunk, forward and to the left.
        twist: (T,) radians, of the shoulders against the hips, positive to the left.
        nod: (T,) radians, of the head, positive forward.
        hands: (T, 2, 3) wrist from shoulder as (forward, outward, up) while nothing is reached for.
        hand_goal: (T, 2, 3) in the world, what a hand reaches for.
        hand_pull: (T, 2) from 0 (hands) to 1 (hand_goal).
        feet: (T, 2, 3) ankles in the world.
    """

    pelvis: Array
    heading: Array
    lean: Array
    twist: Array
    nod: Array
    hands: Array
    hand_goal: Array
    hand_pull: Array
    feet: Array


def joints_of(body: Body, tracks: Tracks) -> Array:
    """The 17 COCO joints in the world, (T, 17, 3)."""
    front, left = forward_of(tracks.heading), left_of(tracks.heading)
    sine, cosine = np.sin(tracks.lean), np.cos(tracks.lean)
    spine = unit(cosine[:, :1] * cosine[:, 1:] * UP + sine[:, :1] * front + sine[:, 1:] * left)
    hip_axis = without(left, spine)
    turned = np.cos(tracks.twist)[:, None] * left - np.sin(tracks.twist)[:, None] * front
    shoulder_axis = without(turned, spine)
    chest = np.cross(shoulder_axis, spine)
    neck = tracks.pelvis + body.trunk_m * spine
    out = np.empty((len(tracks.heading), len(JOINTS), 3))
    out[:, :5] = _face(body, neck, spine, chest, shoulder_axis, tracks.nod)
    for side, sign in ((LEFT, 1.0), (RIGHT, -1.0)):
        shoulder = neck + sign * 0.5 * body.shoulders_m * shoulder_axis
        relaxed = tracks.hands[:, side]
        hanging = shoulder + relaxed[:, :1] * front + sign * relaxed[:, 1:2] * left + relaxed[:, 2:] * UP
        goal = blend(hanging, tracks.hand_goal[:, side], tracks.hand_pull[:, side])
        elbow_pole = -UP - 0.6 * chest + 0.5 * sign * shoulder_axis
        elbow, wrist = two_bones(shoulder, goal, body.upper_arm_m, body.forearm_m, elbow_pole)
        hip = tracks.pelvis + sign * 0.5 * body.hips_m * hip_axis
        knee_pole = np.cross(hip_axis, spine) + 0.2 * sign * hip_axis
        knee, ankle = two_bones(hip, tracks.feet[:, side], body.thigh_m, body.shin_m, knee_pole)
        for joint, place in zip((5, 7, 9, 11, 13, 15), (shoulder, elbow, wrist, hip, knee, ankle), strict=True):
            out[:, joint + side] = place
    return out


def _face(body: Body, neck: Array, spine: Array, chest: Array, across: Array, nod: Array) -> Array:
    """Nose, eyes and ears (T, 5, 3) above `neck`."""
    crown = np.cos(nod)[:, None] * spine + np.sin(nod)[:, None] * chest
    ahead = np.cos(nod)[:, None] * chest - np.sin(nod)[:, None] * spine
    head, size = neck + body.head_m * crown, body.height_m
    eyes = head + 0.015 * size * crown + 0.045 * size * ahead
    ears = head + 0.008 * size * crown
    return np.stack(
        [
            head + 0.06 * size * ahead,
            eyes + 0.018 * size * across,
            eyes - 0.018 * size * across,
            ears + 0.042 * size * across,
            ears - 0.042 * size * across,
        ],
        axis=1,
    )
