"""Skeleton clips as MMAction2 annotations, every one determined by its seed.

``generate_clip(7, "hug")`` is the same clip on every call: each clip has a generator of its own, started from its
seed, and nothing here draws from anywhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stgcn_onnx.errors import UsageError
from stgcn_onnx.scene.body import draw_body, joints_of
from stgcn_onnx.scene.bystanders import bystander
from stgcn_onnx.scene.camera import draw_camera
from stgcn_onnx.scene.detector import detect
from stgcn_onnx.scene.fights import FIGHTS
from stgcn_onnx.scene.kinematics import Array
from stgcn_onnx.scene.lookalikes import LOOKALIKES
from stgcn_onnx.scene.motion import Stage
from stgcn_onnx.scene.ranges import HELD_OUT, TRAIN, SceneRanges, draw
from stgcn_onnx.scene.tracker import MAX_SLOTS, track

NORMAL, FIGHT = 0, 1

ACTIONS: tuple[str, ...] = (*FIGHTS, *LOOKALIKES)
"""Every kind of action, fights first."""

SPLITS = {"train": (1, TRAIN, (30, 60)), "val": (2, TRAIN, (30, 130)), "test": (3, HELD_OUT, (30, 130))}
"""Of each split the branch of the seed, the ranges of its scenes, and the shortest and longest clip in frames."""

_SALT = 0x5CE7E
_TRIES = 40

Annotation = dict[str, Any]


@dataclass(frozen=True)
class DatasetSize:
    """Clips of each split."""

    train: int
    val: int
    test: int


def label_of(action: str) -> int:
    """1 for a fight, 0 for anything else.

    Raises:
        UsageError: when no action has this name.
    """
    if action not in ACTIONS:
        raise UsageError(f"action: {action!r} is not known", hint=f"use one of {', '.join(ACTIONS)}")
    return FIGHT if action in FIGHTS else NORMAL


def generate_clip(
    seed: int,
    action: str | None = None,
    num_frames: int = 100,
    *,
    ranges: SceneRanges = TRAIN,
    frame_dir: str | None = None,
) -> Annotation:
    """One clip.

    Args:
        seed: determines the clip together with the other arguments.
        action: one of `ACTIONS`; drawn, with fights and others equally likely, when None.
        num_frames: length T of the clip, 2 at least.
        ranges: what the parameters of the scene may be.
        frame_dir: name of the clip; made of action and seed when None.

    Returns:
        An MMAction2 annotation: ``frame_dir``, ``label``, ``img_shape``, ``original_shape``, ``total_frames``,
        ``keypoint`` float16 (M, T, 17, 2) in pixels, ``keypoint_score`` float16 (M, T, 17), with 1 to 4 slots M,
        and the ``action``.

    Raises:
        UsageError: for an unknown action or fewer than 2 frames.
    """
    if num_frames < 2:
        raise UsageError(f"num_frames: expected 2 at least, found {num_frames}", hint="ask for a longer clip")
    rng = np.random.default_rng([_SALT, seed])
    kind = action if action is not None else _draw_action(rng)
    label = label_of(kind)
    image_shape, pixels, scores = _film(rng, ranges, kind, num_frames)
    return {
        "frame_dir": frame_dir if frame_dir is not None else f"{kind}_{seed}",
        "label": label,
        "img_shape": image_shape,
        "original_shape": image_shape,
        "total_frames": num_frames,
        "keypoint": pixels.astype(np.float16),
        "keypoint_score": scores.astype(np.float16),
        "action": kind,
    }


def generate_dataset(size: DatasetSize, seed: int = 0) -> dict[str, Any]:
    """A data set in MMAction2's format.

    Train and val draw from `TRAIN`, test from `HELD_OUT`; every clip of every split has a seed of its own. Kinds
    take turns, so that each split holds as many fights as other clips and every kind equally often within its
    class.

    Returns:
        ``{"split": {name: [frame_dir, ...]}, "annotations": [annotation, ...]}``.
    """
    split: dict[str, list[str]] = {}
    annotations: list[Annotation] = []
    for name, (branch, ranges, lengths) in SPLITS.items():
        clips = generate_clips(name, int(getattr(size, name)), (seed, branch), ranges, lengths)
        split[name] = [clip["frame_dir"] for clip in clips]
        annotations += clips
    return {"split": split, "annotations": annotations}


def generate_clips(
    name: str, count: int, seed: tuple[int, ...], ranges: SceneRanges, lengths: tuple[int, int] = (30, 130)
) -> list[Annotation]:
    """Clips called `name` and a number, each with a seed of its own that branches from `seed`.

    Args:
        name: first part of every ``frame_dir``.
        count: number of clips; fights and others alternate, within each the kinds take turns.
        seed: where the clips' own seeds branch from.
        ranges: what the parameters of the scenes may be.
        lengths: shortest and longest clip in frames.
    """
    clips = []
    for index in range(count):
        own = np.random.SeedSequence([_SALT, *seed, index])
        clip_seed = int(own.generate_state(1, np.uint64)[0])
        frames = int(np.random.default_rng(own).integers(lengths[0], lengths[1] + 1))
        frame_dir = f"{name}_{index:05d}"
        clips.append(generate_clip(clip_seed, _kind_in_turn(index), frames, ranges=ranges, frame_dir=frame_dir))
    return clips


def _kind_in_turn(index: int) -> str:
    """Fights and others alternate; within each the kinds take turns."""
    kinds = tuple(FIGHTS) if index % 2 else tuple(LOOKALIKES)
    return kinds[(index // 2) % len(kinds)]


def _draw_action(rng: np.random.Generator) -> str:
    kinds = tuple(FIGHTS) if rng.random() < 0.5 else tuple(LOOKALIKES)
    return kinds[int(rng.integers(len(kinds)))]


def _film(
    rng: np.random.Generator, ranges: SceneRanges, kind: str, num_frames: int
) -> tuple[tuple[int, int], Array, Array]:
    """Scenes until one shows enough: image shape, pixels (M, T, 17, 2), scores (M, T, 17)."""
    for _ in range(_TRIES):
        image_shape, pixels, scores = _take(rng, ranges, kind, num_frames)
        if len(pixels):
            return image_shape, pixels, scores
    raise RuntimeError(f"none of {_TRIES} scenes of {kind!r} shows those who act")


def _take(
    rng: np.random.Generator, ranges: SceneRanges, kind: str, num_frames: int
) -> tuple[tuple[int, int], Array, Array]:
    """One scene, played, filmed and tracked; no slots (M = 0) when those who act are hardly in the picture."""
    joints, actors = _play(rng, ranges, kind, num_frames)
    camera = draw_camera(rng, ranges)
    seen = detect(rng, ranges, camera, joints)
    shown = seen.inside[:actors].mean(axis=1)
    enough = 0.3 if kind in ("run_past", "push_trolley") else 0.7
    if np.sort(shown)[-min(actors, 2)] < enough:
        return camera.image_shape, np.zeros((0, num_frames, 17, 2)), np.zeros((0, num_frames, 17))
    return camera.image_shape, *track(rng, ranges, seen)


def _play(rng: np.random.Generator, ranges: SceneRanges, kind: str, num_frames: int) -> tuple[Array, int]:
    """Joints (P, T, 17, 3) of everybody in the world, those who act first, and how many of them act."""
    total = int(rng.choice([1, 2, 3, 4], p=[0.2, 0.4, 0.23, 0.17]))
    action, fewest, most = LOOKALIKES[kind] if kind in LOOKALIKES else (FIGHTS[kind], 2, 3)
    actors = int(rng.integers(fewest, max(fewest, min(most, total)) + 1))
    step_s = draw(rng, ranges.tempo) / draw(rng, ranges.frame_rate_hz)
    stage = Stage(rng, step_s * np.arange(num_frames, dtype=np.float64))
    bodies = [draw_body(rng, draw(rng, ranges.body_height_m)) for _ in range(max(total, actors))]
    people = action(stage, bodies[:actors])
    people += [bystander(stage, body) for body in bodies[actors:]]
    assert len(people) <= MAX_SLOTS
    return np.stack([joints_of(body, tracks) for body, tracks in zip(bodies, people, strict=True)]), actors
