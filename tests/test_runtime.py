"""Sessions that run where they were asked to run, or not at all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from stgcn_onnx import runtime
from stgcn_onnx.errors import EnvironmentFault, ExportError
from stgcn_onnx.runtime import Session, require_device


def test_the_cpu_is_always_there() -> None:
    require_device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3"])
def test_a_gpu_that_is_not_there_is_a_fault(device: str) -> None:
    with pytest.raises(EnvironmentFault, match=rf"device {device}: PyTorch .* sees no CUDA GPU") as caught:
        require_device(device)
    assert "--device cpu" in caught.value.hint


def test_a_gpu_with_a_number_too_high_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(EnvironmentFault, match=r"device cuda:2: this machine has 2 GPU"):
        require_device("cuda:2")


def test_a_gpu_that_only_pytorch_can_use_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    without = SimpleNamespace(get_available_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(runtime, "import_onnxruntime", lambda: without)
    with pytest.raises(EnvironmentFault, match="the installed onnxruntime has no CUDAExecutionProvider") as caught:
        require_device("cuda:0")
    assert "VARIANT=gpu" in caught.value.hint


def fake_onnxruntime(providers: list[str], asked: list[Any]) -> SimpleNamespace:
    def open_session(_model: object, _options: object, providers: list[Any]) -> SimpleNamespace:
        asked.extend(providers)
        end = SimpleNamespace(name="x", shape=[1])
        return SimpleNamespace(get_providers=lambda: found, get_inputs=lambda: [end], get_outputs=lambda: [end])

    found = providers
    options = SimpleNamespace(add_session_config_entry=lambda *_: None)
    return SimpleNamespace(InferenceSession=open_session, SessionOptions=lambda: options, __version__="1")


def test_a_silent_fall_back_to_the_cpu_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    fallen = fake_onnxruntime(["CPUExecutionProvider"], [])
    monkeypatch.setattr(runtime, "import_onnxruntime", lambda: fallen)
    with pytest.raises(EnvironmentFault, match="device cuda:0: onnxruntime fell back to CPUExecutionProvider"):
        Session(b"", "cuda:0")


def test_the_gpu_is_asked_for_by_number_and_without_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    working = fake_onnxruntime(["CUDAExecutionProvider", "CPUExecutionProvider"], asked)
    monkeypatch.setattr(runtime, "import_onnxruntime", lambda: working)
    Session(b"", "cuda:1")
    assert asked[0] == ("CUDAExecutionProvider", {"device_id": "1", "use_tf32": "0"})


def test_a_file_that_onnxruntime_refuses_is_an_export_error() -> None:
    with pytest.raises(ExportError, match=r"onnxruntime .* refuses the file: ") as caught:
        Session(b"no model")
    assert "\n" not in caught.value.message


def test_a_session_tells_its_ends_and_runs(static_content: bytes) -> None:
    session = Session(static_content, spinning=False)
    assert (session.input_name, session.output_names) == ("input", ("output",))
    assert list(session.input_shape) == [1, 2, 20, 17, 3]
    clip = np.zeros((1, 2, 20, 17, 3), np.float32)
    logits = session.run(clip)
    assert logits.shape == (1, 2)
    np.testing.assert_array_equal(session.run_all(clip)["output"], logits)
