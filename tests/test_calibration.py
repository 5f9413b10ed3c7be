"""The clips that a lower precision is calibrated on, and what is said of bad ones."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deploy_models import randomise
from test_clips import people_clip
from tiny import CONFIG, Tiny

from stgcn_onnx.calibration import Calibration, calibrated_on, calibration_clips, unused_options
from stgcn_onnx.config import load_config
from stgcn_onnx.errors import UsageError
from stgcn_onnx.model import LoadedModel, build_network
from stgcn_onnx.preset import CalibrationOptions


def pickled(folder: Path, content: object) -> str:
    path = folder / "clips.pkl"
    path.write_bytes(pickle.dumps(content))
    return str(path)


def chosen(model: LoadedModel, frames: tuple[int, int] | None = None, **options: Any) -> Calibration:
    return calibration_clips(model, CalibrationOptions(**options), frames=frames)


def test_generated_clips_are_the_default_and_the_same_each_time(loaded: LoadedModel) -> None:
    progress: list[tuple[str, int, int]] = []
    first = calibration_clips(
        loaded, CalibrationOptions(clips=3), frames=None, on_progress=lambda *step: progress.append(step)
    )
    assert (first.clips, first.source, first.warnings) == (3, "generated", ())
    assert [batch.shape for batch in first.batches] == [loaded.shape.sizes()] * 3
    assert all(batch.dtype == np.float32 and np.isfinite(batch).all() and batch.any() for batch in first.batches)
    assert progress == [("preparing clips", done, 3) for done in (1, 2, 3)]
    again = chosen(loaded, clips=3)
    assert all(np.array_equal(a, b) for a, b in zip(first.batches, again.batches, strict=True))
    assert first.document(CalibrationOptions(clips=3))["seed"] == [0, 20]


def test_given_clips_go_through_the_configs_own_pipeline_evenly_spread(loaded: LoadedModel, tmp_path: Path) -> None:
    data = pickled(tmp_path, [people_clip(f"clip{index}", 1 + index % 2) for index in range(9)])
    calibration = chosen(loaded, data=data, clips=3)
    assert (calibration.clips, calibration.source, calibration.warnings) == (3, "clips.pkl", ())
    assert calibration.frame_dirs == {"clip0", "clip4", "clip8"}
    assert abs(calibration.batches[0]).max() <= 2, "normalised by the pipeline, not pixels"


def test_a_fixed_batch_is_filled_up(tiny: Tiny) -> None:
    calibration = chosen(tiny.load({"input.batch_size": 4}), clips=6)
    assert [batch.shape[0] for batch in calibration.batches] == [4, 4]
    assert np.array_equal(calibration.batches[1][2], calibration.batches[1][0])
    assert calibration.clips == 6


def test_fewer_clips_than_asked_for_are_a_warning_with_both_numbers(loaded: LoadedModel, tmp_path: Path) -> None:
    data = pickled(tmp_path, [people_clip(f"clip{index}", 2) for index in range(3)])
    calibration = chosen(loaded, data=data, clips=5)
    assert calibration.warnings == (f"calibration.clips asks for 5, {data} holds 3: all of them are used",)
    assert calibration.document(CalibrationOptions())["warnings"] == list(calibration.warnings)


def motionless(name: str) -> dict[str, Any]:
    """Nobody was found: the pipeline makes zeros of it."""
    clip = people_clip(name, 1)
    return clip | {"keypoint": np.zeros_like(clip["keypoint"]), "keypoint_score": np.zeros_like(clip["keypoint_score"])}


def test_constant_clips_are_left_out_with_a_word_about_it(loaded: LoadedModel, tmp_path: Path) -> None:
    data = pickled(tmp_path, [people_clip("good", 1), *(motionless(f"still{index}") for index in range(4))])
    calibration = chosen(loaded, data=data, clips=5)
    (warning,) = calibration.warnings
    assert warning == f"{data}: 4 of 5 clips hold one value throughout (still0, still1, still2, …); they are left out"
    assert calibration.frame_dirs == {"good"}


def test_nothing_but_constant_clips_gives_no_scale(loaded: LoadedModel, tmp_path: Path) -> None:
    data = pickled(tmp_path, [motionless("still")])
    with pytest.raises(UsageError, match=r"1 of 1 clips hold one value .*\(still\): a zero range gives no scale"):
        chosen(loaded, data=data, clips=1)


class Evil:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return os.system, ("touch evil",)


def joints(count: int) -> dict[str, Any]:
    clip = people_clip("other", 1)
    shape = (2, 30, count)
    return clip | {"keypoint": np.ones((*shape, 2), np.float32), "keypoint_score": np.ones(shape, np.float32)}


BAD = {
    "an empty pickle": ([], "no clips in it"),
    "more than plain containers": ([Evil()], "holds more than plain containers and arrays: it wants"),
    "other joints": ([joints(25)], "[2, 20, 25, 3] [M, T, V, C], the model takes [2, 20, 17, 3]"),
    "another class": ([people_clip("a", 1) | {"label": 2}], "label 2 is none of the model's 2 classes, 0 to 1"),
    "no class": ([people_clip("a", 1) | {"label": "fight"}], "label 'fight' is none of the model's 2 classes"),
    "NaN": ([people_clip("a", 1) | {"keypoint": np.full((2, 30, 17, 2), np.nan, np.float32)}], "not finite"),
    "infinity": ([people_clip("a", 1) | {"keypoint": np.full((2, 30, 17, 2), np.inf, np.float32)}], "not finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_clips_are_a_clear_error(loaded: LoadedModel, tmp_path: Path, case: str) -> None:
    content, message = BAD[case]
    with pytest.raises(UsageError) as caught:
        chosen(loaded, data=pickled(tmp_path, content), clips=1)
    assert message in caught.value.message
    assert "clips.pkl" in caught.value.message
    assert caught.value.hint
    assert not Path("evil").exists()


def test_other_channels_are_a_clear_error(tiny: Tiny, tmp_path: Path) -> None:
    """Bones and joints side by side are six channels."""
    tiny.config.write_text(CONFIG.replace("feats=['b']", "feats=['b', 'j']"))
    model = tiny.load()
    with pytest.raises(UsageError, match=r"gives \[2, 20, 17, 6\] \[M, T, V, C\], the model takes \[2, 20, 17, 3\]"):
        chosen(model, data=pickled(tmp_path, [people_clip("a", 1)]), clips=1)


def test_a_model_of_other_skeletons_needs_clips_of_its_own(tiny: Tiny) -> None:
    tiny.config.write_text(CONFIG.replace("layout='coco'", "layout='nturgb+d'"))
    weights = randomise(build_network(load_config(tiny.config))).state_dict()
    torch.save({"state_dict": weights}, tiny.checkpoint)
    with pytest.raises(UsageError, match="25 joints of 3 channels; generated clips have 17 joints") as caught:
        chosen(tiny.load())
    assert "calibration.data" in caught.value.hint


def test_clips_of_several_lengths_are_batched_by_length(tiny: Tiny, tmp_path: Path) -> None:
    sampler = "dict(type='UniformSampleFrames', clip_len=20, num_clips=1, test_mode=True),"
    assert sampler in CONFIG
    tiny.config.write_text(CONFIG.replace(sampler, ""))
    clips = [people_clip(f"clip{frames}", 1, frames) for frames in (20, 30, 20)]
    for clip in clips:
        frames = clip["total_frames"]
        clip.update(frame_inds=np.arange(frames), clip_len=frames, num_clips=1)
    calibration = chosen(tiny.load(), frames=(8, 32), data=pickled(tmp_path, clips), clips=3)
    assert sorted(batch.shape[2] for batch in calibration.batches) == [20, 20, 30]


def test_a_file_knows_its_calibration_clips_without_naming_them(loaded: LoadedModel, tmp_path: Path) -> None:
    names = ["/home/somebody/a.avi", "b", "c"]
    data = pickled(tmp_path, [people_clip(name, 1) for name in names])
    document = chosen(loaded, data=data, clips=2).document(CalibrationOptions())
    assert "somebody" not in str(document)
    metadata = {"calibration": document}
    assert calibrated_on(metadata, Path(data)) == {"/home/somebody/a.avi", "c"}
    assert calibrated_on({}, Path(data)) == frozenset()
    assert calibrated_on({"calibration": None}, Path(data)) == frozenset()


def test_options_that_say_nothing_to_a_precision_are_found() -> None:
    options = CalibrationOptions(clips=8, method="entropy", exclude=("backbone.gcn.0",))
    assert unused_options(options, "fp32") == ["clips", "method", "exclude"]
    assert unused_options(options, "fp16") == ["method"]
    assert unused_options(options, "int8") == []
    assert unused_options(CalibrationOptions(), "fp32") == []
