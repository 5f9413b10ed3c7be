"""What a preset may say, and what is answered when it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from stgcn_onnx.errors import UsageError
from stgcn_onnx.preset import Preset
from stgcn_onnx.preset_file import load_preset

LEAST = {"model": {"config": "c.py", "checkpoint": "c.pth"}, "output": "o.onnx"}


def write(folder: Path, **sections: object) -> str:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**LEAST, **sections}, sort_keys=False), encoding="utf-8")
    return str(path)


def test_the_defaults_are_those_of_the_contract() -> None:
    preset = Preset.model_validate(LEAST)
    assert (preset.input.batch_size, preset.input.num_person, preset.input.num_frames) == (1, None, 100)
    assert (preset.verify.enabled, preset.verify.rtol, preset.verify.atol) == (True, 1e-3, 1e-5)
    assert (preset.axes.num_frames.min, preset.axes.num_frames.max) == (50, 200)
    assert not preset.axes.batch_size.dynamic
    assert not preset.axes.num_frames.dynamic
    assert not preset.model.trust_checkpoint
    assert preset.device == "cpu"
    assert (preset.export.precision, preset.calibration.clips, preset.calibration.method) == ("fp32", 128, "percentile")
    limits = preset.verify.min_agreement, preset.verify.max_probability_difference, preset.verify.max_top1_drop
    assert limits == (0.99, 0.01, 0.005)


def test_a_preset_cannot_be_changed() -> None:
    preset = Preset.model_validate(LEAST)
    with pytest.raises(ValidationError, match="frozen"):
        preset.device = "cuda"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        preset.export.opset = 12  # type: ignore[misc]


UNKNOWN = [
    ({"exprot": {"opset": 13}}, "mine.yaml:6: exprot is not a key", "did you mean 'export'?"),
    ({"export": {"opest": 13}}, "mine.yaml:6: export.opest is not a key", "did you mean 'opset'?"),
    ({"axes": {"num_frame": {"min": 1}}}, "mine.yaml:7: axes.num_frame is not a key", "did you mean 'num_frames'?"),
    ({"axes": {"num_frames": {"mim": 1}}}, "mine.yaml:7: axes.num_frames.mim is not a key", "did you mean 'min'?"),
    ({"zzz": 1}, "mine.yaml:5: zzz is not a key", "known keys: description, model, input"),
]


@pytest.mark.parametrize(("sections", "message", "hint"), UNKNOWN)
def test_an_unknown_key_is_answered_with_the_closest(
    tmp_path: Path, sections: dict[str, object], message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load_preset(write(tmp_path, **sections))
    assert caught.value.message.removeprefix(f"{tmp_path}/") == message
    assert hint in caught.value.hint


WRONG = [
    ({"export": {"opset": "high"}}, "mine.yaml:6: export.opset: expected a whole number, found 'high'"),
    ({"export": {"opset": 12.5}}, "export.opset: expected a whole number, found 12.5"),
    ({"export": {"opset": True}}, "export.opset: expected a whole number, found True"),
    ({"export": {"opset": 10}}, "export.opset: Input should be greater than or equal to 11, found 10"),
    ({"export": {"exporter": "tvm"}}, "export.exporter: Input should be 'torchscript' or 'dynamo', found 'tvm'"),
    ({"export": {"precision": "fp17"}}, "export.precision: Input should be"),
    ({"input": {"num_frames": 0}}, "input.num_frames: Input should be greater than or equal to 1, found 0"),
    ({"input": {"num_frames": -3}}, "input.num_frames: Input should be greater than or equal to 1, found -3"),
    ({"input": {"batch_size": None}}, "input.batch_size: expected a whole number, found None"),
    ({"verify": {"enabled": "yes"}}, "verify.enabled: expected true or false, found 'yes'"),
    ({"verify": {"enabled": 1}}, "verify.enabled: expected true or false, found 1"),
    ({"verify": {"rtol": -1}}, "verify.rtol: Input should be greater than or equal to 0, found -1"),
    ({"verify": {"rtol": float("inf")}}, "verify.rtol: Input should be a finite number, found inf"),
    ({"verify": {"rtol": True}}, "verify.rtol: expected a number, found True"),
    ({"verify": {"atol": "small"}}, "verify.atol: "),
    ({"axes": {"num_frames": {"min": 60, "max": 50}}}, "axes.num_frames: min 60 is greater than max 50"),
    ({"axes": {"batch_size": {"min": 0}}}, "axes.batch_size.min: Input should be greater than or equal to 1"),
    (
        {"input": {"num_frames": 300}, "axes": {"num_frames": {"dynamic": True}}},
        "input.num_frames is 300, outside axes.num_frames 50 to 200",
    ),
    ({"export": {"precision": "int8", "opset": 12}}, "mine.yaml:6: export: precision int8 needs opset 13 or later"),
    ({"calibration": {"method": "max"}}, "calibration.method: Input should be 'min-max', 'entropy' or 'percentile'"),
    ({"calibration": {"clips": 0}}, "calibration.clips: Input should be greater than or equal to 1, found 0"),
    ({"calibration": {"exclude": "backbone"}}, "calibration.exclude: "),
    ({"verify": {"min_agreement": 99}}, "verify.min_agreement: Input should be less than or equal to 1, found 99"),
    ({"verify": {"max_top1_drop": -1}}, "verify.max_top1_drop: Input should be greater than or equal to 0"),
    ({"verify": {"max_probability_difference": True}}, "verify.max_probability_difference: expected a number"),
    ({"device": "gpu"}, "mine.yaml:5: device: "),
    ({"device": "cuda:one"}, "device: "),
    ({"output": "o.txt"}, "output: expected a name that ends in .onnx, found"),
    ({"output": 3}, "output: expected text, found 3"),
    ({"model": {"config": "c.py"}}, "model.checkpoint: is missing"),
    ({"model": {"config": "c.py", "checkpoint": "c.pth", "sha256": "12"}}, "model.sha256: "),
    ({"model": "c.py"}, "model: "),
    ({"export": [1]}, "export: "),
]


@pytest.mark.parametrize(("sections", "message"), WRONG)
def test_a_wrong_value_is_answered_with_place_expected_and_found(
    tmp_path: Path, sections: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load_preset(write(tmp_path, **sections))
    assert message in caught.value.message.replace(str(tmp_path) + "/", "")
    assert caught.value.hint


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_preset(write(tmp_path, export={"opset": "x", "opest": 1}, verify={"seed": -1}))
    for key in ("export.opset", "export.opest", "verify.seed"):
        assert key in caught.value.message


def test_a_tolerance_may_be_written_the_way_yaml_takes_for_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{yaml.safe_dump(LEAST)}verify: {{rtol: 1e-4}}\n", encoding="utf-8")
    assert yaml.safe_load(path.read_text())["verify"]["rtol"] == "1e-4", "YAML 1.1 wants 1.0e-4"
    assert load_preset(str(path)).preset.verify.rtol == 1e-4
