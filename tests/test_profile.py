"""Where the time goes: events without their inner events, nodes with their modules, and the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from tiny import Tiny, quiet

import profile_onnx as script
from stgcn_onnx.artefact import read_metadata
from stgcn_onnx.bench.modules import UNKNOWN, ModuleFinder, node_name
from stgcn_onnx.bench.profile import NodeTime, Profile, kinds_table, modules_table, nodes_table, own_times, profile_file
from stgcn_onnx.bench.spec import Clips
from stgcn_onnx.bench.subject import read_subject
from stgcn_onnx.blocks import scope_of, shortened
from stgcn_onnx.pipeline import build


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, plain_content: bytes) -> Path:
    path = tmp_path_factory.mktemp("profile") / "plain.onnx"
    path.write_bytes(plain_content)
    return path


@pytest.fixture(scope="module")
def found(plain: Path) -> Profile:
    subject = read_subject(plain)
    return profile_file(subject, subject.clips(), iterations=3, warmup=1)


def event(name: str, start: int, length: int) -> dict[str, Any]:
    return {"name": name, "ts": start, "dur": length}


def test_an_event_does_not_count_what_runs_inside_it() -> None:
    events = [event("If", 0, 100), event("Conv", 10, 30), event("Relu", 40, 20), event("Add", 100, 5)]
    assert [(e["name"], own) for e, own in own_times(events)] == [
        ("If", 50.0), ("Conv", 30.0), ("Relu", 20.0), ("Add", 5.0),
    ]  # fmt: skip


def test_nested_twice() -> None:
    events = [event("Loop", 0, 100), event("If", 10, 50), event("Conv", 20, 10)]
    assert [own for _, own in own_times(events)] == [50.0, 40.0, 10.0]


@pytest.mark.parametrize(
    ("found_name", "name"),
    [
        ("/backbone/gcn.0/gcn/Einsum_kernel_time", "/backbone/gcn.0/gcn/Einsum"),
        ("/backbone/gcn.0/Conv_output_0_nchwc_kernel_time", "/backbone/gcn.0/Conv_output_0"),
        ("ReorderOutput_token_226_kernel_time", "ReorderOutput"),
        ("fused /head/fc/Gemm_kernel_time", "/head/fc/Gemm"),
    ],
)
def test_what_onnxruntime_adds_to_names_is_removed(found_name: str, name: str) -> None:
    assert node_name(found_name) == name


def test_scopes() -> None:
    assert scope_of("/backbone/gcn.1/tcn/branches.0/branches.0.3/conv/Conv") == "backbone.gcn.1.tcn.branches.0.3.conv"
    assert scope_of("node_conv2d_3") == ""
    assert shortened("backbone.gcn.1.tcn.branches.0", 2) == "backbone.gcn.1"
    assert shortened("backbone.gcn.1.tcn.branches.0", 3) == "backbone.gcn.1.tcn"
    assert shortened("backbone", 3) == "backbone"


def test_nodes_with_names_of_their_own_are_placed_by_the_blocks(plain_content: bytes) -> None:
    model = onnx.load_from_string(plain_content)
    blocks = read_metadata(model)["blocks"]
    middle = next(node for node in model.graph.node if node.name == "/backbone/gcn.1/gcn/Einsum")
    assert ModuleFinder(model, blocks).find(middle.name) == "backbone.gcn.1.gcn"
    for node in model.graph.node:
        node.name = "node_" + node.name.replace("/", "_")
    middle.output[0] = "einsum_1"
    renamed = ModuleFinder(model, blocks)
    assert shortened(renamed.find("einsum_1"), 3) == "backbone.gcn.1.gcn"
    assert renamed.find("ReorderInput") == ""
    assert ModuleFinder(model, {}).find("einsum_1") == UNKNOWN


def test_kinds_and_modules_of_a_file(found: Profile) -> None:
    kinds = {node.kind for node in found.nodes}
    assert {"Conv", "Einsum", "Gemm"} <= kinds
    modules = {shortened(node.module, 2) for node in found.nodes}
    assert {"backbone.gcn.0", "backbone.gcn.1", "backbone.gcn.2"} <= modules
    assert all(node.module.startswith(("backbone", "head")) for node in found.nodes)
    assert sum(node.kind == "Einsum" for node in found.nodes) == 3


def test_a_node_in_a_loop_counts_once_with_the_time_of_all_iterations(tmp_path: Path, batch_content: bytes) -> None:
    path = tmp_path / "batch.onnx"
    path.write_bytes(batch_content)
    subject = read_subject(path)
    nodes = profile_file(subject, subject.clips(batch=3), iterations=2, warmup=0).nodes
    pools = [node for node in nodes if node.kind == "MaxPool"]
    assert [shortened(n.module, 3) for n in pools] == [f"backbone.gcn.{index}.tcn" for index in range(3)]
    assert {"backbone.gcn.0", "backbone.gcn.1", "backbone.gcn.2", "head"} <= {shortened(n.module, 2) for n in nodes}


def test_shares_sum_to_the_whole() -> None:
    nodes = (
        NodeTime("a", "Conv", "backbone.gcn.0.gcn", 3.0),
        NodeTime("b", "Conv", "backbone.gcn.1.gcn", 1.0),
        NodeTime("c", "Add", "backbone.gcn.1.tcn", 4.0),
    )
    profile = Profile(nodes, 2.0, Clips(1, 1, 1, 1, 1, 1))
    assert kinds_table(profile).rows == (
        ("Conv", "2", "4.000", "40.0%"),
        ("Add", "1", "4.000", "40.0%"),
        ("between the nodes", "", "2.000", "20.0%"),
    )
    assert modules_table(profile, 2).rows == (
        ("backbone.gcn.1", "2", "5.000", "50.0%"),
        ("backbone.gcn.0", "1", "3.000", "30.0%"),
    )
    assert [cells[0] for cells in nodes_table(profile, 2).rows] == ["c", "a"]


@pytest.mark.slow
def test_a_dynamo_file_is_placed_by_its_blocks(tiny: Tiny) -> None:
    path = tiny.folder / "dynamo.onnx"
    resolved = tiny.resolve({"export.exporter": "dynamo", "export.opset": 18, "export.deploy": "none"})
    path.write_bytes(build(tiny.load(), resolved, quiet()).content)
    subject = read_subject(path)
    nodes = profile_file(subject, subject.clips(), iterations=1, warmup=0).nodes
    assert {"backbone.gcn.0", "backbone.gcn.1", "backbone.gcn.2"} <= {shortened(node.module, 2) for node in nodes}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["profile_onnx.py", *map(str, arguments)])
    return script.main()


def test_the_command(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--iterations", 2, "--warmup", 0, "--top", 4, "--people", 1, "--json", "p.json")
    assert run(monkeypatch, plain, *options) == 0
    out, err = capsys.readouterr()
    titles = [line for line in out.splitlines() if line and not line.startswith("|")]
    assert titles == ["By kind of node", "By module", "The 4 longest nodes"]
    assert "| Einsum | 3 |" in out
    assert "with 1 people" in err
    assert json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))["nodes"]
    # The profiler's own file went to a temporary folder.
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]


def test_a_size_that_the_file_does_not_take(
    plain: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, plain, "--num-frames", 21) == 2
    assert "--num-frames 21: plain.onnx takes 20 alone, the axis is fixed" in capsys.readouterr().err
    assert run(monkeypatch, plain.with_name("none.onnx")) == 2
    assert "none.onnx does not exist" in capsys.readouterr().err
