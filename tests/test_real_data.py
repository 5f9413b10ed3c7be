"""The Runner checkpoint and the real clips, through the whole command."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from tiny import run_script

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
@pytest.mark.parametrize("preset", ["realtime", "batch", "development", "gpu"])
def test_the_demo_model_converts_with_every_preset(tmp_path: Path, preset: str) -> None:
    output = tmp_path / "demo.onnx"
    outcome = run_script("convert.py", "--preset", preset, "--output", output)
    assert outcome.code == 0, outcome.stderr
    assert json.loads((tmp_path / "demo.verify.json").read_text())["passed"] is True
