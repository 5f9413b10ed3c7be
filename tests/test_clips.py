"""Real clips through the config's own test pipeline, as cases for verification."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_annotations import clip
from tiny import CONFIG, Tiny

from stgcn_onnx.clips import real_cases
from stgcn_onnx.config import load_config
from stgcn_onnx.errors import UsageError
from stgcn_onnx.model import LoadedModel


def people_clip(name: str, people: int, frames: int = 30) -> dict[str, Any]:
    rng = np.random.default_rng(list(name.encode()))
    keypoint = np.zeros((2, frames, 17, 2), np.float32)
    keypoint[:people] = rng.uniform(50, 400, (people, frames, 17, 2))
    scores = np.zeros((2, frames, 17), np.float32)
    scores[:people] = 0.8
    return clip(name, total_frames=frames, keypoint=keypoint, keypoint_score=scores)


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    path = tmp_path / "clips.pkl"
    path.write_bytes(pickle.dumps([people_clip(f"clip{index}", 1 + index % 2) for index in range(9)]))
    return path


def test_clips_become_cases_of_the_models_shape(pickled: Path, loaded: LoadedModel) -> None:
    cases = list(real_cases(pickled, loaded.config, loaded.shape, limit=4))
    assert [case.label for case in cases] == ["clip clip0", "clip clip2", "clip clip5", "clip clip8"]
    for case in cases:
        assert case.clip.shape == loaded.shape.sizes()
        assert case.clip.dtype == np.float32
        assert np.isfinite(case.clip).all()
    assert any(case.people != cases[0].people for case in cases) or cases[0].people == (2,)
    again = list(real_cases(pickled, loaded.config, loaded.shape, limit=4))
    assert all(np.array_equal(a.clip, b.clip) for a, b in zip(cases, again, strict=True))


def test_a_fixed_batch_is_always_full(pickled: Path, loaded: LoadedModel) -> None:
    shape = loaded.shape.with_sizes(batch=4)
    cases = list(real_cases(pickled, loaded.config, shape, limit=6))
    assert [case.clip.shape[0] for case in cases] == [4, 4]
    last = cases[1].clip
    assert np.array_equal(last[2], last[0])
    assert np.array_equal(last[3], last[0])
    assert not np.array_equal(last[1], last[0])


def test_clips_of_another_length_than_the_models_are_refused(pickled: Path, loaded: LoadedModel) -> None:
    message = r"pipeline gives \[2, 20, 17, 3\] \[M, T, V, C\], the model takes \[2, 24, 17, 3\]"
    with pytest.raises(UsageError, match=message) as caught:
        list(real_cases(pickled, loaded.config, loaded.shape.with_sizes(frames=24), limit=2))
    assert "num_frames" in caught.value.hint


def test_clips_that_the_pipeline_cannot_take_are_named(tmp_path: Path, loaded: LoadedModel) -> None:
    path = tmp_path / "clips.pkl"
    path.write_bytes(pickle.dumps([clip("odd", keypoint=np.ones((2, 5, 3, 2), np.float32))]))
    with pytest.raises(UsageError, match=r"clips\.pkl: odd: the config's test pipeline cannot take it"):
        list(real_cases(path, loaded.config, loaded.shape, limit=1))


def test_a_config_without_a_pipeline_is_answered(pickled: Path, tiny: Tiny, loaded: LoadedModel) -> None:
    tiny.config.write_text(CONFIG[: CONFIG.index("test_pipeline")], encoding="utf-8")
    with pytest.raises(UsageError, match=r"tiny\.py: no test_pipeline"):
        list(real_cases(pickled, load_config(tiny.config), loaded.shape, limit=1))
