"""Generated clips: the same from the same seed, in MMAction2's format, labelled, and split without overlap."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from stgcn_onnx.errors import UsageError
from stgcn_onnx.scene.fights import FIGHTS
from stgcn_onnx.scene.generate import ACTIONS, DatasetSize, generate_clip, generate_dataset, label_of
from stgcn_onnx.scene.lookalikes import LOOKALIKES
from stgcn_onnx.scene.ranges import GROUPS, HELD_OUT, TRAIN, held_out_alone

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def test_a_seed_gives_the_same_clip_whatever_was_drawn_before() -> None:
    first = generate_clip(7, "hug", 40)
    np.random.default_rng(1).random(100)
    generate_clip(8, "punch", 40)
    again = generate_clip(7, "hug", 40)
    assert np.array_equal(first["keypoint"], again["keypoint"])
    assert np.array_equal(first["keypoint_score"], again["keypoint_score"])


def test_another_seed_gives_another_clip() -> None:
    first, second = generate_clip(1, "punch", 40), generate_clip(2, "punch", 40)
    assert first["keypoint"].shape != second["keypoint"].shape or not np.array_equal(
        first["keypoint"], second["keypoint"]
    )


def test_global_random_state_is_neither_read_nor_changed() -> None:
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    generate_clip(5, "dance", 30)
    assert np.random.random() == expected


@pytest.mark.parametrize("action", ACTIONS)
def test_annotation_has_the_format_of_mmaction(action: str) -> None:
    clip = generate_clip(11, action, 45)
    people = clip["keypoint"].shape[0]
    assert clip["keypoint"].shape == (people, 45, 17, 2)
    assert clip["keypoint_score"].shape == (people, 45, 17)
    assert 1 <= people <= 4
    assert clip["total_frames"] == 45
    assert clip["img_shape"] == clip["original_shape"]
    assert clip["label"] == (1 if action in FIGHTS else 0)
    assert np.isfinite(clip["keypoint"].astype(np.float64)).all()
    assert clip["keypoint_score"].min() >= 0
    assert clip["keypoint_score"].max() <= 1


@pytest.mark.parametrize("action", ACTIONS)
def test_people_are_in_the_picture(action: str) -> None:
    clip = generate_clip(3, action, 40)
    height, width = clip["img_shape"]
    seen = clip["keypoint"][clip["keypoint_score"].astype(np.float64) > 0.15].astype(np.float64)
    middle = np.median(seen, axis=0)
    assert 0 <= middle[0] <= width
    assert 0 <= middle[1] <= height


def test_the_issues_kinds_of_fights_and_lookalikes_are_all_there() -> None:
    assert set(FIGHTS) == {"punch", "kick", "shove", "grapple", "fall_under_blows"}
    assert set(LOOKALIKES) >= {"handshake", "hug", "dance", "wave", "run_past", "sit_down", "push_trolley"}


def test_people_enter_leave_and_are_lost_over_many_clips() -> None:
    appears = leaves = empty_frames = 0
    counts = set()
    for seed in range(40):
        clip = generate_clip(seed, num_frames=60)
        present = np.abs(clip["keypoint"].astype(np.float64)).sum(axis=(2, 3)) > 0  # (M, T, 17, 2) -> (M, T)
        counts.add(len(present))
        appears += int((~present[:, 0] & present.any(axis=1)).sum())
        leaves += int((present.any(axis=1) & ~present[:, -1]).sum())
        empty_frames += int((~present.any(axis=0)).sum())
    assert counts == {1, 2, 3, 4}
    assert appears > 5
    assert leaves > 5
    assert empty_frames > 0


def test_scores_look_like_those_of_a_pose_network() -> None:
    clips = [generate_clip(seed, num_frames=50) for seed in range(30)]
    scores = np.concatenate([c["keypoint_score"][c["keypoint_score"] > 0].astype(np.float64) for c in clips])
    assert 0.35 < scores.mean() < 0.5
    assert (scores < 0.15).mean() > 0.01


def test_clips_without_an_action_are_of_both_classes() -> None:
    labels = [generate_clip(seed, num_frames=30)["label"] for seed in range(30)]
    assert 5 < sum(labels) < 25


@pytest.mark.parametrize(("arguments", "words"), [((1, "boxing", 30), "boxing"), ((1, "punch", 1), "found 1")])
def test_what_cannot_be_generated_is_refused(arguments: tuple[int, str, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        generate_clip(*arguments)


def test_splits_share_no_clip_and_are_balanced() -> None:
    data = generate_dataset(DatasetSize(12, 8, 8), seed=5)
    names = {key: set(value) for key, value in data["split"].items()}
    assert {key: len(value) for key, value in names.items()} == {"train": 12, "val": 8, "test": 8}
    assert not names["train"] & names["val"] | names["train"] & names["test"] | names["val"] & names["test"]
    contents = {clip["keypoint"].tobytes() for clip in data["annotations"]}
    assert len(contents) == 28
    for split, members in names.items():
        labels = [clip["label"] for clip in data["annotations"] if clip["frame_dir"] in members]
        assert sum(labels) * 2 == len(labels), split


def test_a_split_does_not_depend_on_the_size_of_another() -> None:
    small = generate_dataset(DatasetSize(0, 0, 4), seed=5)["annotations"]
    large = generate_dataset(DatasetSize(3, 2, 4), seed=5)["annotations"][5:]
    assert all(np.array_equal(a["keypoint"], b["keypoint"]) for a, b in zip(small, large, strict=True))


def test_held_out_ranges_lie_outside_those_of_training() -> None:
    for field in fields(TRAIN):
        if field.name == "name":
            continue
        for low, high in getattr(HELD_OUT, field.name):
            for trained_low, trained_high in getattr(TRAIN, field.name):
                assert high < trained_low or low > trained_high, field.name


def test_groups_hold_out_every_parameter_once_and_alone() -> None:
    names = [name for group in GROUPS.values() for name in group]
    assert sorted(names) == sorted(field.name for field in fields(TRAIN) if field.name != "name")
    for group, members in GROUPS.items():
        ranges = held_out_alone(group)
        for name in names:
            assert getattr(ranges, name) == getattr(HELD_OUT if name in members else TRAIN, name)


def test_labels() -> None:
    assert [label_of("punch"), label_of("hug")] == [1, 0]


def test_the_generator_needs_neither_torch_nor_mmaction() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from stgcn_onnx.scene.generate import generate_clip; "
        "generate_clip(1, 'wave', 10); print(sorted({'torch', 'mmaction', 'mmengine'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(SCRIPTS)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
