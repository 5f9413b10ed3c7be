"""The runtimes that are compared; each is a function from a candidate to a function that runs one input.

Thread settings are the runtimes' own defaults. PyTorch and onnxruntime get the same input from host memory and give
the logits back to it, on a GPU as well.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stgcn_onnx.bench.spec import Candidate, Clips, FloatArray

Run = Callable[[FloatArray], FloatArray]
GEMM_SIDE = 1024
"""Rows and columns of the matrices whose product gives the machine's rate of multiplication."""


def torch_eager(candidate: Candidate) -> Run:
    """MMAction2's model in eager mode, float32 without TF32, as in the verification."""
    module = _recogniser(candidate)
    return _runner(module, candidate.device)


def torch_compiled(candidate: Candidate) -> Run:
    """`torch.compile` of the same model; the first run compiles, which on a CPU takes a C++ compiler."""
    import torch

    module = torch.compile(_recogniser(candidate))
    return _runner(module, candidate.device)


def onnxruntime(candidate: Candidate) -> Run:
    """A session on the candidate's device; falling back to another is an error."""
    from stgcn_onnx.runtime import Session

    return Session(candidate.model, candidate.device).run


def openvino(candidate: Candidate) -> Run:
    """OpenVINO on the CPU in the candidate's precision."""
    from stgcn_onnx.openvino_runtime import OpenVinoSession

    return OpenVinoSession(candidate.model, candidate.precision).run


def matrix_product(candidate: Candidate) -> Run:
    """The product of two square float32 matrices in onnxruntime, the second a constant, as weights are."""
    from onnx import TensorProto, helper, numpy_helper

    from stgcn_onnx.runtime import Session

    side = GEMM_SIDE
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [side, side]) for name in ("x", "y")]
    weights = numpy_helper.from_array(Clips(1, 1, 1, side, side, 1).generate(0).reshape(side, side), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "gemm", ends[:1], ends[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = Session(model.SerializeToString(), candidate.device)
    return lambda clip: session.run(np.ascontiguousarray(clip.reshape(side, side)))


ENGINES: Mapping[str, Callable[[Candidate], Run]] = {
    "torch": torch_eager,
    "torch.compile": torch_compiled,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "gemm": matrix_product,
}


def import_engine(engine: str) -> None:
    """Load what the engine needs: its import is no part of the load time."""
    if engine.startswith("torch"):
        importlib.import_module("stgcn_onnx.model")
        importlib.import_module("stgcn_onnx.mmaction").load_mmaction()
    elif engine == "openvino":
        from stgcn_onnx.openvino_runtime import openvino_is_installed

        if openvino_is_installed():
            importlib.import_module("openvino")
    else:
        importlib.import_module("stgcn_onnx.runtime").import_onnxruntime()


def _recogniser(candidate: Candidate) -> Any:
    import torch

    from stgcn_onnx.model import load_model
    from stgcn_onnx.preset import InputShape, ModelSource

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    clips = candidate.clips[0]
    shape = InputShape(batch_size=clips.batch, num_person=clips.person, num_frames=clips.frames)
    return load_model(ModelSource(**candidate.source), shape).recogniser.to(candidate.device)


def _runner(module: Any, device: str) -> Run:
    import torch

    def run(clip: FloatArray) -> FloatArray:
        with torch.inference_mode():
            logits: FloatArray = module(torch.from_numpy(clip).to(device)).cpu().numpy()
        return logits

    return run
