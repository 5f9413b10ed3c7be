"""Annotation pickles: plain containers and arrays are read, anything else is refused and does not run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_checkpoint import CALLS

from stgcn_onnx.annotations import read_annotations
from stgcn_onnx.errors import UsageError


def clip(name: str = "a", **changes: Any) -> dict[str, Any]:
    return {
        "frame_dir": name,
        "label": 1,
        "img_shape": (480, 640),
        "total_frames": 5,
        "keypoint": np.zeros((2, 5, 17, 2), np.float16),
        "keypoint_score": np.ones((2, 5, 17), np.float32),
        **changes,
    }


def write(folder: Path, content: object, protocol: int = pickle.DEFAULT_PROTOCOL) -> Path:
    path = folder / "clips.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_both_forms_are_read_at_every_protocol(tmp_path: Path, protocol: int) -> None:
    clips = [clip("a"), clip("b", label=np.int64(0))]
    bare = read_annotations(write(tmp_path, clips, protocol))
    assert [item["frame_dir"] for item in bare] == ["a", "b"]
    split = read_annotations(write(tmp_path, {"split": {"test": ["b"]}, "annotations": clips}, protocol))
    assert len(split) == 2
    np.testing.assert_array_equal(split[0]["keypoint"], clips[0]["keypoint"])


def test_a_split_can_be_chosen_and_an_unknown_one_is_answered(tmp_path: Path) -> None:
    path = write(tmp_path, {"split": {"train": ["a"], "test": ["b"]}, "annotations": [clip("a"), clip("b")]})
    assert [item["frame_dir"] for item in read_annotations(path, split="test")] == ["b"]
    with pytest.raises(UsageError, match="no split 'val'") as caught:
        read_annotations(path, split="val")
    assert caught.value.hint == "known splits: train, test"


def test_the_real_clips_are_read(shared_data: Path) -> None:
    annotations = read_annotations(shared_data / "fight_clips.pkl")
    assert len(annotations) == 70
    assert annotations[0]["keypoint"].dtype == np.float16


@pytest.mark.parametrize("call", CALLS)
def test_nothing_in_a_malicious_pickle_runs(tmp_path: Path, call: str) -> None:
    sentinel = tmp_path / "sentinel"
    for content in (CALLS[call](str(sentinel)), [clip(label=CALLS[call](str(sentinel)))]):
        with pytest.raises(UsageError, match=r"holds more than plain containers and arrays: .*nothing in it was run"):
            read_annotations(write(tmp_path, content))
        assert not sentinel.exists()


def test_classes_and_functions_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pathlib"):
        read_annotations(write(tmp_path, [clip(frame_dir=Path("a"))]))
    with pytest.raises(UsageError, match="getcwd"):
        read_annotations(write(tmp_path, [clip(frame_dir=os.getcwd)]))


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "text": (lambda: "x", r"expected a list or \{split, annotations\}, found str"),
    "dict": (lambda: {"a": 1}, r"expected a list or \{split, annotations\}, found dict"),
    "empty": (list, "no clips in it"),
    "empty annotations": (lambda: {"split": {}, "annotations": []}, "no clips in it"),
    "no dict": (lambda: [clip(), 3], "clip 1: expected a dict, found int"),
    "keys": (lambda: [{"frame_dir": "a", "label": 1}], "clip 0: total_frames, keypoint is missing"),
    "name": (lambda: [clip(frame_dir=["a"])], "clip 0: frame_dir: expected text, found list"),
    "list": (lambda: [clip(keypoint=[1, 2])], "clip 0: keypoint: expected a float array .*, found list"),
    "integers": (lambda: [clip(keypoint=np.zeros((2, 5, 17, 2), np.int64))], r"found int64 \[2, 5, 17, 2\]"),
    "axes": (lambda: [clip(keypoint=np.zeros((5, 17, 2)))], r"found float64 \[5, 17, 2\]"),
    "frames": (lambda: [clip(total_frames=6)], r"keypoint \[2, 5, 17, 2\] \[M, T, V, C\] against total_frames 6"),
    "nobody": (lambda: [clip(keypoint=np.zeros((0, 5, 17, 2)))], r"keypoint \[0, 5, 17, 2\]"),
    "objects": (lambda: [clip(keypoint=np.zeros((2, 5, 17, 2), object))], "keypoint: expected a float array"),
}


@pytest.mark.parametrize("name", WRONG)
def test_clips_of_another_make_are_answered(tmp_path: Path, name: str) -> None:
    make, message = WRONG[name]
    with pytest.raises(UsageError, match=message) as caught:
        read_annotations(write(tmp_path, make()))
    assert "clips.pkl" in caught.value.message


@pytest.mark.parametrize("split", ["test", None])
def test_annotations_that_are_no_dicts_are_answered_with_a_split_too(tmp_path: Path, split: str | None) -> None:
    path = write(tmp_path, {"split": {"test": ["a"]}, "annotations": [3]})
    with pytest.raises(UsageError, match="clip 0: expected a dict, found int"):
        read_annotations(path, split=split)


def test_a_missing_and_a_cut_off_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="do not exist"):
        read_annotations(tmp_path / "none.pkl")
    whole = pickle.dumps([clip()])
    path = tmp_path / "clips.pkl"
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UsageError, match=r"clips\.pkl: (not a readable pickle|holds more than)"):
            read_annotations(path)
