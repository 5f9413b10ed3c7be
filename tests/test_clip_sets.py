"""The clips that judge a file: reproducible, nobody else's, and none that it was calibrated on."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_clips import people_clip
from tiny import CONFIG, Tiny

from stgcn_onnx.clip_sets import ClipSet, clip_sets, given_clips, held_out_clips
from stgcn_onnx.errors import UsageError
from stgcn_onnx.generated import CALIBRATION, JUDGEMENT
from stgcn_onnx.model import LoadedModel
from stgcn_onnx.runtime import FloatArray
from stgcn_onnx.scene.generate import DatasetSize, generate_dataset


def views_of(clips: ClipSet) -> list[FloatArray]:
    return [video.views for video in clips.videos]


def test_held_out_clips_repeat_and_are_nobody_elses(loaded: LoadedModel) -> None:
    once, again = (views_of(held_out_clips(loaded, 6)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    mine = {clip["keypoint"].tobytes() for clip in JUDGEMENT.annotations(6)}
    others = [clip["keypoint"].tobytes() for clip in CALIBRATION.annotations(6)]
    for seed in (0, 1, JUDGEMENT.branch):
        others += [clip["keypoint"].tobytes() for clip in generate_dataset(DatasetSize(6, 6, 6), seed)["annotations"]]
    assert len(mine) == 6
    assert mine.isdisjoint(others)


def test_generated_videos_give_one_clip_and_given_ones_all_that_the_config_samples(tiny: Tiny, tmp_path: Path) -> None:
    tiny.config.write_text(CONFIG.replace("num_clips=1", "num_clips=4"), encoding="utf-8")
    model = tiny.load()
    assert {views.shape for views in views_of(held_out_clips(model, 2))} == {(1, 2, 20, 17, 3)}
    assert {views.shape for views in views_of(given_clips(pickled(tmp_path, many(2)), model))} == {(4, 2, 20, 17, 3)}


def pickled(folder: Path, content: object) -> Path:
    path = folder / "clips.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


def many(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [people_clip(f"clip{index}", 1 + index % 2) | changes for index in range(count)]


def test_clips_of_the_calibration_are_left_out_by_name(tmp_path: Path, loaded: LoadedModel) -> None:
    clips = given_clips(pickled(tmp_path, many(5)), loaded, calibrated=["clip1", "clip3", "elsewhere"])
    assert [video.frame_dir for video in clips.videos] == ["clip0", "clip2", "clip4"]
    assert (clips.calibrated, clips.unused) == (2, 0)


def test_clips_that_were_all_calibrated_on_judge_nothing(tmp_path: Path, loaded: LoadedModel) -> None:
    path = pickled(tmp_path, many(2))
    with pytest.raises(UsageError, match=r"clips\.pkl: all 2 were used for calibration, none is left") as caught:
        given_clips(path, loaded, calibrated=["clip0", "clip1"])
    assert "calibration.clips" in caught.value.hint


def test_of_very_many_clips_some_are_taken_evenly(tmp_path: Path, loaded: LoadedModel) -> None:
    clips = given_clips(pickled(tmp_path, many(9)), loaded, limit=3)
    assert [video.frame_dir for video in clips.videos] == ["clip0", "clip4", "clip8"]
    assert clips.unused == 6


def test_both_kinds_of_clips_judge_where_they_can(tmp_path: Path, loaded: LoadedModel) -> None:
    path = pickled(tmp_path, many(2))
    assert [clips.name for clips in clip_sets(loaded, path)] == ["generated, held out", "given, clips.pkl"]
    assert [clips.name for clips in clip_sets(loaded, None)] == ["generated, held out"]


@pytest.mark.parametrize(("joints", "channels"), [(25, 3), (17, 4), (17, 1)])
def test_skeletons_that_are_not_generated_need_clips(
    tmp_path: Path, loaded: LoadedModel, joints: int, channels: int
) -> None:
    foreign = replace(loaded, shape=replace(loaded.shape, joints=joints, channels=channels))
    with pytest.raises(UsageError, match=f"takes {joints} joints of {channels} channels; generated clips have 17") as e:
        clip_sets(foreign, None)
    assert "verify.data" in e.value.hint
    assert [clips.name for clips in clip_sets(foreign, pickled(tmp_path, many(1)))] == ["given, clips.pkl"]


def test_an_empty_pickle_and_foreign_labels_are_answered(tmp_path: Path, loaded: LoadedModel) -> None:
    with pytest.raises(UsageError, match="no clips in it"):
        given_clips(pickled(tmp_path, []), loaded)
    with pytest.raises(UsageError, match=r"clip0: label 2 is none of the model's 2 classes, 0 to 1"):
        given_clips(pickled(tmp_path, many(1, label=2)), loaded)
