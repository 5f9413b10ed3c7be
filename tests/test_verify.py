"""Verification has to be able to fail: a nudged weight, a baked-in axis, nothing to compare."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny import Tiny, quiet
from torch import Tensor, nn

from stgcn_onnx.artefact import check_axes, read_metadata
from stgcn_onnx.compare import Tolerance
from stgcn_onnx.errors import UsageError, VerificationError
from stgcn_onnx.export import FreeAxes, export
from stgcn_onnx.model import ClipShape, LoadedModel
from stgcn_onnx.pipeline import build, check
from stgcn_onnx.reference import Reference
from stgcn_onnx.report import require_pass, row_text, table_text
from stgcn_onnx.verify import VerifyReport, verify
from stgcn_onnx.verify_cases import generated_cases

TOLERANCE = Tolerance(1e-3, 1e-5)


@pytest.fixture(scope="module")
def reference(loaded: LoadedModel) -> Reference:
    return Reference(loaded.recogniser)


def verified(content: bytes, model: LoadedModel, reference: Reference, free: FreeAxes | None = None) -> VerifyReport:
    blocks = read_metadata(onnx.load_from_string(content)).get("blocks", {})
    cases = generated_cases(model.shape, free or FreeAxes(), 0)
    return verify(content, reference, cases, TOLERANCE, blocks=blocks)


def nudged(content: bytes, module: str) -> bytes:
    """The file with one weight changed: the largest of the first Conv or MatMul whose name is below `module`."""
    model = onnx.load_from_string(content)
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    scope = "/" + module.replace(".", "/", 1)
    node = next(n for n in model.graph.node if n.name.startswith(scope) and n.op_type in ("Conv", "MatMul", "Gemm"))
    tensor = next(values[name] for name in node.input if name in values)
    array = numpy_helper.to_array(tensor).copy()
    index = np.unravel_index(np.abs(array).argmax(), array.shape)
    array[index] *= 1.5
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model.SerializeToString()


def test_a_true_copy_passes_with_a_row_for_each_shape(
    dynamic_content: bytes, loaded: LoadedModel, reference: Reference
) -> None:
    report = verified(dynamic_content, loaded, reference, FreeAxes((1, 3), (8, 32)))
    assert report.passed
    assert report.failure is None
    assert len({row.shape for row in report.rows}) == 6
    assert all(row.max_abs < 1e-3 and row.argmax_agreement == 1.0 for row in report.rows)
    assert max(row.rounding_abs for row in report.rows) > 0, "float32 does round"


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("backbone.gcn.1/tcn", "backbone.gcn.1.tcn"),
        ("backbone.gcn.0/gcn", "backbone.gcn.0.gcn"),
        ("backbone.gcn.2/tcn", "backbone.gcn.2.tcn"),
        ("head", "head"),
    ],
)
def test_one_nudged_weight_is_caught_and_its_module_named(
    plain_content: bytes, loaded: LoadedModel, reference: Reference, module: str, expected: str
) -> None:
    report = verified(nudged(plain_content, module), loaded, reference)
    assert not report.passed
    assert report.failure is not None
    divergence = report.failure.divergence
    assert divergence is not None
    assert divergence.module.startswith(expected)
    assert divergence.max_abs > 0
    assert not report.failure.row.passed
    assert report.failure.row.needed_atol > TOLERANCE.atol


def test_after_the_rewrites_a_nudge_is_caught_too(
    static_content: bytes, loaded: LoadedModel, reference: Reference
) -> None:
    model = onnx.load_from_string(static_content)
    blocks = read_metadata(model)["blocks"]
    positions = {name: index for index, node in enumerate(model.graph.node) for name in node.output}
    first, last = positions[blocks["backbone.gcn.0"]], positions[blocks["backbone.gcn.1"]]
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    tensor = next(
        values[name]
        for node in list(model.graph.node)[first + 1 : last]
        if node.op_type == "Conv"
        for name in node.input
        if name in values
    )
    array = numpy_helper.to_array(tensor) * np.float32(1.2)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    report = verified(model.SerializeToString(), loaded, reference)
    assert report.failure is not None
    assert report.failure.divergence is not None
    assert report.failure.divergence.module.startswith("backbone.gcn.1")


def test_what_runs_in_a_loop_is_compared_by_its_result_and_the_report_says_so(
    batch_content: bytes, loaded: LoadedModel, reference: Reference
) -> None:
    model = onnx.load_from_string(batch_content)
    (loop,) = [node for node in model.graph.node if node.op_type == "Loop"]
    constants = [node for node in loop.attribute[0].g.node if node.op_type == "Constant"]
    tensor = max((node.attribute[0].t for node in constants), key=lambda value: len(value.raw_data))
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.5), tensor.name))
    content = model.SerializeToString()
    report = verified(content, loaded, reference, FreeAxes(batch=(1, 3)))
    with pytest.raises(VerificationError, match="what runs in a loop cannot be compared: leave people_groups out"):
        require_pass(report, content, Path("x.onnx"), None)


def test_without_names_a_nudge_is_still_caught_and_no_module_claimed(
    plain_content: bytes, loaded: LoadedModel, reference: Reference
) -> None:
    content = nudged(plain_content, "backbone.gcn.1/tcn")
    report = verify(content, reference, generated_cases(loaded.shape, FreeAxes(), 0), TOLERANCE)
    assert report.failure is not None
    assert report.failure.divergence is None


def test_a_static_file_at_another_shape_is_an_error(
    static_content: bytes, loaded: LoadedModel, reference: Reference
) -> None:
    with pytest.raises(VerificationError, match=r"onnxruntime cannot run untraced \[1, 2, 8, 17, 3\]") as caught:
        verified(static_content, loaded, reference, FreeAxes(frames=(8, 32)))
    assert "an axis that was declared free is not" in caught.value.hint


class Halves(nn.Module):
    """Sums the first half of the frames; a trace bakes in how many they are."""

    def forward(self, clip: Tensor) -> Tensor:
        return clip[:, :, : int(clip.shape[2]) // 2].sum(dim=(1, 2, 3))


def test_an_axis_that_is_declared_free_and_baked_in_inside_is_caught() -> None:
    shape, free = ClipShape(1, 2, 8, 3, 2), FreeAxes(frames=(4, 16))
    model = export(Halves(), shape, free, opset=17, exporter="torchscript")
    check_axes(model, shape, free, 2)
    report = verify(model.SerializeToString(), Reference(Halves()), generated_cases(shape, free, 0), TOLERANCE)
    passed = {row.shape[2]: row.passed for row in report.rows if any(row.people)}
    assert passed == {8: True, 4: True, 11: False, 16: False} or passed == {8: True, 4: False, 11: False, 16: False}
    assert report.failure is not None
    assert report.failure.case.people == (2,), "the case with most people says most"


def test_comparing_nothing_is_an_error(static_content: bytes, reference: Reference) -> None:
    with pytest.raises(VerificationError, match="nothing was compared"):
        verify(static_content, reference, [], TOLERANCE)


def test_a_tolerance_that_is_too_tight_fails_and_says_what_would_do(tiny_source: Tiny, loaded: LoadedModel) -> None:
    resolved = tiny_source.resolve({"verify.rtol": 0.0, "verify.atol": 0.0})
    content = build(loaded, resolved, quiet()).content
    report = check(content, loaded, resolved.preset, quiet())
    assert not report.passed
    needed = max(row.needed_atol for row in report.rows)
    wide = tiny_source.resolve({"verify.rtol": 0.0, "verify.atol": needed})
    assert check(content, loaded, wide.preset, quiet()).passed


def test_the_reference_leaves_the_model_alone_and_runs_in_float64_too(loaded: LoadedModel) -> None:
    before = {key: value.clone() for key, value in loaded.recogniser.state_dict().items()}
    reference = Reference(loaded.recogniser)
    clip = next(case.clip for case in generated_cases(loaded.shape, FreeAxes(), 0) if any(case.people))
    logits, exact = reference.logits(clip), reference.exact_logits(clip)
    assert (logits.dtype, exact.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(logits, exact, rtol=1e-4, atol=1e-4)
    assert not np.array_equal(logits, exact)
    outputs = reference.module_outputs(clip, ["backbone.gcn.0", "head", "backbone.gcn.1"])
    assert list(outputs) == ["backbone.gcn.0", "backbone.gcn.1", "head"], "in the order of computation"
    np.testing.assert_array_equal(outputs["head"], logits)
    for key, value in loaded.recogniser.state_dict().items():
        assert value.dtype == before[key].dtype
        assert bool((value == before[key]).all())


def test_a_failure_leaves_a_report_and_a_reproducer(
    plain_content: bytes, loaded: LoadedModel, reference: Reference, tmp_path: Path
) -> None:
    content = nudged(plain_content, "backbone.gcn.1/tcn")
    report = verified(content, loaded, reference)
    path = tmp_path / "r.json"
    with pytest.raises(VerificationError, match=r"first module that diverges: backbone\.gcn\.1\.tcn") as caught:
        require_pass(report, content, Path("x.onnx"), path)
    assert str(path) in caught.value.hint
    document = json.loads(path.read_text())
    assert document["passed"] is False
    assert document["first_divergence"]["module"].startswith("backbone.gcn.1.tcn")
    assert len(document["rows"]) == len(report.rows)
    with np.load(tmp_path / "r.npz") as arrays:
        assert arrays["input"].shape == loaded.shape.sizes()
        np.testing.assert_allclose(arrays["expected"], reference.logits(arrays["input"]))
        assert not np.allclose(arrays["expected"], arrays["found"], rtol=1e-3, atol=1e-5)


def test_a_report_without_a_place_and_one_that_cannot_be_written(
    plain_content: bytes, loaded: LoadedModel, reference: Reference, tmp_path: Path
) -> None:
    good = verified(plain_content, loaded, reference)
    require_pass(good, plain_content, Path("x.onnx"), None)
    with pytest.raises(UsageError, match="cannot be written: Not a directory"):
        (tmp_path / "file").touch()
        require_pass(good, plain_content, Path("x.onnx"), tmp_path / "file" / "r.json")
    bad = verified(nudged(plain_content, "head"), loaded, reference)
    with pytest.raises(VerificationError) as caught:
        require_pass(bad, plain_content, Path("x.onnx"), None)
    assert "--json" in caught.value.hint


def test_a_report_is_json_even_with_values_that_json_does_not_know(
    plain_content: bytes, loaded: LoadedModel, reference: Reference, tmp_path: Path
) -> None:
    model = onnx.load_from_string(plain_content)
    for tensor in model.graph.initializer:
        if tensor.dims and tensor.data_type == onnx.TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor).copy()
            array.flat[0] = np.nan
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    content = model.SerializeToString()
    report = verified(content, loaded, reference)
    with pytest.raises(VerificationError):
        require_pass(report, content, Path("x.onnx"), tmp_path / "r.json")
    row = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)["rows"][0]
    assert row["max_abs"] == "inf"


def test_rows_as_text_say_what_differs(plain_content: bytes, loaded: LoadedModel, reference: Reference) -> None:
    good = verified(plain_content, loaded, reference)
    bad = verified(nudged(plain_content, "head"), loaded, reference)
    assert all(row_text(row).startswith("ok ") for row in good.rows)
    assert all(row_text(row).startswith("DIFFERS ") for row in bad.rows)
    head, *lines = table_text(bad).splitlines()
    assert head.split()[:2] == ["verdict", "clip"]
    assert len(lines) == len(bad.rows)
    assert all(line.startswith("DIFFERS  traced  1x2x20x17x3") for line in lines)
