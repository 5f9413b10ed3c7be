"""The Runner checkpoint and the real clips, through the whole command."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from tiny import ROOT, run_script

from stgcn_onnx.artefact import read_metadata


def convert(data: Path, folder: Path, *options: object) -> Path:
    output = folder / "runner.onnx"
    outcome = run_script(
        "convert.py",
        *("--preset", "custom", "--config", data / "stgcnpp_fight.py", "--checkpoint", data / "runner_checkpoint.pth"),
        *("--data", data / "fight_clips.pkl", "--output", output, *options),
    )
    assert outcome.code == 0, outcome.stderr
    return output


def test_a_runner_checkpoint_converts_and_verifies_on_real_clips(shared_data: Path, tmp_path: Path) -> None:
    output = convert(shared_data, tmp_path, "--set", "verify.clips=3")
    report = json.loads((tmp_path / "runner.verify.json").read_text())
    assert report["passed"] is True
    assert sum(row["label"].startswith("clip ") for row in report["rows"]) == 3
    (clip,) = onnx.load(output).graph.input
    sizes = [dim.dim_value for dim in clip.type.tensor_type.shape.dim]
    backbone = torch.load(shared_data / "runner_checkpoint.pth", weights_only=False)["state_dict"]
    channels = backbone["backbone.data_bn.weight"].numel() // 17
    assert sizes == [1, 4, 100, 17, channels] == [1, 4, 100, 17, 3], "M is the config's, C the checkpoint's"
    assert read_metadata(onnx.load(output))["checkpoint"]["trusted"] is False


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 21])
def test_with_free_axes_at_the_ends_of_the_opsets(shared_data: Path, tmp_path: Path, opset: int) -> None:
    convert(shared_data, tmp_path, "--opset", opset, "--dynamic", "--dynamic-frames")
    report = json.loads((tmp_path / "runner.verify.json").read_text())
    assert report["passed"] is True
    assert {row["shape"][2] for row in report["rows"]} >= {50, 100, 200}
    assert {row["shape"][0] for row in report["rows"]} >= {1, 8}


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["realtime", "batch", "development", "gpu", "edge", "openvino"])
def test_the_demo_model_converts_with_every_preset(tmp_path: Path, preset: str) -> None:
    output = tmp_path / "demo.onnx"
    outcome = run_script("convert.py", "--preset", preset, "--output", output)
    assert outcome.code == 0, outcome.stderr
    assert json.loads((tmp_path / "demo.verify.json").read_text())["passed"] is True


@pytest.mark.slow
def test_the_demo_file_is_as_good_as_reported(shared_data: Path, tmp_path: Path) -> None:
    output, figures = tmp_path / "demo.onnx", tmp_path / "figures.json"
    assert run_script("convert.py", "--preset", "realtime", "--no-verify", "--output", output).code == 0
    clips = shared_data / "fight_clips.pkl"
    outcome = run_script("evaluate.py", "--model", output, "--data", clips, "--json", figures)
    assert outcome.code == 0, outcome.stderr
    found = json.loads(figures.read_text())
    reported = json.loads((ROOT / "checkpoints" / "demo" / "report.json").read_text(encoding="utf-8"))["real"]
    assert found["videos"] == reported["clips"] == 70
    assert found["agreement"] == 1.0
    assert found["max_probability_difference"] < 1e-4
    # Another processor may round a clip on the border to the other side.
    assert abs(found["file"]["top1"] - reported["accuracy"]) < 1.5 / 70
    assert found["file"]["roc_auc"] == pytest.approx(reported["roc_auc"], abs=0.01)
