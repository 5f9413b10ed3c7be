"""Which value of the graph belongs to which module, and which modules can be compared at all."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from tiny import Tiny, quiet
from torch import nn

from stgcn_onnx.artefact import read_metadata
from stgcn_onnx.blocks import comparable_modules, value_names
from stgcn_onnx.model import LoadedModel
from stgcn_onnx.pipeline import build
from stgcn_onnx.runtime import Session


def outputs(content: bytes, blocks: dict[str, str], clip: torch.Tensor) -> dict[str, np.ndarray]:
    model = onnx.load_from_string(content)
    present = {value.name for value in model.graph.output}
    for name in blocks.values():
        if name not in present:
            model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    found = Session(model.SerializeToString()).run_all(clip.numpy())
    return {path: found[name] for path, name in blocks.items()}


def assert_values_are_the_modules_outputs(content: bytes, model: LoadedModel) -> dict[str, str]:
    blocks: dict[str, str] = read_metadata(onnx.load_from_string(content))["blocks"]
    clip = torch.randn(model.shape.sizes(), generator=torch.Generator().manual_seed(0))
    found = outputs(content, blocks, clip)
    modules = dict(model.recogniser.named_modules())
    for path in blocks:
        seen: list[torch.Tensor] = []
        hook = modules[path].register_forward_hook(lambda _m, _i, output, seen=seen: seen.append(output.clone()))
        with torch.inference_mode():
            model.recogniser(clip)
        hook.remove()
        np.testing.assert_allclose(found[path], seen[0].numpy(), rtol=1e-3, atol=1e-2, err_msg=path)
    return blocks


def test_in_a_plain_export_every_named_value_is_what_its_module_computes(
    plain_content: bytes, loaded: LoadedModel
) -> None:
    blocks = assert_values_are_the_modules_outputs(plain_content, loaded)
    for path in ("backbone.gcn.0", "backbone.gcn.1", "backbone.gcn.1.gcn", "backbone.gcn.1.tcn", "head"):
        assert path in blocks


def test_after_the_rewrites_the_blocks_are_still_there(static_content: bytes) -> None:
    blocks = read_metadata(onnx.load_from_string(static_content))["blocks"]
    known = {name for node in onnx.load_from_string(static_content).graph.node for name in node.output}
    assert {"backbone.gcn.0", "backbone.gcn.1", "backbone.gcn.2"} <= blocks.keys()
    assert set(blocks.values()) <= known


def test_modules_inside_of_a_loop_are_left_out(batch_content: bytes, loaded: LoadedModel) -> None:
    blocks = assert_values_are_the_modules_outputs(batch_content, loaded)
    assert list(blocks) == ["head.fc"]


@pytest.mark.slow
def test_dynamos_values_are_found_as_well(tiny_source: Tiny, loaded: LoadedModel) -> None:
    overrides = {"export.exporter": "dynamo", "export.opset": 18, "export.deploy": "none"}
    blocks = assert_values_are_the_modules_outputs(
        build(loaded, tiny_source.resolve(overrides), quiet()).content, loaded
    )
    assert {"backbone.gcn.0", "backbone.gcn.1", "backbone.gcn.2"} <= blocks.keys()


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        self.bn = nn.BatchNorm2d(1)
        self.relu = nn.ReLU()
        self.transform = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv2d(1, 1, 1)))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.gcn = nn.ModuleList([Block(), Block()])


def test_a_module_with_a_changed_inside_is_compared_as_a_block_only() -> None:
    original = Network()
    rewritten = copy.deepcopy(original)
    rewritten.backbone.gcn[0].bn.weight.data.mul_(2)
    rewritten.backbone.gcn[1].relu = nn.Identity()
    paths = comparable_modules(original, rewritten)
    assert {"backbone.gcn.0", "backbone.gcn.1", "backbone.gcn.0.relu", "backbone.gcn.1.bn"} <= set(paths)
    assert "backbone.gcn.0.bn" not in paths
    assert "backbone.gcn.1.relu" not in paths
    assert "backbone" not in paths
    assert not any(path.endswith(("conv", "transform")) for path in paths), (
        "exporters fold the norm that follows into them"
    )


def test_names_come_from_the_last_node_of_a_scope_and_the_outermost_module_wins() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="/backbone/gcn.0/relu/Relu"),
        helper.make_node("Relu", ["a"], ["b"], name="/backbone/gcn.1/bn/Relu"),
        helper.make_node("Relu", ["b"], ["c"], name="/backbone/gcn.1/relu/Relu"),
        helper.make_node("Relu", ["c"], ["d"], name=""),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [], []))
    wanted = ["backbone.gcn.0", "backbone.gcn.0.relu", "backbone.gcn.1", "backbone.gcn.1.bn", "backbone.gcn.2"]
    assert value_names(model, wanted) == {"backbone.gcn.0": "a", "backbone.gcn.1.bn": "b", "backbone.gcn.1": "c"}
    assert value_names(model, []) == {}
