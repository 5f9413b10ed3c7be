"""Bodies keep their bones, limbs reach, people fall and walk, the camera projects as a pinhole does."""

from __future__ import annotations

import numpy as np
import pytest

from stgcn_onnx.scene.body import JOINTS, LEFT, MIRROR, RIGHT, Body, Tracks, draw_body, joints_of
from stgcn_onnx.scene.camera import Camera, draw_camera
from stgcn_onnx.scene.fights import FIGHTS, fall_under_blows, punch
from stgcn_onnx.scene.kinematics import two_bones
from stgcn_onnx.scene.lookalikes import LOOKALIKES, hug
from stgcn_onnx.scene.motion import Stage, bump, line, move, ramp, reach
from stgcn_onnx.scene.ranges import TRAIN

BONES = {
    (5, 7): "upper_arm_m", (6, 8): "upper_arm_m", (7, 9): "forearm_m", (8, 10): "forearm_m", (11, 13): "thigh_m",
    (12, 14): "thigh_m", (13, 15): "shin_m", (14, 16): "shin_m", (5, 6): "shoulders_m", (11, 12): "hips_m",
}  # fmt: skip


def stage(seed: int = 0, frames: int = 60) -> Stage:
    return Stage(np.random.default_rng(seed), np.arange(frames) / 25.0)


def somebody(seed: int = 0) -> Body:
    return draw_body(np.random.default_rng(seed), 1.75)


def standing(play: Stage, body: Body) -> Tracks:
    return move(play, body, np.zeros((len(play.times), 2)), np.zeros(len(play.times)))


def actions() -> list[tuple[str, object, int]]:
    return [(name, act, 2) for name, act in FIGHTS.items()] + [(n, act, few) for n, (act, few, _) in LOOKALIKES.items()]


@pytest.mark.parametrize(("name", "act", "people"), actions())
def test_bones_keep_their_length_in_every_action(name: str, act: object, people: int) -> None:
    bodies = [somebody(seed) for seed in range(people)]
    tracks = act(stage(4), bodies)  # type: ignore[operator]
    assert len(tracks) == people, name
    for body, track in zip(bodies, tracks, strict=True):
        joints = joints_of(body, track)
        for (start, end), length in BONES.items():
            found = np.linalg.norm(joints[:, start] - joints[:, end], axis=-1)
            assert np.allclose(found, getattr(body, length), atol=1e-6), (name, JOINTS[start], JOINTS[end])


def test_left_and_right_are_the_persons_own() -> None:
    joints = joints_of(somebody(), standing(stage(), somebody()))
    assert (joints[:, 5, 1] > joints[:, 6, 1]).all()  # facing +X, left is +Y
    assert (joints[:, 11, 1] > joints[:, 12, 1]).all()
    for joint, other in enumerate(MIRROR):
        assert JOINTS[joint].replace("left", "*").replace("right", "*") == JOINTS[other].replace("left", "*").replace(
            "right", "*"
        )


def test_a_person_stands_as_tall_as_it_is() -> None:
    body = somebody()
    joints = joints_of(body, standing(stage(), body))
    assert joints[:, 15:, 2].max() < 0.12
    assert 0.88 * body.height_m < joints[:, 0, 2].mean() < 0.99 * body.height_m


def test_a_hand_reaches_its_goal() -> None:
    play, body = stage(), somebody()
    tracks = standing(play, body)
    goal = np.broadcast_to([0.35, 0.1, 1.3], (60, 3)).astype(np.float64)
    reach(tracks, RIGHT, goal, np.ones(60))
    joints = joints_of(body, tracks)
    assert np.allclose(joints[:, 10], goal, atol=1e-6)
    assert not np.allclose(joints[:, 9], goal, atol=0.1)


def test_a_goal_out_of_reach_stretches_the_limb_towards_it() -> None:
    root, goal = np.zeros((1, 3)), np.array([[5.0, 0.0, 0.0]])
    _, end = two_bones(root, goal, 0.3, 0.3, np.array([[0.0, 0.0, 1.0]]))
    assert end[0] == pytest.approx([0.599, 0.0, 0.0], abs=1e-6)


def test_walking_takes_the_person_along_with_alternating_feet() -> None:
    play, body = stage(frames=100), somebody()
    tracks = move(play, body, line(play, np.zeros(2), np.array([1.4, 0.0])), np.zeros(100))
    joints = joints_of(body, tracks)
    assert joints[-1, 11, 0] - joints[0, 11, 0] == pytest.approx(1.4 * play.duration_s, abs=0.1)
    ahead = joints[:, 15, 0] - joints[:, 16, 0]
    assert ((ahead[1:] > 0) != (ahead[:-1] > 0)).sum() >= 4
    lift = tracks.feet[:, LEFT, 2]
    assert lift.max() - lift.min() > 0.05


def test_who_falls_under_blows_ends_near_the_ground() -> None:
    bodies = [somebody(1), somebody(2)]
    _, victim = fall_under_blows(stage(2, frames=120), bodies)
    assert joints_of(bodies[1], victim)[-1, 0, 2] < 0.9


def test_a_punch_comes_near_the_other_head_and_a_hug_stays_close() -> None:
    bodies = [somebody(1), somebody(2)]
    first, second = (joints_of(b, t) for b, t in zip(bodies, punch(stage(3), bodies), strict=True))
    distance = np.linalg.norm(first[:, 9:11] - second[:, :1], axis=-1).min()
    assert distance < 0.35
    one, other = (joints_of(b, t) for b, t in zip(bodies, hug(stage(3, frames=100), bodies), strict=True))
    assert np.linalg.norm(one[:, 5:7].mean(axis=1) - other[:, 5:7].mean(axis=1), axis=-1).min() < 0.5


def test_curves_start_and_end_where_they_should() -> None:
    times = np.linspace(0.0, 2.0, 201)
    assert ramp(times, 0.5, 1.0)[[0, 50, 100, 150, 200]] == pytest.approx([0, 0, 0.5, 1, 1])
    curve = bump(times, 0.5, 1.0, 0.5)
    assert curve[[0, 50, 100, 150, 200]] == pytest.approx([0, 0, 1, 0, 0])


def test_the_camera_projects_the_axis_to_the_middle_and_halves_with_twice_the_depth() -> None:
    camera = Camera(np.zeros(3), np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]), 500.0, (360, 640))
    pixels, depth = camera.project(np.array([[5.0, 0.0, 0.0], [5.0, -1.0, 0.0], [10.0, -1.0, 0.0], [-1.0, 0.0, 0.0]]))
    assert pixels[0] == pytest.approx([320, 180])
    assert pixels[1] == pytest.approx([420, 180])
    assert pixels[2] == pytest.approx([370, 180])
    assert depth == pytest.approx([5, 5, 10, -1])
    assert np.isnan(pixels[3]).all()


def test_people_stand_upright_in_pictures_of_drawn_cameras() -> None:
    body = somebody()
    joints = joints_of(body, standing(stage(frames=2), body))
    for seed in range(20):
        camera = draw_camera(np.random.default_rng(seed), TRAIN)
        pixels, depth = camera.project(joints)
        assert (depth > 0).all()
        assert pixels[0, 0, 1] < pixels[0, 15, 1], seed
