"""The conversion to a lower precision as a library call: what it leaves when it passes, and when it does not."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto
from test_clips import people_clip
from tiny import Tiny, left_behind, quiet, run_script

from stgcn_onnx import half, precision
from stgcn_onnx.artefact import read_metadata
from stgcn_onnx.deploy import names
from stgcn_onnx.errors import UsageError, VerificationError
from stgcn_onnx.pipeline import convert
from stgcn_onnx.precision import chosen_rewrites
from stgcn_onnx.verify_lower import LowerReport

HALF = {"export.precision": "fp16", "calibration.clips": 4}
FREE = {"axes.batch_size.dynamic": True, "axes.num_frames.dynamic": True}

pytestmark = pytest.mark.usefixtures("few_generated")


def report_of(tiny: Tiny, kind: str = "verify") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tiny.output.parent / f"tiny.{kind}.json").read_text())
    return content


def test_a_half_file_and_its_report(tiny: Tiny) -> None:
    conversion = convert(tiny.resolve({**HALF, **FREE}), quiet())
    assert isinstance(conversion.report, LowerReport)
    assert sorted(path.name for path in tiny.output.parent.iterdir()) == ["tiny.onnx", "tiny.verify.json"]
    model = onnx.load(tiny.output)
    assert {t.data_type for t in model.graph.initializer if len(t.dims) > 1} == {TensorProto.FLOAT16}
    metadata = read_metadata(model)
    assert metadata["precision"] == "fp16"
    assert metadata["calibration"] == {
        "clips": 4, "source": "generated", "seed": [0, 20], "warnings": [], "method": "percentile", "exclude": [],
    }  # fmt: skip
    limits = {"min_agreement": 0.99, "max_probability_difference": 0.01, "max_top1_drop": 0.005}
    assert metadata["verification"] == limits
    report = report_of(tiny)
    assert (report["passed"], report["accuracy"]["limits"]) == (True, limits)
    assert report["versions"]["onnxruntime"] == onnxruntime.__version__
    assert report["arithmetic"] == "onnxruntime on cpu, every value rounded to half"
    for key in ("precision", "calibration", "float_layers"):
        assert report[key] == metadata[key]
    assert {layer["reason"] for layer in report["float_layers"]} == {"decides which rows are taken"}
    assert {(row["shape"][0], row["shape"][2]) for row in report["shapes"]} >= {(1, 20), (1, 8), (3, 8), (1, 32)}
    assert all(row["passed"] and row["finite"] for row in report["shapes"])
    (accuracy,) = report["accuracy"]["sets"]
    assert (accuracy["clips"], accuracy["agreement"]) == (12, 1.0)


def test_the_report_of_a_float_file_names_the_runtime_as_well(tiny: Tiny) -> None:
    convert(tiny.resolve(), quiet())
    assert report_of(tiny)["versions"]["onnxruntime"] == onnxruntime.__version__
    assert report_of(tiny)["precision"] == "fp32"


def test_a_file_that_loses_accuracy_is_not_published(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(tiny.resolve(), quiet())
    good = tiny.output.read_bytes()
    real = half.to_half

    def wrong(proto: ModelProto, *arguments: Any, **options: Any) -> half.Half:
        done = real(proto, *arguments, **options)
        (weight,) = [t for t in done.proto.graph.initializer if t.name == "head.fc.weight"]
        values = -onnx.numpy_helper.to_array(weight)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
        return done

    with monkeypatch.context() as patch:
        patch.setattr(precision, "to_half", wrong)
        with pytest.raises(VerificationError) as caught:
            convert(tiny.resolve(HALF), quiet())
    assert caught.value.code == 6
    assert "of the clips agree with PyTorch, expected 99.00% at least" in caught.value.message
    assert "leave these layers in float with calibration.exclude: /head/fc/Gemm" in caught.value.hint
    assert "tiny.verify.failed.json and " in caught.value.hint
    assert tiny.output.read_bytes() == good
    assert left_behind(tiny.output.parent) == ["tiny.onnx"]
    failed = report_of(tiny, "verify.failed")
    assert failed["passed"] is False
    assert failed["accuracy"]["exclude_next"][0] == "/head/fc/Gemm"
    differing = {each["frame_dir"] for each in failed["accuracy"]["sets"][0]["differing"]}
    with np.load(tiny.output.parent / "tiny.verify.failed.npz") as arrays:
        assert differing.intersection(arrays.files)
        assert arrays[sorted(differing.intersection(arrays.files))[0]].shape == (2, 20, 17, 3)


def test_a_shape_that_gives_garbage_is_not_published(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right at the traced number of frames, where the accuracy is measured, and infinite at all others."""
    real = half.to_half

    def wrong(proto: ModelProto, *arguments: Any, **options: Any) -> half.Half:
        done = real(proto, *arguments, **options)
        model = done.proto
        zero = onnx.numpy_helper.from_array(np.zeros((), np.float32), "nothing")
        traced = onnx.numpy_helper.from_array(np.array(20, np.int64), "traced")
        index = onnx.numpy_helper.from_array(np.array(2, np.int64), "axis of frames")
        model.graph.initializer.extend([zero, traced, index])
        for node in model.graph.node:
            node.output[:] = ["logits" if name == "output" else name for name in node.output]
        make = onnx.helper.make_node
        model.graph.node.extend(
            [
                make("Shape", ["input"], ["sizes"]),
                make("Gather", ["sizes", "axis of frames"], ["frames"]),
                make("Sub", ["frames", "traced"], ["beyond"]),
                make("Cast", ["beyond"], ["beyond in float"], to=TensorProto.FLOAT),
                make("Abs", ["beyond in float"], ["distance"]),
                make("Neg", ["distance"], ["less"]),
                make("Exp", ["less"], ["factor"]),
                make("Mul", ["logits", "factor"], ["output"]),
            ]
        )
        return done

    monkeypatch.setattr(precision, "to_half", wrong)
    with pytest.raises(VerificationError, match=r"\[1, 2, 8, 17, 3\]: mean probability difference 0\.\d+ on 8 clips"):
        convert(tiny.resolve({**HALF, **FREE}), quiet())
    assert left_behind(tiny.output.parent) == []
    failed = report_of(tiny, "verify.failed")
    assert failed["accuracy"]["passed"] is True
    verdicts = {row["shape"][2]: row["passed"] for row in failed["shapes"]}
    assert (verdicts[20], verdicts[8], verdicts[32]) == (True, False, False)


