"""Which values the parameters of a scene take: one set for training, one held out that shares none of them.

Each parameter is a union of intervals. Those of `HELD_OUT` lie outside those of `TRAIN`, on both sides where both
sides are possible, so that a held-out clip is seen by a camera, shows bodies, and carries noise that no training
clip had.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    camera_height_m=((2.2, 4.5),),
    camera_distance_m=((3.2, 8.5),),
    vertical_view_deg=((34.0, 58.0),),
    body_height_m=((1.55, 1.90),),
    tempo=((0.80, 1.25),),
    frame_rate_hz=((16.0, 30.0),),
    jitter=((0.005, 0.018),),
    lag=((0.0, 0.35),),
    loss=((0.005, 0.06),),
)

HELD_OUT = SceneRanges(
    name="held_out",
    camera_height_m=((1.6, 2.1), (4.6, 6.0)),
    camera_distance_m=((2.7, 3.1), (8.7, 11.0)),
    vertical_view_deg=((30.0, 33.5), (58.5, 66.0)),
    body_height_m=((1.40, 1.54), (1.91, 2.05)),
    tempo=((0.70, 0.79), (1.26, 1.40)),
    frame_rate_hz=((13.0, 15.8), (30.5, 34.0)),
    jitter=((0.0183, 0.023),),
    lag=((0.36, 0.45),),
    loss=((0.062, 0.09),),
)


def draw(rng: np.random.Generator, spans: Spans) -> float:
    """A number from the union of `spans`, each span by its length."""
    lengths = np.array([high - low for low, high in spans])
    low, high = spans[int(rng.choice(len(spans), p=lengths / lengths.sum()))]
    return float(rng.uniform(low, high))
