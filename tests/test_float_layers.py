"""Layers that a preset excludes from a lower precision, by module and by node."""

from __future__ import annotations

import onnx
import pytest
from onnx import helper

from stgcn_onnx.errors import UsageError
from stgcn_onnx.float_layers import excluded_nodes, node_label


def test_a_module_stands_for_all_nodes_inside_it(plain_content: bytes) -> None:
    proto = onnx.load_from_string(plain_content)
    found = excluded_nodes(proto, ["backbone.gcn.1"])
    assert found == {node.name for node in proto.graph.node if node.name.startswith("/backbone/gcn.1/")}
    inner = excluded_nodes(proto, ["backbone.gcn.1.tcn"])
    assert inner < found
    assert inner
    deep = excluded_nodes(proto, ["backbone.gcn.1.tcn.branches.0"])
    assert deep < inner, "the path that the network has, without what the exporter repeats"


def test_a_node_is_found_by_its_name(plain_content: bytes) -> None:
    proto = onnx.load_from_string(plain_content)
    assert excluded_nodes(proto, ["/head/fc/Gemm", "/backbone/gcn.0/relu/Relu"]) == {
        "/head/fc/Gemm",
        "/backbone/gcn.0/relu/Relu",
    }
    assert excluded_nodes(proto, []) == frozenset()


@pytest.mark.parametrize(
    ("entry", "hint"),
    [("backbone.gcn.11", "did you mean 'backbone.gcn.1'?"), ("zzz", "give a path such as backbone.gcn.0")],
)
def test_what_names_nothing_is_an_error(plain_content: bytes, entry: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        excluded_nodes(onnx.load_from_string(plain_content), [entry])
    assert caught.value.message == f"calibration.exclude: '{entry}' is no module and no node of the graph"
    assert hint in caught.value.hint


def test_a_node_without_a_name_is_called_after_its_output() -> None:
    assert node_label(helper.make_node("Relu", ["x"], ["y"])) == "y"
    assert node_label(helper.make_node("Relu", ["x"], ["y"], name="/relu")) == "/relu"
