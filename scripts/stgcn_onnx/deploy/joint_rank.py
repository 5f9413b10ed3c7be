"""The graph convolution with fewer multiplications: its adjacencies as sums of few terms.

With ``A_k[v, w] = sum_j a[k, j] sum_i left[v, j, i] right[w, j, i]`` (tensor_rank.py)

    sum_k W_k x A_k  =  sum_{j, i} right[:, j, i] ( (sum_k a[k, j] W_k) (sum_v left[v, j, i] x[v]) )

so the channels are mixed once per term and not once per subset and joint: for three subsets of 17 joints, 35 times
a frame and not 51, with 5 mixtures of the weights. In the graph: a MatMul from V joints to R terms, a 1x1
convolution in m groups, a MatMul back to V joints. The mixtures are written as a product of two constants, which
runtimes fold when they load the file, so that the file does not grow; a tool that wants to see the weights (a
quantiser) has to fold constants first.

The second product over joints and two more changes of layout grow with C, the saving with C^2; `_cost` counts both,
in multiplications that take as long (onnxruntime, AVX-512). Blocks of fewer than some 60 channels, and those that
widen C, keep the direct form. Rounding grows by `Terms.gain`, 2 to 5.

Time of the demo network against the direct form (onnxruntime, one thread, processor time): 0.94 in one series and
0.99 in another, both on a machine busy with other work. What lost: 30 terms of 10 mixtures (0.93 in the first
series) and 27 terms of 27 mixtures (0.89), which keep 2 and 5 MB more in memory and load in twice the time. Blocks
that widen C came out within noise of the direct form, and so keep it.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from stgcn_onnx.deploy.joint_modules import JointBackbone, JointGraphConv
from stgcn_onnx.deploy.numeric import float64
from stgcn_onnx.deploy.rewrite import Applied, FrameContext, Ledger, Refusal, Rewrite
from stgcn_onnx.deploy.tensor_rank import Terms, decompose, groupings

NAME = "joint_rank"

_MORE_MIXTURES = 2
_PER_DIRECT_VALUE = 57
_PER_TERM_VALUE = 42
_PER_JOINT_VALUE = 45


class JointRankGraphConv(nn.Module):
    """The graph convolution, ``(V, C, P, T) -> (V, C', P, T)``.

    Args:
        terms: of the adjacencies.
        weight: ``W_k``, ``(K, C', C)``, float64.
        bias: per channel and joint, ``(C', V)``, float64.
        residual: a 1x1 convolution, ``nn.Identity`` or None.
        like: a convolution with the dtype to compute in.
    """

    def __init__(
        self, terms: Terms, weight: torch.Tensor, bias: torch.Tensor, residual: nn.Module | None, like: nn.Conv2d
    ) -> None:
        super().__init__()
        channels = weight.shape[1]
        joints, groups, rank = terms.left.shape
        dtype = like.weight.dtype
        self.register_buffer("weight", weight.flatten(1).to(dtype))
        self.register_buffer("mixtures", torch.from_numpy(terms.mixtures.T.copy()).to(dtype))
        self.register_buffer("left", torch.from_numpy(terms.left.transpose(2, 1, 0).reshape(-1, joints)).to(dtype))
        self.register_buffer("right", torch.from_numpy(terms.right.transpose(0, 2, 1).reshape(joints, -1)).to(dtype))
        self.register_buffer("bias", bias.T.reshape(joints, channels, 1, 1).to(dtype))
        self.sizes = (joints, rank, groups, weight.shape[2], channels)
        self.residual = residual
        self.frames: int | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        joints, rank, groups, in_channels, channels = self.sizes
        frames = self.frames or x.shape[3]
        kernel = (self.mixtures @ self.weight).reshape(groups * channels, in_channels, 1, 1)  # (m, C'*C) -> (m*C', C)
        y = self.left @ x.reshape(joints, -1)  # (V, C, P, T) -> (r*m, C*P*T)
        y = y.reshape(rank, groups * in_channels, -1, frames)  # -> (r, m*C, P, T)
        y = functional.conv2d(y, kernel, groups=groups)  # -> (r, m*C', P, T)
        y = self.right @ y.reshape(rank * groups, -1)  # -> (r*m, C'*P*T) -> (V, C'*P*T)
        y = y.reshape(joints, channels, -1, frames) + self.bias  # -> (V, C', P, T)
        return functional.relu(y if self.residual is None else y + self.residual(x))


def _parts(unit: JointGraphConv) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Adjacencies ``(K, V, V)``, weights ``(K, C', C)`` and the bias ``(C', V)`` of the direct form, in float64."""
    joints = unit.adjacency.shape[1]
    adjacency = float64(unit.adjacency).reshape(joints, -1, joints).permute(1, 2, 0)  # (W*K, V) -> (K, V, W)
    flat = float64(unit.conv.weight)[:, :, 0, 0]
    bias = float64(unit.conv.bias)[:, None].expand(-1, joints)
    if unit.ahead is not None:
        bias = bias + flat @ float64(unit.ahead)[:, :, 0, 0].T
    if unit.behind is not None:
        bias = bias + float64(unit.behind)[:, :, 0, 0].T
    weight = flat.reshape(len(flat), len(adjacency), -1).permute(1, 0, 2)  # (C', K*C) -> (K, C', C)
    return adjacency, weight, bias


def _cost(unit: JointGraphConv, terms: int | None) -> int:
    """Multiplications per frame, and what moving values takes in terms of them; `terms` None is the direct form."""
    joints: int = unit.adjacency.shape[1]
    subsets: int = unit.adjacency.shape[0] // joints
    channels: int = unit.conv.out_channels
    in_channels: int = unit.conv.in_channels // subsets
    if terms is None:
        return subsets * joints * in_channels * (channels + _PER_DIRECT_VALUE)
    moved = _PER_TERM_VALUE * terms * (in_channels + channels) + _PER_JOINT_VALUE * joints * channels
    return terms * in_channels * channels + moved


def with_fewer_terms(unit: JointGraphConv) -> JointRankGraphConv | None:
    """The graph convolution by terms, or None where the direct form is as fast.

    Raises:
        Refusal: when no terms were found.
    """
    joints = unit.adjacency.shape[1]
    subsets = unit.adjacency.shape[0] // joints
    pairs = groupings(subsets, joints, subsets + _MORE_MIXTURES)
    cheaper = [pair for pair in pairs if _cost(unit, pair[0] * pair[1]) < _cost(unit, None)]
    if not cheaper:
        return None
    adjacency, weight, bias = _parts(unit)
    for groups, rank in cheaper:
        terms = decompose(adjacency.contiguous().cpu().numpy(), groups, rank)
        if terms is not None:
            return JointRankGraphConv(terms, weight.cpu(), bias, unit.residual, unit.conv)
    raise Refusal(f"no {cheaper[0][0] * cheaper[0][1]} terms were found that sum to its adjacencies")


def _apply(model: nn.Module, context: FrameContext) -> Applied:
    ledger = Ledger(NAME)
    if not isinstance(model.backbone, JointBackbone):
        ledger.refuse("backbone", f"{type(model.backbone).__name__} is not in the layout of joint_major")
        return ledger.applied()
    for index, block in enumerate(model.backbone.gcn):
        if not isinstance(block.gcn, JointGraphConv):
            continue
        try:
            rewritten = with_fewer_terms(block.gcn)
        except Refusal as refusal:
            ledger.refuse(f"backbone.gcn.{index}.gcn", str(refusal))
            continue
        if rewritten is not None:
            block.gcn = rewritten.eval()
            ledger.changed()
    model.backbone.fix_frames(context.num_frames)
    return ledger.applied()


REWRITE = Rewrite(NAME, requires=("joint_major",), apply=_apply)
