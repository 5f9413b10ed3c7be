"""Float64 arithmetic on weights: every fold is computed here in float64 and stored in the weights' own dtype."""

from __future__ import annotations

import torch
from torch import nn

from stgcn_onnx.deploy.rewrite import Refusal

Affine = tuple[torch.Tensor, torch.Tensor]
"""Scale and shift, each float64 ``(C,)``."""


def float64(tensor: torch.Tensor) -> torch.Tensor:
    """A detached float64 copy."""
    return tensor.detach().to(torch.float64)


def batch_norm_affine(norm: nn.Module, channels: int) -> Affine:
    """What `norm` does in evaluation as scale and shift; the identity for ``nn.Identity``.

    Raises:
        Refusal: when `norm` is no BatchNorm, or one without running statistics.
    """
    if type(norm) is nn.Identity:
        return torch.ones(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)
    if type(norm) not in (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm):
        raise Refusal(f"its norm is {type(norm).__name__}, not BatchNorm")
    if norm.running_mean is None:
        raise Refusal("its BatchNorm keeps no running statistics, so it depends on the batch")
    scale = torch.rsqrt(float64(norm.running_var) + norm.eps)
    if norm.weight is not None:
        scale = scale * float64(norm.weight)
    shift = -scale * float64(norm.running_mean)
    return scale, shift if norm.bias is None else shift + float64(norm.bias)


def is_centred(conv: nn.Conv2d) -> bool:
    """Whether a temporal kernel, along the third axis, reads as many frames to either side."""
    return bool(2 * conv.padding[0] == conv.dilation[0] * (conv.kernel_size[0] - 1))


def conv_like(conv: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor) -> nn.Conv2d:
    """A convolution with the geometry of `conv` (stride, padding, dilation) and these float64 values."""
    return make_conv(weight, bias, like=conv, geometry=(conv.stride, conv.padding, conv.dilation))


def make_conv(
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    like: nn.Module,
    geometry: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None = None,
    groups: int = 1,
) -> nn.Conv2d:
    """A convolution with these values, in dtype and on device of `like`.

    Args:
        weight: ``(C', C / groups, kernel, kernel)``.
        bias: ``(C',)`` or None.
        like: a module with a weight to take dtype and device from.
        geometry: stride, padding and dilation; by default those of a 1x1 convolution at stride 1.
        groups: of the convolution.
    """
    stride, padding, dilation = geometry or ((1, 1), (0, 0), (1, 1))
    conv = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias is not None,
        dtype=like.weight.dtype,
        device=like.weight.device,
    )
    with torch.no_grad():
        conv.weight.copy_(weight)
        if conv.bias is not None and bias is not None:
            conv.bias.copy_(bias)
    return conv.requires_grad_(False)
