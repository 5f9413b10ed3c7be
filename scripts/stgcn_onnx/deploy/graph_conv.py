"""The graph convolution as one MatMul and one convolution, its BatchNorm folded in.

    y[c', t, w] = sum_k sum_c W_k[c', c] sum_v A_k[v, w] x[c, t, v]

Multiply by the adjacencies side by side, ``x [A_1 | ... | A_K]``, which gives ``(C, T, K V)``; a convolution with
kernel ``(1, K)`` and dilation ``(1, V)`` then leaves exactly V columns. No einsum, no transpose; opset 11 is enough.
Both ``gcn_conv_pos`` are this same map: ``W`` acts on channels and ``A`` on joints, so they commute.

What is left of BatchNorm (scale s, shift t) and of the convolution's bias is one value per channel and joint:

    pre    B[c', w] = s[c'] sum_k b_k[c'] sum_v A_k[v, w] + t[c']
    post   B[c', w] = s[c'] b[c'] + t[c']
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from stgcn_onnx.deploy.einsum_free import MatMulGraphConv
from stgcn_onnx.deploy.numeric import batch_norm_affine, float64, make_conv
from stgcn_onnx.deploy.rewrite import Refusal


class OneConvGraphConv(nn.Module):
    """``unit_gcn`` in evaluation, ``(N, C, T, V) -> (N, C', T, V)``.

    Args:
        weight: ``W_k`` with the BatchNorm's scale, ``(K, C', C)``.
        adjacency: ``A_k``, ``(K, V, V)``.
        bias: ``B``, ``(C', V)``.
        residual: what is added before the activation: a 1x1 convolution, ``nn.Identity``, or None.
        act: the activation.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        adjacency: torch.Tensor,
        bias: torch.Tensor,
        residual: nn.Module | None,
        act: nn.Module,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("adjacency", adjacency)
        self.register_buffer("bias", bias)
        self.residual = residual
        self.act = act

    @classmethod
    def of(cls, unit: nn.Module) -> OneConvGraphConv:
        """Fold a graph convolution that einsum_free.py has rewritten.

        Raises:
            Refusal: for another graph convolution, or a norm that does not fold.
        """
        if type(unit) is not MatMulGraphConv:
            raise Refusal(f"{type(unit).__name__} is not the graph convolution of einsum_free")
        adjacency = float64(unit.adjacency)
        subsets = adjacency.shape[0]
        conv_weight, conv_bias = float64(unit.conv.weight)[:, :, 0, 0], float64(unit.conv.bias)
        channels = unit.conv.out_channels if unit.conv_pos == "post" else unit.conv.out_channels // subsets
        scale, shift = batch_norm_affine(unit.bn, channels)
        if unit.conv_pos == "pre":
            weight = conv_weight.reshape(subsets, channels, -1)  # (K*C', C) -> (K, C', C)
            bias = conv_bias.reshape(subsets, channels).T @ adjacency.sum(dim=1)  # (C', K) @ (K, V) -> (C', V)
        else:
            weight = conv_weight.reshape(channels, subsets, -1).transpose(0, 1)  # (C', K*C) -> (K, C', C)
            bias = conv_bias[:, None].expand(-1, adjacency.shape[-1])  # (C',) -> (C', V)
        dtype = unit.conv.weight.dtype
        return cls(
            (weight * scale[:, None]).to(dtype).contiguous(),
            unit.adjacency,
            (bias * scale[:, None] + shift[:, None]).to(dtype),
            _folded_residual(unit),
            unit.act,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        subsets, joints, _ = self.adjacency.shape
        side_by_side = self.adjacency.permute(1, 0, 2).reshape(joints, subsets * joints)  # (K, V, V) -> (V, K*V)
        kernel = self.weight.permute(1, 2, 0).unsqueeze(2)  # (K, C', C) -> (C', C, 1, K)
        y = functional.conv2d(x @ side_by_side, kernel, dilation=(1, joints))  # (N, C, T, K*V) -> (N, C', T, V)
        if self.residual is not None:
            y = y + self.residual(x)
        return self.act(y + self.bias[:, None, :])


def _folded_residual(unit: MatMulGraphConv) -> nn.Module | None:
    if not unit.with_res:
        return None
    if type(unit.down) is nn.Identity:
        return nn.Identity()
    conv, norm = unit.down
    scale, shift = batch_norm_affine(norm, conv.out_channels)
    weight = float64(conv.weight) * scale[:, None, None, None]
    return make_conv(weight, float64(conv.bias) * scale + shift, like=conv)
