"""From module to ONNX: every opset, every combination of free axes, both exporters, and the same bytes each time."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
import torch
from tiny import FRAMES, Tiny, quiet, write_tiny
from torch import Tensor, nn

from stgcn_onnx.compare import Tolerance
from stgcn_onnx.errors import ExportError, UsageError
from stgcn_onnx.export import FreeAxes, check_opset, export
from stgcn_onnx.model import ClipShape, LoadedModel
from stgcn_onnx.pipeline import build, check, free_axes
from stgcn_onnx.runtime import Session, newest_opset
from stgcn_onnx.verify_cases import shapes

OPSETS = (11, 12, 13, 15, 17, 18, 20, 21)
BATCH, NUM_FRAMES = "axes.batch_size.dynamic", "axes.num_frames.dynamic"
AXES = {"static": {}, "batch": {BATCH: True}, "frames": {NUM_FRAMES: True}, "both": {BATCH: True, NUM_FRAMES: True}}


def build_and_verify(tiny: Tiny, model: LoadedModel, overrides: dict[str, object]) -> onnx.ModelProto:
    resolved = tiny.resolve(overrides)
    content = build(model, resolved, quiet()).content
    report = check(content, model, resolved.preset, quiet())
    assert report.passed
    expected_shapes = {size.sizes() for size in shapes(model.shape, free_axes(resolved.preset))}
    assert {row.shape for row in report.rows} == expected_shapes
    assert (len(expected_shapes) > 1) == any(overrides.get(axis) for axis in (BATCH, NUM_FRAMES))
    return onnx.load_from_string(content)


def assert_is_ours(model: onnx.ModelProto, opset: int, overrides: dict[str, object]) -> None:
    assert [(o.domain, o.version) for o in model.opset_import] == [("", opset)]
    assert {node.domain for node in model.graph.node} == {""}
    assert not any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer)
    batch = "batch_size" if overrides.get(BATCH) else 1
    frames = "num_frames" if overrides.get(NUM_FRAMES) else FRAMES
    (clip,), (logits,) = model.graph.input, model.graph.output
    assert (clip.name, logits.name) == ("input", "output")
    dims = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (clip, logits)]
    assert dims == [[batch, 2, frames, 17, 3], [batch, 2]]
    assert {v.type.tensor_type.elem_type for v in (clip, logits)} == {onnx.TensorProto.FLOAT}


@pytest.mark.parametrize("axes", ["static", "both"])
@pytest.mark.parametrize("opset", OPSETS)
def test_torchscript_converts_and_verifies(tiny_source: Tiny, loaded: LoadedModel, opset: int, axes: str) -> None:
    overrides = {"export.opset": opset, **AXES[axes]}
    assert_is_ours(build_and_verify(tiny_source, loaded, overrides), opset, overrides)


@pytest.mark.parametrize("opset", [11, 17, 21])
def test_the_plain_export_converts_and_verifies(tiny_source: Tiny, loaded: LoadedModel, opset: int) -> None:
    overrides = {"export.opset": opset, "export.deploy": "none", **AXES["both"]}
    model = build_and_verify(tiny_source, loaded, overrides)
    assert_is_ours(model, opset, overrides)
    assert any(node.op_type == "Einsum" for node in model.graph.node) == (opset > 11)


@pytest.mark.parametrize("axes", ["batch", "frames"])
def test_each_axis_can_be_free_on_its_own(tiny_source: Tiny, loaded: LoadedModel, axes: str) -> None:
    assert_is_ours(build_and_verify(tiny_source, loaded, dict(AXES[axes])), 17, dict(AXES[axes]))


@pytest.mark.slow
@pytest.mark.parametrize("deploy", ["all", "none"])
@pytest.mark.parametrize("axes", ["static", "both"])
@pytest.mark.parametrize("opset", [18, 21])
def test_dynamo_converts_and_verifies(
    tiny_source: Tiny, loaded: LoadedModel, opset: int, axes: str, deploy: str
) -> None:
    overrides = {"export.opset": opset, "export.exporter": "dynamo", "export.deploy": deploy, **AXES[axes]}
    assert_is_ours(build_and_verify(tiny_source, loaded, overrides), opset, overrides)


@pytest.mark.parametrize(
    ("opset", "exporter", "message"),
    [
        (10, "torchscript", "export.opset is 10; the torchscript exporter and the installed onnxruntime take 11 to "),
        (17, "dynamo", "export.opset is 17; the dynamo exporter and the installed onnxruntime take 18 to "),
        (99, "torchscript", "take 11 to "),
        (99, "dynamo", "take 18 to "),
    ],
)
def test_an_opset_out_of_range_is_refused_with_the_range(opset: int, exporter: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_opset(opset, exporter)
    assert message in caught.value.message
    assert caught.value.message.endswith(f" to {newest_opset()}")
    assert "choose an opset in that range" in caught.value.hint


def test_the_range_ends_at_what_works() -> None:
    newest = newest_opset()
    assert newest >= max(OPSETS)
    for exporter in ("torchscript", "dynamo"):
        check_opset(newest, exporter)
        with pytest.raises(UsageError):
            check_opset(newest + 1, exporter)


def test_the_newest_opset_converts_as_well(tiny_source: Tiny, loaded: LoadedModel) -> None:
    assert build_and_verify(tiny_source, loaded, {"export.opset": newest_opset(), **AXES["both"]})


def build_in(folder: Path, weights: dict[str, Tensor], overrides: dict[str, object]) -> bytes:
    folder.mkdir()
    tiny = write_tiny(folder, weights=weights)
    before = Path.cwd()
    os.chdir(folder)
    try:
        return build(tiny.load(), tiny.resolve(overrides), quiet()).content
    finally:
        os.chdir(before)


def assert_repeats(tmp_path: Path, source: Tiny, overrides: dict[str, object]) -> None:
    weights = dict(torch.load(source.checkpoint, weights_only=True)["state_dict"])
    first = build_in(tmp_path / "one", weights, overrides)
    second = build_in(tmp_path / "another-folder-with-a-longer-name", weights, overrides)
    assert first == second
    for local in (str(tmp_path), str(Path.home()), str(Path(__file__).parent.parent), '.py", line', "site-packages"):
        assert local.encode() not in first or local == "/root"


def test_the_bytes_are_the_same_twice_from_any_folder(tmp_path: Path, tiny_source: Tiny) -> None:
    assert_repeats(tmp_path, tiny_source, {**AXES["both"]})


@pytest.mark.slow
def test_dynamos_bytes_are_the_same_twice_from_any_folder(tmp_path: Path, tiny_source: Tiny) -> None:
    assert_repeats(tmp_path, tiny_source, {"export.opset": 18, "export.exporter": "dynamo", **AXES["both"]})


class Halves(nn.Module):
    """Takes `[N, M, T, V, C]`; which half is taken depends on the number of frames, so a trace bakes that in."""

    def forward(self, clip: Tensor) -> Tensor:
        size = int(clip.shape[2]) // 2
        return clip[:, :, :size].sum(dim=(1, 2, 3))


def test_an_exporter_that_fails_says_so_with_its_opset() -> None:
    class Unsupported(nn.Module):
        def forward(self, clip: Tensor) -> Tensor:
            return torch.fft.fft(clip).abs().sum(dim=(1, 2, 3))

    with pytest.raises(ExportError, match="the torchscript exporter failed at opset 11: ") as caught:
        export(Unsupported(), ClipShape(1, 2, 4, 3, 2), FreeAxes(), opset=11, exporter="torchscript")
    assert "the other exporter" in caught.value.hint
    assert "\n" not in caught.value.message


def test_what_a_trace_bakes_in_is_seen_at_another_shape() -> None:
    shape = ClipShape(1, 2, 8, 3, 2)
    model = export(Halves(), shape, FreeAxes(frames=(4, 16)), opset=17, exporter="torchscript")
    session = Session(model.SerializeToString())
    clip = torch.rand(1, 2, 16, 3, 2)
    found = session.run(clip.numpy())
    assert not Tolerance(1e-3, 1e-5).allows(found, Halves()(clip).numpy())


def test_free_axes_are_named_by_position() -> None:
    assert FreeAxes().by_position() == {}
    assert FreeAxes(batch=(1, 8), frames=(50, 200)).by_position() == {0: "batch_size", 2: "num_frames"}
