"""Small experiments on the installed packages, each run in a process of its own by the doctor.

A CUDA library of the wrong version can end the process that loads it, an import can hang or print: the doctor must
survive both. A probe returns plain data; `main` prints it as one line of JSON.
"""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stgcn_onnx.errors import ConverterError

_SIDE = 8
# It is in every build of onnxruntime and runs no node itself: it calls a remote service.
_REMOTE = "AzureExecutionProvider"


def probe_torch() -> dict[str, Any]:
    """PyTorch's version and the GPUs that it sees."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "gpus": [torch.cuda.get_device_name(index) for index in range(count)],
    }


def probe_mmaction() -> dict[str, Any]:
    """Import MMAction2 and find the recogniser that is exported."""
    from stgcn_onnx.mmaction import load_mmaction

    load_mmaction()
    from mmaction.registry import MODELS

    if MODELS.get("RecognizerGCN") is None:
        raise ImportError("mmaction.models registers no RecognizerGCN")
    return {"version": importlib.metadata.version("mmaction2")}


def probe_providers() -> dict[str, Any]:
    """Run one matrix product with each execution provider, and read from the profile where it ran.

    `get_available_providers` names what was compiled in, not what loads on this machine.
    """
    from stgcn_onnx.runtime import import_onnxruntime

    ort = import_onnxruntime()
    names = [name for name in ort.get_available_providers() if name != _REMOTE]
    return {"version": ort.__version__, "providers": {name: _try_provider(ort, name) for name in names}}


def _try_provider(ort: Any, name: str) -> dict[str, Any]:
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        try:
            session = ort.InferenceSession(_matrix_product(), options, providers=[name])
            session.run(None, {"x": np.ones((_SIDE, _SIDE), np.float32)})
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        except Exception as error:  # onnxruntime raises its own classes, which share no base
            return {"works": False, "problem": (str(error).splitlines() or [type(error).__name__])[0]}
    ran_on = sorted({event["args"]["provider"] for event in events if "provider" in event.get("args", {})})
    works = ran_on == [name]
    return {"works": works, "problem": "" if works else f"the node ran on {', '.join(ran_on) or 'nothing'}"}


def _matrix_product() -> bytes:
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [_SIDE, _SIDE]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "probe", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


PROBES: Mapping[str, Callable[[], dict[str, Any]]] = {
    "torch": probe_torch,
    "mmaction": probe_mmaction,
    "providers": probe_providers,
}


def main(name: str) -> None:
    """Run one probe and print its result as JSON; an exception is part of the result."""
    try:
        result = PROBES[name]()
    except ConverterError as error:
        result = {"error": error.message}
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(result))