def test_given_clips_judge_unless_they_were_calibrated_on(tiny: Tiny) -> None:
    data = tiny.folder / "clips.pkl"
    data.write_bytes(pickle.dumps([people_clip(f"clip{index}", 1 + index % 2) for index in range(6)]))
    values = {**HALF, "calibration.data": str(data), "verify.data": str(data), "calibration.clips": 2}
    conversion = convert(tiny.resolve(values), quiet())
    given = next(item for item in report_of(tiny)["accuracy"]["sets"] if item["name"] == "given, clips.pkl")
    assert (given["clips"], given["calibrated"]) == (4, 2)
    assert data in conversion.sources
    with pytest.raises(UsageError, match="all 6 were used for calibration"):
        convert(tiny.resolve({**values, "calibration.clips": 6}), quiet())


def test_calibration_says_nothing_to_fp32(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"calibration.data": "nowhere.pkl", "calibration.clips": 3}
    conversion = convert(tiny.resolve(data), quiet())
    assert "calibration.data, calibration.clips: of no meaning for fp32, not used" in capsys.readouterr().err
    assert not any(path.name == "nowhere.pkl" for path in conversion.sources)


def test_all_rewrites_but_those_that_half_gains_nothing_from(tiny: Tiny) -> None:
    assert chosen_rewrites(tiny.resolve().preset) == names()
    assert set(names()) - set(chosen_rewrites(tiny.resolve(HALF).preset)) == {"joint_rank", "people_groups"}
    asked = {"export.deploy": ["einsum_free"]}
    assert chosen_rewrites(tiny.resolve({**HALF, **asked}).preset) == ("einsum_free",)
    with pytest.raises(UsageError, match="'joint_rnk' is not a rewrite"):
        chosen_rewrites(tiny.resolve({"export.deploy": ["joint_rnk"]}).preset)


