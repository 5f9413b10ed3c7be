"""Detector and tracker: noise that grows as scores fall, swaps, missing joints, slots as real trackers leave them."""

from __future__ import annotations

import numpy as np
import pytest

from stgcn_onnx.scene.camera import Camera
from stgcn_onnx.scene.detector import Detections, detect
from stgcn_onnx.scene.kinematics import Array
from stgcn_onnx.scene.ranges import HELD_OUT, TRAIN, draw
from stgcn_onnx.scene.tracker import MAX_SLOTS, track

FRAMES = 200


def camera(distance_m: float = 5.0) -> Camera:
    return Camera(np.array([-distance_m, 0.0, 1.0]), np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]), 400.0, (360, 640))


def statues(people: int, apart_m: float = 1.5) -> Array:
    """People who do not move: (P, T, 17, 3), a column of joints each, spread a little."""
    column = np.stack([np.zeros(17), np.linspace(-0.2, 0.2, 17), np.linspace(1.7, 0.1, 17)], axis=1)
    places = np.array([[0.0, apart_m * (index - 0.5 * (people - 1)), 0.0] for index in range(people)])
    return np.broadcast_to((column + places[:, None])[:, None], (people, FRAMES, 17, 3)).copy()


def errors(seed: int, distance_m: float) -> tuple[Array, Array]:
    """Errors as a fraction of the person's height, and scores."""
    joints = statues(1)
    seen = detect(np.random.default_rng(seed), TRAIN, camera(distance_m), joints)
    exact, _ = camera(distance_m).project(joints)
    tall = float(np.ptp(exact[0, 0, :, 1]))
    return np.linalg.norm(seen.pixels - exact, axis=-1) / tall, seen.scores


def test_jitter_grows_with_distance() -> None:
    near = np.median([np.median(errors(seed, 3.0)[0]) for seed in range(10)])
    far = np.median([np.median(errors(seed, 14.0)[0]) for seed in range(10)])
    assert far > 1.3 * near


def test_unsure_joints_are_further_off() -> None:
    error, scores = errors(1, 5.0)
    assert np.median(error[scores < 0.3]) > 1.5 * np.median(error[scores > 0.5])


def test_joints_go_missing_with_a_low_score() -> None:
    error, scores = errors(2, 5.0)
    lost = error > 0.25
    assert lost.any()
    assert scores[lost].mean() < scores.mean()


def test_some_clips_report_missing_joints_as_zeros() -> None:
    found = [detect(np.random.default_rng(seed), TRAIN, camera(), statues(1)) for seed in range(40)]
    zeros = [bool((seen.pixels == 0).all(axis=-1).any()) for seen in found]
    assert 1 <= sum(zeros) < 20
    for seen in found:
        nowhere = (seen.pixels == 0).all(axis=-1)
        assert (seen.scores[nowhere] == 0).all()


def test_left_and_right_are_swapped_now_and_then() -> None:
    joints = statues(1)
    exact, _ = camera().project(joints)
    swapped = 0
    for seed in range(5):
        seen = detect(np.random.default_rng(seed), TRAIN, camera(), joints)
        own = np.linalg.norm(seen.pixels[0, :, 5] - exact[0, :, 5], axis=-1)
        other = np.linalg.norm(seen.pixels[0, :, 5] - exact[0, :, 6], axis=-1)
        swapped += int((other < 0.3 * own).sum())
    assert 0 < swapped < 0.3 * 5 * FRAMES


def test_who_is_outside_the_picture_or_behind_the_camera_is_not_found() -> None:
    joints = statues(2)
    joints[0, :, :, 1] += 50.0
    joints[1, :, :, 0] -= 20.0
    seen = detect(np.random.default_rng(0), TRAIN, camera(), joints)
    assert not seen.inside.any()
    pixels, scores = track(np.random.default_rng(0), TRAIN, seen)
    assert pixels.shape == (0, FRAMES, 17, 2)
    assert scores.shape == (0, FRAMES, 17)


def detections(inside: Array) -> Detections:
    people, frames = inside.shape
    pixels = np.full((people, frames, 17, 2), 100.0) + 50.0 * np.arange(people)[:, None, None, None]
    return Detections(pixels, np.full((people, frames, 17), 0.4), inside > 0, np.zeros((people, frames)))


def test_absent_people_are_zeros_and_the_longest_slot_is_first() -> None:
    inside = np.zeros((3, FRAMES))
    inside[0, 150:] = 1
    inside[1] = 1
    inside[2, :8] = 1  # shorter than a tenth of the clip
    for seed in range(10):
        pixels, scores = track(np.random.default_rng(seed), TRAIN, detections(inside))
        present = np.abs(pixels).sum(axis=(2, 3)) > 0
        assert (scores[~present] == 0).all()
        shares = present.mean(axis=1)
        assert (np.diff(shares) <= 0).all()
        assert shares.min() >= 0.1
        assert (present.sum(axis=0)[8:150] <= 1).all()


def test_people_are_lost_for_some_frames_and_found_again() -> None:
    lost = []
    for seed in range(10):
        pixels, _ = track(np.random.default_rng(seed), HELD_OUT, detections(np.ones((1, FRAMES))))
        lost.append(1.0 - (np.abs(pixels).sum(axis=(2, 3)) > 0).any(axis=0).mean())
    assert 0.02 < np.mean(lost) < 0.6


def test_identities_are_exchanged_in_some_clips() -> None:
    meeting = detections(np.ones((2, FRAMES)))
    meeting.pixels[1, 100:110] -= 45.0  # they come closest in the middle
    exchanged = 0
    for seed in range(40):
        pixels, _ = track(np.random.default_rng(seed), TRAIN, meeting)
        own = np.rint(pixels[0, :, 0, 0])
        before, after = own[:90][own[:90] > 0], own[120:][own[120:] > 0]
        exchanged += int(np.median(before) != np.median(after))
    assert 1 <= exchanged < 30


def test_never_more_than_four_slots() -> None:
    pixels, _ = track(np.random.default_rng(0), TRAIN, detections(np.ones((7, FRAMES))))
    assert len(pixels) == MAX_SLOTS


def test_smoothing_lags_behind() -> None:
    moving = detections(np.ones((1, FRAMES)))
    moving.pixels[0, :, :, 0] = 10.0 * np.arange(FRAMES)[:, None]
    pixels, _ = track(np.random.default_rng(3), HELD_OUT, moving)
    present = np.abs(pixels[0]).sum(axis=(1, 2)) > 0
    behind = (10.0 * np.arange(FRAMES)[:, None] - pixels[0, :, :, 0])[present]
    assert behind.max() > 2.0
    assert behind.min() > -1e-6


def test_draw_stays_in_the_union_of_its_spans() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw(rng, ((0.0, 1.0), (5.0, 6.0))) for _ in range(200)])
    inside = ((drawn >= 0) & (drawn <= 1)) | ((drawn >= 5) & (drawn <= 6))
    assert inside.all()
    assert (drawn < 2).any()
    assert (drawn > 2).any()
    assert draw(rng, ((2.0, 2.0 + 1e-9),)) == pytest.approx(2.0)
