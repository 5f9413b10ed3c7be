"""A pinhole camera as surveillance cameras hang: above head height, tilted down, wide, a little off level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stgcn_onnx.scene.kinematics import UP, Array, unit
from stgcn_onnx.scene.ranges import SceneRanges, draw

IMAGE_SHAPES = ((360, 640), (360, 480), (360, 626), (720, 1280), (1080, 1920), (240, 426), (480, 848), (576, 704))
"""Height and width in pixels of common surveillance video."""

_SHARES = (0.40, 0.15, 0.08, 0.16, 0.07, 0.05, 0.05, 0.04)


@dataclass(frozen=True)
class Camera:
    """Where it is, its axes (right, down, forward; rows) and its focal length in pixels."""

    position: Array
    axes: Array
    focal_px: float
    image_shape: tuple[int, int]

    def project(self, points: Array) -> tuple[Array, Array]:
        """Pixels (..., 2) and depth in metres (...) of world points (..., 3).

        Points behind the camera have no image: their pixels are NaN.
        """
        seen = (points - self.position) @ self.axes.T
        depth = seen[..., 2]
        safe = np.where(depth > 0.2, depth, np.nan)
        height, width = self.image_shape
        pixels = seen[..., :2] / safe[..., None] * self.focal_px + np.array([0.5 * width, 0.5 * height])
        return pixels, depth


def draw_camera(rng: np.random.Generator, ranges: SceneRanges) -> Camera:
    """A camera that looks roughly at the origin, where the action is."""
    image_shape = IMAGE_SHAPES[int(rng.choice(len(IMAGE_SHAPES), p=_SHARES))]
    height_m, distance_m = draw(rng, ranges.camera_height_m), draw(rng, ranges.camera_distance_m)
    bearing = rng.uniform(0.0, 2.0 * np.pi)
    position = np.array([distance_m * np.cos(bearing), distance_m * np.sin(bearing), height_m])
    half_view = np.radians(0.5 * draw(rng, ranges.vertical_view_deg))
    spread = 0.45 * distance_m * np.tan(half_view)
    target = np.array([*rng.normal(0.0, spread, 2), rng.uniform(0.6, 1.3)])
    forward = unit(target - position)
    right = unit(np.cross(forward, UP))
    down = np.cross(forward, right)
    roll = np.radians(rng.normal(0.0, 2.0))
    axes = np.stack([np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right, forward])
    focal_px = 0.5 * image_shape[0] / float(np.tan(half_view))
    return Camera(position, axes, focal_px, image_shape)
