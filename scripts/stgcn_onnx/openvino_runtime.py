"""Inference sessions in OpenVINO, where it is installed: a runtime that files can be arranged for, on the CPU."""

from __future__ import annotations

import importlib
import importlib.util

from stgcn_onnx.errors import EnvironmentFault, VerificationError, first_line
from stgcn_onnx.runtime import FloatArray

_CAPABILITY = {"f32": "FP32", "bf16": "BF16"}


def openvino_is_installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("openvino") is not None


class OpenVinoSession:
    """An ONNX file of ours, compiled for the CPU.

    Args:
        model: the ONNX file's bytes, or its path.
        precision: f32 or bf16, in which it computes; the file stays what it is.

    Raises:
        EnvironmentFault: OpenVINO is not installed, or this CPU has no arithmetic of that precision.
        VerificationError: OpenVINO refuses the file.
    """

    def __init__(self, model: bytes | str, precision: str = "f32") -> None:
        if not openvino_is_installed():
            raise EnvironmentFault(
                "the package openvino is not installed", hint="run `pip install -r requirements/openvino.lock`"
            )
        core = importlib.import_module("openvino").Core()
        if _CAPABILITY[precision] not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise EnvironmentFault(f"this CPU has no {precision} arithmetic", hint="use another CPU")
        try:
            compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": precision})
        except Exception as error:
            raise VerificationError(
                f"OpenVINO refuses the file: {first_line(error)}", hint="set export.runtime to onnxruntime"
            ) from error
        self._output = compiled.output(0)
        self._request = compiled.create_infer_request()

    def run(self, clip: FloatArray) -> FloatArray:
        """The logits of one input."""
        logits: FloatArray = self._request.infer([clip])[self._output].copy()
        return logits
