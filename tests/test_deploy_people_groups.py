"""Twin of scripts/stgcn_onnx/deploy/people_groups.py."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from deploy_models import PREFIXES, RELATIVE_LIMIT, clip, largest_error, recogniser, relative_error
from torch import nn

from stgcn_onnx.deploy import deploy
from stgcn_onnx.deploy.joint_rank import JointRankGraphConv
from stgcn_onnx.deploy.people_groups import GROUP, PeopleGroups

CHOSEN = PREFIXES["people_groups"]
WITHOUT_ABSENT = [name for name in CHOSEN if name != "absent_people"]
WIDE: dict[str, Any] = {"base_channels": 64, "num_stages": 2, "inflate_stages": [], "down_stages": []}
COUNTS = [0, 1, 3, 4, 5, 8, 11]


def clip_with(present: int, *, batch: int = 3, persons: int = 4, frames: int = 12) -> torch.Tensor:
    """A clip of `batch * persons` slots of which `present` are in use, spread over the clips."""
    x = clip(batch=1, persons=batch * persons, frames=frames).reshape(batch, persons, frames, 17, 2)
    order = torch.randperm(batch * persons, generator=torch.Generator().manual_seed(present))
    x.reshape(batch * persons, -1)[order[present:]] = 0
    return x


def exported(model: nn.Module, opset: int, *, dynamic: bool, batch: int = 3) -> bytes:
    buffer = io.BytesIO()
    axes = {"input": {0: "batch_size", 2: "num_frames"}, "output": {0: "batch_size"}} if dynamic else None
    torch.onnx.export(
        model,
        (clip_with(4 * batch, batch=batch).float(),),
        buffer,
        opset_version=opset,
        dynamo=False,
        input_names=["input"],
        output_names=["output"],
        dynamic_axes=axes,
    )
    return buffer.getvalue()


def loop_body(content: bytes) -> onnx.GraphProto:
    (loop,) = [node for node in onnx.load_from_string(content).graph.node if node.op_type == "Loop"]
    return loop.attribute[0].g


@pytest.mark.parametrize("present", COUNTS)
@pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
@pytest.mark.parametrize("chosen", [CHOSEN, WITHOUT_ABSENT], ids=["present", "everybody"])
def test_any_number_of_people_in_float64(present: int, static: bool, chosen: list[str]) -> None:
    model = recogniser()
    frames = {"num_frames": 12, "frame_range": None} if static else {"num_frames": None, "frame_range": (10, 13)}
    rewritten, applied = deploy(model, chosen, traced_people=12, **frames)
    assert (applied[-1].name, applied[-1].count, applied[-1].refusals) == ("people_groups", 1, ())
    with torch.no_grad():
        for count in (12,) if static else (10, 11, 13):
            x = clip_with(present, frames=count)
            assert relative_error(rewritten(x), model(x)) < RELATIVE_LIMIT


@pytest.mark.parametrize("batch", range(1, 9))
def test_any_batch_in_float64(batch: int) -> None:
    model = recogniser()
    rewritten, _ = deploy(model, CHOSEN, num_frames=12, frame_range=None, traced_people=24)
    with torch.no_grad():
        assert relative_error(rewritten(clip(batch=batch)), model(clip(batch=batch))) < RELATIVE_LIMIT


@pytest.mark.parametrize(
    "options",
    [WIDE, {"in_channels": 3}, {"tcn_type": "unit_tcn"}, {"data_bn_type": "MVC", "num_person": 3}],
    ids=str,
)
def test_same_function_in_float64(options: dict[str, Any]) -> None:
    model = recogniser(**options)
    chosen = WITHOUT_ABSENT if "data_bn_type" in options else CHOSEN
    rewritten, applied = deploy(model, chosen, num_frames=None, frame_range=(9, 12), traced_people=15)
    assert applied[-1].count == 1
    assert largest_error(model, rewritten, batch=5, channels=options.get("in_channels", 2)) < RELATIVE_LIMIT


def test_the_mixtures_of_joint_rank_are_left_as_they_were() -> None:
    rewritten, _ = deploy(recogniser(**WIDE), CHOSEN, num_frames=12, frame_range=None, traced_people=15)
    units = [unit for unit in rewritten.modules() if isinstance(unit, JointRankGraphConv)]
    assert units
    flat = torch.cat([unit.mixtures.flatten() for unit in units])
    assert torch.equal(rewritten.backbone.groups.mixtures, flat)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_no_numbers_come_out_as_pytorch_gives_them(value: float) -> None:
    model = recogniser()
    rewritten, _ = deploy(model, CHOSEN, num_frames=12, frame_range=None, traced_people=12)
    x = clip_with(7)
    x[1, 2, 3, 5, 1] = value
    with torch.no_grad():
        expected, found = model(x), rewritten(x)
    assert expected.isnan().any() and not expected.isnan().all()
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.allclose(found, expected, rtol=1e-11, equal_nan=True)


@pytest.mark.parametrize(("traced_people", "count"), [(1, 0), (GROUP, 0), (GROUP + 1, 1), (32, 1), (None, 1)])
def test_nothing_to_do_for_one_group(traced_people: int | None, count: int) -> None:
    rewritten, applied = deploy(recogniser(), CHOSEN, num_frames=12, frame_range=None, traced_people=traced_people)
    assert (applied[-1].count, applied[-1].refusals) == (count, ())
    assert isinstance(rewritten.backbone.groups, PeopleGroups) == (count == 1)


def test_refuses_an_exporter_without_scripting() -> None:
    rewritten, applied = deploy(
        recogniser(), CHOSEN, num_frames=12, frame_range=None, traced_people=12, scripting=False
    )
    assert applied[-1].count == 0
    assert applied[-1].refusals == (
        "backbone: the dynamo exporter takes no scripted loop; the torchscript exporter does",
    )
    assert rewritten.backbone.groups is None


def test_refuses_people_who_are_not_pooled() -> None:
    class Own(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.amax(dim=(1, 3, 4))

    model = recogniser()
    model.head = Own()
    rewritten, applied = deploy(model, CHOSEN, num_frames=None, frame_range=None, traced_people=12)
    assert "not pooled one by one" in applied[-1].refusals[0]
    assert largest_error(model, rewritten) < RELATIVE_LIMIT


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_in_onnxruntime(dynamic: bool, opset: int) -> None:
    model = recogniser().float()
    frames = {"num_frames": None, "frame_range": (10, 13)} if dynamic else {"num_frames": 12, "frame_range": None}
    rewritten, _ = deploy(model, "all", traced_people=12, **frames)
    content = exported(rewritten, opset, dynamic=dynamic)
    body = loop_body(content)
    assert {node.domain for node in body.node} == {""}
    assert {"backbone/gcn.0/tcn/merge/Conv", "backbone/gcn.2/tcn/merge/Conv"} <= {node.name for node in body.node}
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for batch in (1, 2, 3, 5) if dynamic else (3,):
        for count in (10, 11, 13) if dynamic else (12,):
            for present in {0, 1, min(5, 4 * batch), 4 * batch}:
                x = clip_with(present, batch=batch, frames=count).float()
                with torch.no_grad():
                    expected = model(x).numpy()
                (found,) = session.run(None, {"input": x.numpy()})
                assert np.abs(found - expected).max() / np.abs(expected).max() < 1e-5


def optimised(content: bytes, folder: Path) -> onnx.GraphProto:
    """The loop's body as onnxruntime runs it; node names and weights are readable at the basic level."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return loop_body((folder / "optimised.onnx").read_bytes())


