"""Videos through MMAction2's data set: what it decides is its own, what it would unpickle it is not given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_clips import people_clip
from tiny import CONFIG, Tiny

from stgcn_onnx.clips import decode
from stgcn_onnx.errors import UsageError
from stgcn_onnx.model import LoadedModel
from stgcn_onnx.videos import Videos

DATALOADER = "test_dataloader = dict(dataset=dict(type='PoseDataset', {}))\n"


def model_of(tiny: Tiny, config: str) -> LoadedModel:
    tiny.config.write_text(config, encoding="utf-8")
    return tiny.load()


def clips(count: int) -> list[dict[str, Any]]:
    return [people_clip(f"clip{index}", 1 + index % 2) | {"label": index % 2} for index in range(count)]


def test_videos_are_what_the_pipeline_gives(loaded: LoadedModel) -> None:
    annotations = clips(3)
    videos = Videos(annotations, loaded, "here.pkl")
    assert len(videos) == 3
    decoded = [views for _, views in decode(annotations, loaded.config, loaded.shape, Path("here.pkl"))]
    for video, annotation, views in zip(videos, annotations, decoded, strict=True):
        assert (video.frame_dir, video.label) == (annotation["frame_dir"], annotation["label"])
        assert video.views.dtype == np.float32
        np.testing.assert_array_equal(video.views, views)
    assert [video.label for video in Videos(annotations, loaded, "here.pkl", labelled=False)] == [None] * 3


def test_nothing_is_written_to_stdout(loaded: LoadedModel, capfd: pytest.CaptureFixture[str]) -> None:
    list(Videos(clips(1), loaded, "here.pkl"))
    assert capfd.readouterr().out == ""


def test_the_test_data_sets_own_pipeline_is_used(tiny: Tiny) -> None:
    """`test_dataloader.dataset.pipeline` is what MMAction2 tests with, whatever `test_pipeline` says."""
    three = CONFIG + "\n" + DATALOADER.format("pipeline=[*test_pipeline[:2], "
        "dict(type='UniformSampleFrames', clip_len=20, num_clips=3, test_mode=True), *test_pipeline[3:]]")  # fmt: skip
    (video,) = Videos(clips(1), model_of(tiny, three), "here.pkl")
    assert video.views.shape == (3, 2, 20, 17, 3)


def test_the_data_sets_own_filter_is_used(tiny: Tiny) -> None:
    model = model_of(tiny, CONFIG + DATALOADER.format("valid_ratio=0.5, box_thr=0.7"))
    extra = {"box_score": np.ones(30, np.float32)}
    kept = [clip | extra | {"valid": {0.7: share}} for clip, share in zip(clips(3), (30, 3, 15), strict=True)]
    assert [video.frame_dir for video in Videos(kept, model, "here.pkl")] == ["clip0", "clip2"]
    with pytest.raises(UsageError, match=r"tiny\.py: test_dataloader\.dataset cannot take clips here\.pkl: KeyError"):
        Videos(clips(1), model, "here.pkl")
    with pytest.raises(UsageError, match=r"here\.pkl: no clips are left"):
        Videos([kept[1]], model, "here.pkl")


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("type='VideoDataset', ann_file='a.txt'", "expected type PoseDataset, found 'VideoDataset'"),
        ("type='PoseDataset', multi_class=True, num_classes=2", "multi_class: several labels per video"),
        ("type='PoseDataset', pipeline=[dict(type='os_system')]", "type='os_system' is not a name in MMAction2's"),
    ],
)
def test_other_data_sets_are_refused(tiny: Tiny, dataset: str, message: str) -> None:
    model = model_of(tiny, f"{CONFIG}test_dataloader = dict(dataset=dict({dataset}))\n")
    with pytest.raises(UsageError, match=message):
        Videos(clips(1), model, "here.pkl")


def test_a_config_without_any_pipeline_is_answered(tiny: Tiny) -> None:
    model = model_of(tiny, CONFIG[: CONFIG.index("test_pipeline")])
    with pytest.raises(UsageError, match=r"tiny\.py: no test_pipeline"):
        Videos(clips(1), model, "here.pkl")


@pytest.mark.parametrize("label", [2, -1, "fight", True, 1.0, np.array([0, 1])])
def test_a_label_that_is_no_class_of_the_model_is_named(loaded: LoadedModel, label: object) -> None:
    with pytest.raises(UsageError, match=r"here\.pkl: clip0: label .* is none of the model's 2 classes, 0 to 1"):
        Videos([clips(1)[0] | {"label": label}], loaded, "here.pkl")


def test_clips_of_other_joints_or_frames_are_refused(loaded: LoadedModel) -> None:
    foreign = clips(1)[0] | {
        "keypoint": np.ones((2, 30, 25, 2), np.float32),
        "keypoint_score": np.ones((2, 30, 25), np.float32),
    }
    with pytest.raises(UsageError, match=r"clip0: the config's test pipeline gives \[2, 20, 25, 3\] .* \[2, 20, 17, 3"):
        list(Videos([foreign], loaded, "here.pkl"))
    assert len(list(Videos(clips(1), loaded, "here.pkl", frames=(8, 32)))) == 1
    with pytest.raises(UsageError, match=r"gives \[2, 20, 17, 3\] .* the model takes \[2, 24 to 32, 17, 3\]"):
        list(Videos(clips(1), loaded, "here.pkl", frames=(24, 32)))


def test_a_clip_with_nan_is_named(loaded: LoadedModel) -> None:
    broken = clips(2)
    broken[1]["keypoint"][0, 3, 2, 0] = np.nan
    with pytest.raises(UsageError, match=r"here\.pkl: clip1: .*not finite"):
        list(Videos(broken, loaded, "here.pkl"))
