"""Which values the parameters of a scene take: one set for training, one held out that shares none of them.

Each parameter is a union of intervals. Those of `HELD_OUT` lie outside those of `TRAIN`, on both sides where both
sides are possible, so that a held-out clip is seen by a camera, shows bodies, and carries noise that no training
clip had.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

Spans = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class SceneRanges:
    """Intervals of every parameter of a scene.

    Attributes:
        name: for the annotation's own record.
        camera_height_m: above the ground.
        camera_distance_m: along the ground to the action.
        vertical_view_deg: field of view, top to bottom.
        body_height_m: standing height.
        tempo: speed of the motion against its natural speed.
        frame_rate_hz: frames of the video a second.
        jitter: standard deviation of a well-seen joint, as a fraction of the person's height.
        lag: share of the last frame's place that the tracker's smoothing keeps.
        loss: probability that a tracked person is lost in a frame, while well seen.
    """

    name: str
    camera_height_m: Spans
    camera_distance_m: Spans
    vertical_view_deg: Spans
    body_height_m: Spans
    tempo: Spans
    frame_rate_hz: Spans
    jitter: Spans
    lag: Spans
    loss: Spans


TRAIN = SceneRanges(
    name="train",
    camera_height_m=((2.0, 5.0),),
    camera_distance_m=((2.8, 10.0),),
    vertical_view_deg=((30.0, 62.0),),
    body_height_m=((1.50, 1.95),),
    tempo=((0.75, 1.35),),
    frame_rate_hz=((12.5, 31.0),),
    jitter=((0.005, 0.018),),
    lag=((0.0, 0.40),),
    loss=((0.0, 0.08),),
)

HELD_OUT = SceneRanges(
    name="held_out",
    camera_height_m=((1.6, 1.95), (5.05, 6.0)),
    camera_distance_m=((2.4, 2.75), (10.1, 12.0)),
    vertical_view_deg=((27.0, 29.5), (62.5, 68.0)),
    body_height_m=((1.35, 1.49), (1.96, 2.08)),
    tempo=((0.65, 0.74), (1.36, 1.50)),
    frame_rate_hz=((11.0, 12.3), (31.5, 36.0)),
    jitter=((0.0183, 0.022),),
    lag=((0.41, 0.48),),
    loss=((0.082, 0.10),),
)


GROUPS = {
    "camera": ("camera_height_m", "camera_distance_m", "vertical_view_deg"),
    "bodies": ("body_height_m",),
    "speed": ("tempo", "frame_rate_hz"),
    "tracker": ("jitter", "lag", "loss"),
}
"""The parameters by what they are about."""


def held_out_alone(group: str) -> SceneRanges:
    """Ranges as in training, but those of one of `GROUPS` held out."""
    spans: dict[str, Spans] = {name: getattr(HELD_OUT, name) for name in GROUPS[group]}
    return replace(TRAIN, name=f"held_out_{group}", **spans)


def draw(rng: np.random.Generator, spans: Spans) -> float:
    """A number from the union of `spans`, each span by its length."""
    lengths = np.array([high - low for low, high in spans])
    low, high = spans[int(rng.choice(len(spans), p=lengths / lengths.sum()))]
    return float(rng.uniform(low, high))