def test_onnxruntime_folds_and_fuses_inside_the_loop(tmp_path: Path) -> None:
    rewritten, _ = deploy(recogniser(**WIDE).float(), "all", num_frames=12, frame_range=None, traced_people=12)
    content = exported(rewritten, 17, dynamic=False)
    assert sum(node.op_type == "MatMul" for node in loop_body(content).node) == 2
    body = optimised(content, tmp_path)
    kinds = [node.op_type for node in body.node]
    assert kinds.count("MatMul") == 1, "the mixtures of the weights are multiplied out when the file is loaded"
    assert "Split" not in kinds
    assert "FusedConv" in kinds
    weights = {tensor.name for tensor in body.initializer}
    convolutions = [node for node in body.node if node.op_type in ("Conv", "FusedConv")]
    assert convolutions and all(node.input[1] in weights for node in convolutions)


@pytest.mark.parametrize(("present", "iterations"), [(0, 1), (1, 1), (4, 1), (5, 2), (12, 3)])
def test_only_as_many_groups_as_there_are_people(tmp_path: Path, present: int, iterations: int) -> None:
    rewritten, _ = deploy(recogniser().float(), "all", num_frames=12, frame_range=None, traced_people=12)
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    content = exported(rewritten, 17, dynamic=False)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    session.run(None, {"input": clip_with(present).float().numpy()})
    events = json.loads(Path(session.end_profiling()).read_text())
    pools = [e for e in events if e["cat"] == "Node" and e["args"].get("op_name") == "MaxPool"]
    assert len({event["name"] for event in pools}) == 3
    assert len(pools) == 3 * iterations
