"""Files for OpenVINO: built, verified in it, and refused where they cannot be."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny import Tiny, quiet, run_script

from stgcn_onnx import openvino_runtime, pipeline
from stgcn_onnx.artefact import read_metadata
from stgcn_onnx.bench.subject import read_subject
from stgcn_onnx.errors import EnvironmentFault, UsageError, VerificationError
from stgcn_onnx.model import LoadedModel
from stgcn_onnx.openvino_runtime import OpenVinoSession, openvino_is_installed
from stgcn_onnx.pipeline import build, check_logits
from stgcn_onnx.runtime import Session

FOR_OPENVINO = {"export.runtime": "openvino"}
needs_openvino = pytest.mark.skipif(not openvino_is_installed(), reason="the package openvino is not installed")


@pytest.fixture(scope="module")
def content(tiny_source: Tiny, loaded: LoadedModel) -> bytes:
    return build(loaded, tiny_source.resolve(FOR_OPENVINO), quiet()).content


def clip(seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((1, 2, 20, 17, 3)).astype(np.float32)


def test_the_file_says_what_it_is_arranged_for(content: bytes) -> None:
    metadata = read_metadata(onnx.load_from_string(content))
    assert metadata["runtime"] == "openvino"
    assert [item["name"] for item in metadata["deploy"]][-2:] == ["channels_last", "pooled_head"]
    assert {item["count"] for item in metadata["deploy"] if item["name"] == "channels_last"} == {1}


@pytest.mark.parametrize(("opset", "exporter"), [(11, "torchscript"), (18, "dynamo")])
def test_with_the_oldest_opset_and_the_other_exporter(
    tiny_source: Tiny, loaded: LoadedModel, content: bytes, opset: int, exporter: str
) -> None:
    values = {**FOR_OPENVINO, "export.opset": opset, "export.exporter": exporter}
    other = build(loaded, tiny_source.resolve(values), quiet()).content
    assert np.allclose(Session(other).run(clip()), Session(content).run(clip()), rtol=1e-4, atol=1e-5)


@needs_openvino
def test_both_runtimes_agree(content: bytes) -> None:
    assert np.allclose(OpenVinoSession(content).run(clip()), Session(content).run(clip()), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@needs_openvino
def test_the_file_is_verified_in_both(tiny: Tiny) -> None:
    output = tiny.folder / "for_openvino.onnx"
    outcome = run_script("convert.py", "--preset", tiny.preset, "--set", "export.runtime=openvino", "--output", output)
    assert outcome.code == 0, outcome.stderr
    report = json.loads((tiny.folder / "for_openvino.verify.json").read_text(encoding="utf-8"))
    labels = [row["label"] for row in report["rows"]]
    assert report["passed"] and sum(label.endswith(" in OpenVINO") for label in labels) == len(labels) / 2
    assert read_subject(output).runtime == "openvino"
    again = run_script("verify.py", "--model", output, "--preset", tiny.preset)
    assert again.code == 0, again.stderr
    assert "in OpenVINO" in again.stdout


@needs_openvino
def test_a_wrong_result_in_openvino_alone_is_found(
    tiny: Tiny, loaded: LoadedModel, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = OpenVinoSession.run
    monkeypatch.setattr(OpenVinoSession, "run", lambda self, given: right(self, given) + 1)
    report = check_logits(content, loaded, tiny.resolve(FOR_OPENVINO).preset, quiet())
    assert not report.passed and report.failure is not None
    assert report.failure.row.label.endswith(" in OpenVINO")
    assert all(row.passed for row in report.rows if not row.label.endswith(" in OpenVINO"))


def test_a_changed_weight_is_traced_to_its_block(tiny: Tiny, loaded: LoadedModel, content: bytes) -> None:
    model = onnx.load_from_string(content)
    nodes = [node for node in model.graph.node if "/gcn.1/tcn/merge/" in node.name]
    weight = next(item for item in model.graph.initializer if item.name == nodes[0].input[1])
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.1, weight.name))
    report = check_logits(model.SerializeToString(), loaded, tiny.resolve(FOR_OPENVINO).preset, quiet())
    assert report.failure is not None and report.failure.divergence is not None
    assert report.failure.divergence.module == "backbone.gcn.1"


def test_without_openvino_it_is_verified_in_onnxruntime_and_said_so(
    tiny: Tiny, loaded: LoadedModel, content: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pipeline, "openvino_is_installed", lambda: False)
    from stgcn_onnx.console import Log

    report = check_logits(content, loaded, tiny.resolve(FOR_OPENVINO).preset, Log())
    assert report.passed and not any("OpenVINO" in row.label for row in report.rows)
    assert "openvino is not installed: the file is verified in onnxruntime alone" in capsys.readouterr().err


def test_a_session_without_openvino_names_the_lock_file(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(openvino_runtime, "openvino_is_installed", lambda: False)
    with pytest.raises(EnvironmentFault, match="openvino is not installed") as caught:
        OpenVinoSession(content)
    assert caught.value.hint == "run `pip install -r requirements/openvino.lock`"


@needs_openvino
def test_a_file_that_openvino_refuses() -> None:
    with pytest.raises(VerificationError, match="OpenVINO refuses the file"):
        OpenVinoSession(b"no ONNX file")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"axes.num_frames.dynamic": True}, "export.runtime openvino takes fixed axes, and axes.num_frames is dynamic"),
        ({"axes.batch_size.dynamic": True}, "set axes.batch_size.dynamic to false"),
        ({"export.precision": "fp16"}, "runtime openvino takes precision fp32, and the precision is fp16"),
        ({"export.precision": "int8"}, "OpenVINO computes in bf16 or f16 where it is asked to"),
        ({"export.deploy": ["absent_people"]}, "'absent_people' is not a rewrite"),
    ],
    ids=str,
)
def test_what_does_not_go_with_it_is_refused(
    tiny: Tiny, loaded: LoadedModel, values: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        build(loaded, tiny.resolve({**FOR_OPENVINO, **values}), quiet())
