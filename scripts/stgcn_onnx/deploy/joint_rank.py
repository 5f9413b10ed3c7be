"""The graph convolution with fewer multiplications: its adjacencies as sums of few terms.

With ``A_k[v, w] = sum_j a[k, j] sum_i left[v, j, i] right[w, j, i]`` (tensor_rank.py)

    sum_k W_k x A_k  =  sum_{j, i} right[:, j, i] ( (sum_k a[k, j] W_k) (sum_v left[v, j, i] x[v]) )

so the channels are mixed once per term and not once per subset and joint: for three subsets of 17 joints, 30 times
a frame and not 51, with 10 mixtures of the weights, or 27 times with 27. In the graph: a MatMul from V joints to R
terms, a 1x1 convolution in m groups, and a Gemm back to V joints that adds the residual. A residual that is a
convolution is one more subset, with the identity as its adjacency: 40 terms and not 68. The mixtures are written as a
product of two constants, which runtimes fold when they load the file, so that the file does not grow; a tool that
wants to see the weights (a quantiser) has to fold constants first.

The bias ``B[c', w]`` per channel and joint is that of the convolution wherever ``sum_j b[c', j] sum_i right[w, j, i] =
B[c', w]`` has a solution: always with as many groups as terms, and with the identity among the adjacencies, since a
bias behind the graph convolution then is one within it. Elsewhere it is added to the residual.

`_Direct.cost` counts multiplications, and what moving values takes in terms of them (onnxruntime, AVX-512). Mixtures
cost time where the file is loaded, some 11 ms a million values, so there are at most `_MOST_MIXED` in a layer.
Channels that are no multiple of the CPU's block of 16 keep the direct form. Rounding grows by `Terms.gain`, 2 to 12.

Time of the demo network as a static file (onnxruntime, smallest of eight processes that took turns, with one thread
and with two): the plain export 41.4 and 26.4 ms, the direct form 31.7 and 16.9, 35 terms of 5 mixtures with bias and
residual behind them 31.6 and 16.3, as it is now 29.2 and 15.1. It loads in 24 ms, the direct form in 16.

What lost, each with two threads: as many mixtures as terms in every layer, 14.2 ms against 14.3, but it loads 4 ms
later and keeps 5 MB more; no terms where C widens, 15.4 against 14.8; a MatMul for each term in place of the
convolution in groups, 15.6 against 14.9, and with channels last 17.2 against 14.5. Terms of four matrices of which one
is the identity and another nearly so (a model that was not trained) are not found.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from stgcn_onnx.deploy.joint_major import LARGEST_GAIN, SOLVED
from stgcn_onnx.deploy.joint_modules import JointBackbone, JointGraphConv
from stgcn_onnx.deploy.numeric import float64
from stgcn_onnx.deploy.rewrite import Applied, FrameContext, Ledger, Refusal, Rewrite
from stgcn_onnx.deploy.tensor_rank import Terms, decompose, groupings

NAME = "joint_rank"

_MOST_TRIES = 2
_MOST_MIXTURES = 27
_MOST_MIXED = 400_000
_BLOCK_CHANNELS = 16
_WORTH = 0.95
_PER_DIRECT_VALUE = 90
_PER_TERM_VALUE = 50
_PER_JOINT_VALUE = 15


class JointRankGraphConv(nn.Module):
    """The graph convolution, ``(V, C, P, T) -> (V, C', P, T)``.

    Args:
        terms: of the adjacencies.
        weight: ``W_k``, ``(K, C', C)``, float64.
        bias: of each group, ``(m, C')``, or of each joint, ``(V, C', 1, 1)``; float64.
        residual: ``nn.Identity``, or None where there is none or the terms hold it.
        like: a convolution with the dtype to compute in.
    """

    def __init__(
        self, terms: Terms, weight: torch.Tensor, bias: torch.Tensor, residual: nn.Module | None, like: nn.Conv2d
    ) -> None:
        super().__init__()
        joints, groups, rank = terms.left.shape
        dtype = like.weight.dtype
        of_groups = bias.dim() == 2
        self.register_buffer("weight", weight.flatten(1).to(dtype))
        self.register_buffer("mixtures", torch.from_numpy(terms.mixtures.T.copy()).to(dtype))
        self.register_buffer("left", torch.from_numpy(terms.left.transpose(2, 1, 0).reshape(-1, joints)).to(dtype))
        self.register_buffer("right", torch.from_numpy(terms.right.transpose(0, 2, 1).reshape(joints, -1)).to(dtype))
        self.register_buffer("bias", bias.flatten().to(dtype) if of_groups else None)
        self.register_buffer("added", None if of_groups else bias.to(dtype))
        self.sizes = (joints, rank, groups, weight.shape[2], weight.shape[1])
        self.residual = residual
        self.frames: int | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        joints, rank, groups, in_channels, channels = self.sizes
        frames = self.frames or x.shape[3]
        kernel = (self.mixtures @ self.weight).reshape(groups * channels, in_channels, 1, 1)  # (m, C'*C) -> (m*C', C)
        y = self.left @ x.reshape(joints, -1)  # (V, C, P, T) -> (r*m, C*P*T)
        y = y.reshape(rank, groups * in_channels, 1, -1)  # -> (r, m*C, 1, P*T)
        y = functional.conv2d(y, kernel, self.bias, groups=groups)  # -> (r, m*C', 1, P*T)
        y = y.reshape(rank * groups, -1)  # -> (r*m, C'*P*T)
        shape = (joints, channels, -1, frames)
        if self.residual is None:
            y = (self.right @ y).reshape(shape)  # -> (V, C', P, T)
            return functional.relu(y if self.added is None else y + self.added)
        kept = self.residual(x)
        kept = (kept if self.added is None else kept + self.added).reshape(joints, -1)  # (V, C', P, T) -> (V, C'*P*T)
        return functional.relu(torch.addmm(kept, self.right, y)).reshape(shape)  # -> (V, C', P, T)


@dataclass(frozen=True)
class _Direct:
    """A graph convolution in float64; a convolution as its residual is one of its subsets.

    Args:
        adjacency: ``(K, V, V)``.
        weight: ``(K, C', C)``.
        bias: ``(C', V)``.
        residual: ``nn.Identity`` or None.
        products: subsets that are multiplied by their adjacency.
    """

    adjacency: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    residual: nn.Module | None
    products: int

    @classmethod
    def of(cls, unit: JointGraphConv) -> _Direct:
        joints = unit.adjacency.shape[1]
        adjacency = float64(unit.adjacency).reshape(joints, -1, joints).permute(1, 2, 0)  # (W*K, V) -> (K, V, W)
        flat = float64(unit.conv.weight)[:, :, 0, 0]
        bias = float64(unit.conv.bias)[:, None].expand(-1, joints)
        if unit.ahead is not None:
            bias = bias + flat @ float64(unit.ahead)[:, :, 0, 0].T
        if unit.behind is not None:
            bias = bias + float64(unit.behind)[:, :, 0, 0].T
        products = len(adjacency)
        weight = flat.reshape(len(flat), products, -1).permute(1, 0, 2)  # (C', K*C) -> (K, C', C)
        residual = unit.residual
        if isinstance(residual, nn.Conv2d):
            adjacency = torch.cat([adjacency, torch.eye(joints).to(adjacency)[None]])
            weight = torch.cat([weight, float64(residual.weight)[None, :, :, 0, 0]])
            bias = bias if residual.bias is None else bias + float64(residual.bias)[:, None]
            residual = None
        return cls(adjacency, weight, bias, residual, products)

    def cost(self, terms: int | None) -> int:
        """Multiplications per frame, and what moving values takes in terms of them; None: without terms."""
        subsets, channels, in_channels = map(int, self.weight.shape)
        joints = int(self.adjacency.shape[1])
        if terms is None:
            moved = _PER_DIRECT_VALUE * self.products * joints * in_channels
            return subsets * joints * in_channels * channels + moved
        moved = _PER_TERM_VALUE * terms * (in_channels + channels) + _PER_JOINT_VALUE * joints * channels
        return terms * in_channels * channels + moved

    def groupings(self, most_mixtures: int) -> list[tuple[int, int]]:
        """The pairs (m, r) that are clearly faster than no terms, and do not cost too much where the file is loaded."""
        subsets, joints, _ = self.adjacency.shape
        if any(channels % _BLOCK_CHANNELS for channels in self.weight.shape[1:]):
            return []
        mixed = self.weight[0].numel()
        return [
            (groups, rank)
            for groups, rank in groupings(subsets, joints, min(most_mixtures, _MOST_MIXED // mixed))
            if self.cost(groups * rank) < _WORTH * self.cost(None)
        ]


def _bias(terms: Terms, bias: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The bias ``(C', V)`` as one of each group, ``(m, C')``, or where there is none as ``(V, C', 1, 1)``."""
    sums = torch.from_numpy(terms.right.sum(axis=2)).to(bias)  # (V, m, r) -> (V, m)
    of_groups = torch.linalg.pinv(sums) @ bias.T
    size = bias.abs().max()
    left_over = (sums @ of_groups - bias.T).abs().max()
    # What was stored in `dtype` before may differ from a solution by its rounding.
    if left_over <= max(SOLVED, torch.finfo(dtype).eps) * size and of_groups.abs().max() <= LARGEST_GAIN * size:
        return of_groups
    return bias.T[:, :, None, None]  # (C', V) -> (V, C', 1, 1)


def with_fewer_terms(unit: JointGraphConv, most_mixtures: int) -> JointRankGraphConv | None:
    """The graph convolution by terms of at most so many mixtures, or None where the direct form is as fast.

    Raises:
        Refusal: when no terms were found.
    """
    direct = _Direct.of(unit)
    pairs = direct.groupings(most_mixtures)
    for groups, rank in pairs[:_MOST_TRIES]:
        terms = decompose(direct.adjacency.contiguous().cpu().numpy(), groups, rank)
        if terms is not None:
            bias = _bias(terms, direct.bias.cpu(), unit.conv.weight.dtype)
            return JointRankGraphConv(terms, direct.weight.cpu(), bias, direct.residual, unit.conv)
    if not pairs:
        return None
    raise Refusal(f"no {pairs[0][0] * pairs[0][1]} terms were found that sum to its adjacencies")


def _apply(model: nn.Module, context: FrameContext, most_mixtures: int) -> Applied:
    ledger = Ledger(NAME)
    if not isinstance(model.backbone, JointBackbone):
        ledger.refuse("backbone", f"{type(model.backbone).__name__} is not in the layout of joint_major")
        return ledger.applied()
    for index, block in enumerate(model.backbone.gcn):
        if not isinstance(block.gcn, JointGraphConv):
            continue
        try:
            rewritten = with_fewer_terms(block.gcn, most_mixtures)
        except Refusal as refusal:
            ledger.refuse(f"backbone.gcn.{index}.gcn", str(refusal))
            continue
        if rewritten is not None:
            block.gcn = rewritten.eval()
            ledger.changed()
    model.backbone.fix_frames(context.num_frames)
    return ledger.applied()


def rewrite(most_mixtures: int) -> Rewrite:
    """The rewrite with at most so many mixtures of the weights in a layer."""
    return Rewrite(NAME, requires=("joint_major",), apply=partial(_apply, most_mixtures=most_mixtures))


REWRITE = rewrite(_MOST_MIXTURES)