def test_int8_is_given_the_clips_and_what_it_leaves_is_reported(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def quantise(
        proto: ModelProto, clips: Sequence[Any], *, on_progress: Callable[[str, int, int], None], **options: Any
    ) -> precision.int8.Quantised:
        seen.update(options, clips=len(clips))
        on_progress("quantising", 1, 1)
        layer = precision.int8.FloatLayer("/head/fc/Gemm", "costs accuracy", 0.002)
        return precision.int8.Quantised(proto, (layer,), ("/backbone/x",))

    monkeypatch.setattr(precision.int8, "quantise", quantise)
    values = {"export.precision": "int8", "calibration.clips": 3, "calibration.method": "entropy"}
    convert(tiny.resolve({**values, "calibration.exclude": ["head"]}), quiet())
    assert seen == {"clips": 3, "method": "entropy", "exclude": ("head",)}
    report = report_of(tiny)
    assert report["float_layers"] == [{"name": "/head/fc/Gemm", "reason": "costs accuracy", "effect": 0.002}]
    assert (report["calibration"]["method"], report["calibration"]["exclude"]) == ("entropy", ["head"])
    assert report["arithmetic"] == "onnxruntime on cpu"


@pytest.mark.slow
def test_verify_holds_an_existing_file_to_its_own_precision(tiny: Tiny) -> None:
    convert(tiny.resolve(HALF), quiet())
    options = ("--preset", tiny.preset, "--json", tiny.folder / "again.json")
    outcome = run_script("verify.py", "--model", tiny.output, *options)
    assert outcome.code == 0, outcome.stderr
    assert "clips agree with PyTorch" in outcome.stdout
    assert "1x2x20x17x3: 3 cases finite" in outcome.stdout
    report = json.loads(Path(tiny.folder / "again.json").read_text())
    assert (report["precision"], report["passed"]) == ("fp16", True)
    assert report["accuracy"]["sets"][0]["clips"] == 300
    strict = run_script("verify.py", "--model", tiny.output, *options, "--set", "verify.max_probability_difference=0")
    assert strict.code == 6
    assert "mean probability difference" in strict.last_line
    assert "allowed 0;" in strict.last_line
    assert np.load(tiny.folder / "again.npz").files


def test_an_opset_without_scales_per_channel_is_refused_before_anything_is_made(tiny: Tiny) -> None:
    outcome = run_script("convert.py", "--preset", tiny.preset, "--precision", "int8", "--opset", 11)
    outcome.expect_error(2, "export: precision int8 needs opset 13 or later", "the opset is 11")
    assert not tiny.output.parent.exists()
    run_script("convert.py", "--preset", tiny.preset, "--precision", "int4").expect_error(
        2, "--precision: export.precision: Input should be 'fp32', 'fp16' or 'int8', found 'int4'"
    )


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_half_at_every_opset(tiny: Tiny, opset: int) -> None:
    convert(tiny.resolve({**HALF, **FREE, "export.opset": opset}), quiet())
    assert report_of(tiny)["passed"] is True


def test_the_same_bytes_in_another_folder(tiny: Tiny, tmp_path: Path) -> None:
    first = convert(tiny.resolve(HALF), quiet()).output.read_bytes()
    second = convert(tiny.resolve({**HALF, "output": str(tmp_path / "elsewhere" / "other.onnx")}), quiet()).output
    assert second.read_bytes() == first
