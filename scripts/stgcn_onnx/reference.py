"""The original PyTorch model in eager mode: what every file of ours is held against."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from stgcn_onnx.runtime import FloatArray


class Reference:
    """The original model on one device, in float32 without TF32, and a float64 copy on the CPU.

    Args:
        recogniser: `[N, M, T, V, C]` to `[N, classes]`; not changed.
        device: cpu, cuda or cuda:N.
    """

    def __init__(self, recogniser: nn.Module, device: str = "cpu") -> None:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self._device = device
        self._float32 = copy.deepcopy(recogniser).eval().to(device)
        self._float64 = copy.deepcopy(recogniser).eval().double()

    def logits(self, clip: FloatArray) -> FloatArray:
        """Logits `[N, classes]` in float32."""
        with torch.inference_mode():
            result: FloatArray = self._float32(torch.from_numpy(clip).to(self._device)).cpu().numpy()
        return result

    def exact_logits(self, clip: FloatArray) -> npt.NDArray[np.float64]:
        """Logits `[N, classes]` computed in float64 from the same float32 weights and input."""
        with torch.inference_mode():
            result: npt.NDArray[np.float64] = self._float64(torch.from_numpy(clip).double()).numpy()
        return result

    def module_outputs(self, clip: FloatArray, paths: Sequence[str]) -> Mapping[str, FloatArray]:
        """Outputs of the modules at `paths`, in the order in which they were computed."""
        outputs: dict[str, FloatArray] = {}
        modules = dict(self._float32.named_modules())
        hooks = [modules[path].register_forward_hook(_recorder(path, outputs)) for path in paths]
        try:
            self.logits(clip)
        finally:
            for hook in hooks:
                hook.remove()
        return outputs


def _recorder(path: str, outputs: dict[str, FloatArray]):  # type: ignore[no-untyped-def]
    def record(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs[path] = output.detach().cpu().numpy().copy()

    return record
