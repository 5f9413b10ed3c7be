"""The graph convolution without einsum, which opset 11 does not know.

Source: ``unit_gcn`` of MMAction2 (gcn_utils.py), the graph convolution of ST-GCN (Yan et al., arXiv:1801.07455).
With K subsets, adjacencies ``A_k`` and 1x1 convolutions ``W_k``:

    pre    y[c', t, w] = sum_k sum_v (W_k x)[c', t, v] A_k[v, w]     einsum 'nkctv,kvw->nctw'
           = sum_k (W_k x)_k @ A_k                                   a batched MatMul, then a sum over k
    post   y = W [x A_1; x A_2; ...]                                 einsum 'nctv,kvw->nkctw'
           = W (x[:, None] @ A_k)                                    a broadcast MatMul

``A`` is the adjacency after ``gcn_adaptive`` (None, init: ``A``; offset: ``A + PA``; importance: ``A * PA``),
computed once. Valid for every ``unit_gcn``; other graph convolutions are left alone.
"""

from __future__ import annotations

import torch
from torch import nn

from stgcn_onnx.deploy.numeric import float64
from stgcn_onnx.deploy.rewrite import Applied, FrameContext, Ledger, Rewrite, named_blocks, replace_module
from stgcn_onnx.deploy.types import known_types

NAME = "einsum_free"


def effective_adjacency(graph_conv: nn.Module) -> torch.Tensor:
    """The adjacency ``(K, V, V)`` that a ``unit_gcn`` multiplies by, in its own dtype."""
    adjacency = float64(graph_conv.A)
    if graph_conv.adaptive == "offset":
        adjacency = adjacency + float64(graph_conv.PA)
    elif graph_conv.adaptive == "importance":
        adjacency = adjacency * float64(graph_conv.PA)
    return adjacency.to(graph_conv.A.dtype)


class MatMulGraphConv(nn.Module):
    """``unit_gcn`` with MatMul in place of einsum.

    Args:
        graph_conv: the ``unit_gcn`` to take convolution, norm, activation and residual from.

    Shape: ``(N, C, T, V) -> (N, C', T, V)``.
    """

    def __init__(self, graph_conv: nn.Module) -> None:
        super().__init__()
        self.conv, self.bn, self.act = graph_conv.conv, graph_conv.bn, graph_conv.act
        self.conv_pos = graph_conv.conv_pos
        self.with_res = graph_conv.with_res
        self.down = nn.Identity()
        if self.with_res and isinstance(graph_conv.down, nn.Module):
            self.down = graph_conv.down
        self.register_buffer("adjacency", effective_adjacency(graph_conv))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        num_subsets, num_joints, _ = self.adjacency.shape
        frames = x.shape[2]
        if self.conv_pos == "pre":
            parts = self.conv(x).reshape(-1, num_subsets, self.conv.out_channels // num_subsets * frames, num_joints)
            y = (parts @ self.adjacency).sum(dim=1)  # (N, K, C'*T, V) -> (N, C'*T, V)
            y = y.reshape(-1, self.conv.out_channels // num_subsets, frames, num_joints)  # -> (N, C', T, V)
        else:
            rows = x.reshape(-1, 1, x.shape[1] * frames, num_joints)  # (N, C, T, V) -> (N, 1, C*T, V)
            parts = rows @ self.adjacency  # (N, 1, C*T, V) -> (N, K, C*T, V)
            y = self.conv(parts.reshape(-1, self.conv.in_channels, frames, num_joints))  # -> (N, C', T, V)
        y = self.bn(y)
        return self.act(y + self.down(x) if self.with_res else y)


def _apply(model: nn.Module, _context: FrameContext) -> Applied:
    ledger = Ledger(NAME)
    for path, block in named_blocks(model):
        graph_conv = getattr(block, "gcn", None)
        if type(graph_conv) is not known_types().graph_conv:
            ledger.refuse(path, f"its graph convolution is {type(graph_conv).__name__}, not unit_gcn")
            continue
        replace_module(model, f"{path}.gcn", MatMulGraphConv(graph_conv))
        ledger.changed()
    return ledger.applied()


REWRITE = Rewrite(NAME, requires=(), apply=_apply)
