"""Inference sessions that run where they were asked to run, or not at all.

onnxruntime falls back to the CPU without an error when a GPU provider does not load (microsoft/onnxruntime#23372);
here the requested device is used or the command fails with code 3.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stgcn_onnx.errors import EnvironmentFault, ExportError, first_line

FloatArray = npt.NDArray[np.float32]
_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_LATEST_KNOWN_OPSET = 64


def import_onnxruntime() -> Any:
    """Import onnxruntime without its telemetry notice, and load the CUDA libraries that came as wheels.

    Raises:
        EnvironmentFault: when onnxruntime is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise EnvironmentFault("onnxruntime is not installed", hint="run `make setup`") from error
    onnxruntime.set_default_logger_severity(3)
    if _CUDA in onnxruntime.get_available_providers():
        onnxruntime.preload_dlls()
    return onnxruntime


def onnxruntime_version() -> str:
    """The version of the installed onnxruntime, of either package.

    Raises:
        EnvironmentFault: when it is not installed.
    """
    return str(import_onnxruntime().__version__)


def require_device(device: str) -> None:
    """Check that PyTorch and onnxruntime can both use `device`.

    Args:
        device: cpu, cuda or cuda:N.

    Raises:
        EnvironmentFault: when one of them cannot; the CPU is never used instead.
    """
    if device == "cpu":
        return
    import torch

    index = _cuda_index(device)
    if not torch.cuda.is_available():
        raise EnvironmentFault(
            f"device {device}: PyTorch {torch.__version__} sees no CUDA GPU",
            hint="run `make doctor`, or use --device cpu",
        )
    if index >= torch.cuda.device_count():
        raise EnvironmentFault(
            f"device {device}: this machine has {torch.cuda.device_count()} GPU(s), counted from cuda:0",
            hint="choose one of them",
        )
    if _CUDA not in import_onnxruntime().get_available_providers():
        raise EnvironmentFault(
            f"device {device}: the installed onnxruntime has no {_CUDA}",
            hint="run `make setup VARIANT=gpu`, or use --device cpu",
        )


class Session:
    """An onnxruntime session for an ONNX file of ours: one input, one or more outputs.

    Args:
        model: the ONNX file's bytes, or its path.
        device: cpu, cuda or cuda:N.
        spinning: whether idle threads wait busily, onnxruntime's default; it takes the cores from anything else that
            runs in the same process.

    Raises:
        EnvironmentFault: the device's execution provider does not come up.
        ExportError: onnxruntime refuses the file.
    """

    def __init__(self, model: bytes | str, device: str = "cpu", *, spinning: bool = True) -> None:
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if not spinning:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(model, options, providers=_providers(device))
        except Exception as error:
            if device != "cpu":
                raise EnvironmentFault(f"device {device}: {first_line(error)}", hint="run `make doctor`") from error
            raise ExportError(
                f"onnxruntime {ort.__version__} refuses the file: {first_line(error)}",
                hint="choose another opset or exporter",
            ) from error
        if device != "cpu" and self._session.get_providers()[0] != _CUDA:
            raise EnvironmentFault(
                f"device {device}: onnxruntime fell back to {self._session.get_providers()[0]}",
                hint="run `make doctor`; a CUDA or cuDNN library is missing or of another version",
            )
        self.input_name: str = self._session.get_inputs()[0].name
        self.output_names: tuple[str, ...] = tuple(output.name for output in self._session.get_outputs())
        self.input_shape: Sequence[int | str] = self._session.get_inputs()[0].shape

    def run(self, clip: FloatArray) -> FloatArray:
        """The first output for one input."""
        result: FloatArray = self._session.run(self.output_names[:1], {self.input_name: clip})[0]
        return result

    def run_all(self, clip: FloatArray) -> Mapping[str, FloatArray]:
        """Every output for one input, by name."""
        return dict(zip(self.output_names, self._session.run(None, {self.input_name: clip}), strict=True))


@functools.cache
def newest_opset() -> int:
    """The newest opset of the standard domain that the installed onnx and onnxruntime both know."""
    import onnx

    ort = import_onnxruntime()
    for opset in range(min(onnx.defs.onnx_opset_version(), _LATEST_KNOWN_OPSET), 0, -1):
        options = ort.SessionOptions()
        options.log_severity_level = 4
        try:
            ort.InferenceSession(_one_node_file(opset), options, providers=[_CPU])
        except Exception:  # a refusal is the answer that is being looked for
            continue
        return opset
    raise EnvironmentFault("onnxruntime opens no ONNX file at all", hint="run `make doctor`")


def _one_node_file(opset: int) -> bytes:
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "probe", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content


def _providers(device: str) -> list[str | tuple[str, dict[str, str]]]:
    if device == "cpu":
        return [_CPU]
    # TF32 looks like an error of the export (microsoft/onnxruntime#19288): off, as in the reference.
    return [(_CUDA, {"device_id": str(_cuda_index(device)), "use_tf32": "0"}), _CPU]


def _cuda_index(device: str) -> int:
    return int(device.partition(":")[2] or 0)
