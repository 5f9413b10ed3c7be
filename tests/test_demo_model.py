"""The committed demo model: its digest, its config's pipeline, its accuracy on clips generated afresh."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from stgcn_onnx.annotations import read_annotations
from stgcn_onnx.clips import decode
from stgcn_onnx.config import load_config
from stgcn_onnx.demo import Demo, check_digest
from stgcn_onnx.errors import IntegrityError, UsageError
from stgcn_onnx.model import LoadedModel, load_model
from stgcn_onnx.preset import InputShape, ModelSource
from stgcn_onnx.scene.generate import DatasetSize, generate_clip, generate_dataset
from stgcn_onnx.training_report import BEGIN, END, Result, evaluate, markdown, wilson, write_report

ROOT = Path(__file__).resolve().parent.parent
DEMO = Demo(ROOT / "checkpoints" / "demo", ROOT / "checkpoints" / "README.md")
FLOOR = 0.78
"""Least accuracy on the clips below: what is reported, less three standard errors of so few clips."""


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(ModelSource(config=str(DEMO.config), checkpoint=str(DEMO.checkpoint)), InputShape())


def test_digest_beside_the_checkpoint_is_its_own() -> None:
    assert check_digest(DEMO.checkpoint) == hashlib.sha256(DEMO.checkpoint.read_bytes()).hexdigest()
    subprocess.run(["sha256sum", "-c", f"{DEMO.checkpoint.name}.sha256"], cwd=DEMO.folder, check=True)


def test_a_changed_checkpoint_is_noticed(tmp_path: Path) -> None:
    for path in DEMO.folder.glob("*.pth*"):
        shutil.copy(path, tmp_path)
    changed = tmp_path / DEMO.checkpoint.name
    changed.write_bytes(changed.read_bytes() + b"\0")
    with pytest.raises(IntegrityError, match="expected sha256"):
        check_digest(changed)


def test_checkpoint_is_small_and_names_no_folder() -> None:
    content = DEMO.checkpoint.read_bytes()
    assert len(content) < 3_000_000
    for word in (b"/home/", b"/tmp/", b"/work/", b"/root", str(ROOT).encode()):
        assert word not in content


def test_config_and_checkpoint_give_the_contracts_shape(model: LoadedModel) -> None:
    assert model.shape.sizes() == (1, 4, 100, 17, 2)
    assert model.num_classes == 2
    assert load_config(DEMO.config).values["class_names"] == ["normal", "fight"]


@pytest.mark.parametrize("scores", [True, False])
def test_pipeline_gives_x_and_y_with_and_without_scores(model: LoadedModel, scores: bool) -> None:
    clip = generate_clip(1, "punch", 57)
    if not scores:
        del clip["keypoint_score"]
    ((_, views),) = decode([clip], model.config, model.shape, Path("generated"))
    assert views.shape == (1, 4, 100, 17, 2)
    assert views.dtype == np.float32
    assert np.abs(views).max() > 0


def test_absent_people_are_exactly_zero(model: LoadedModel) -> None:
    clip = generate_clip(1, "punch", 57)
    clip["keypoint"] = clip["keypoint"][:1]
    clip["keypoint_score"] = clip["keypoint_score"][:1]
    ((_, views),) = decode([clip], model.config, model.shape, Path("generated"))
    assert not views[0, 1:].any()
    gone = np.zeros_like(clip["keypoint"])
    clip["keypoint"] = np.concatenate([clip["keypoint"], gone])
    ((_, views),) = decode([clip], model.config, model.shape, Path("generated"))
    assert not views[0, 1].any()


@pytest.mark.slow
def test_accuracy_on_fresh_held_out_clips_is_above_the_floor(model: LoadedModel) -> None:
    clips = generate_dataset(DatasetSize(0, 0, 70), seed=20_000)["annotations"]
    result = evaluate(model, clips, Path("generated"))
    assert (result.predicted == result.labels).mean() >= FLOOR
    assert set(result.figures()["by_action"]) == {clip["action"] for clip in clips}


def test_report_and_readme_are_of_this_checkpoint() -> None:
    report = json.loads(DEMO.report.read_text(encoding="utf-8"))
    assert report["sha256"] == check_digest(DEMO.checkpoint)
    section = DEMO.readme.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    assert section.strip() == markdown(report).strip()


def test_real_clips_give_the_reported_figures(model: LoadedModel, shared_data: Path) -> None:
    path = shared_data / "fight_clips.pkl"
    found = evaluate(model, read_annotations(path), path).figures()
    reported = json.loads(DEMO.report.read_text(encoding="utf-8"))["real"]
    assert found["clips"] == 70
    # Another processor may round a clip on the border to the other side.
    assert abs(found["correct"] - reported["correct"]) <= 1


def test_figures_count_right() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    result = Result(np.array([0, 0, 1, 1]), logits, ("hug", "hug", "punch", "punch"))
    figures = result.figures()
    assert figures["accuracy"] == 0.5
    assert figures["confusion"] == [[1, 1], [1, 1]]
    assert figures["by_action"] == {"hug": {"clips": 2, "correct": 1}, "punch": {"clips": 2, "correct": 1}}
    assert figures["roc_auc"] == 0.75


def test_one_class_has_no_auc() -> None:
    assert Result(np.array([1]), np.array([[0.0, 1.0]]), ()).figures()["roc_auc"] is None


def test_interval() -> None:
    low, high = wilson(50, 100)
    assert (low, high) == (pytest.approx(0.4038, abs=1e-4), pytest.approx(0.5962, abs=1e-4))


def test_a_readme_without_markers_is_not_touched(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("no place for figures\n")
    report = json.loads(DEMO.report.read_text(encoding="utf-8"))
    with pytest.raises(UsageError, match="expected the markers"):
        write_report(report, tmp_path / "report.json", readme)
    assert readme.read_text() == "no place for figures\n"
    assert not (tmp_path / "report.json").exists()


def test_evaluating_nothing_is_an_error(model: LoadedModel) -> None:
    with pytest.raises(UsageError, match="nothing to evaluate"):
        evaluate(model, [], Path("nowhere.pkl"))
