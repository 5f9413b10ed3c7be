"""Strided branches compute only the frames that they use.

A temporal convolution with stride s reads the frames ``s t + d j - p``. Where dilation d and padding p are
multiples of s these are multiples of s, so the 1x1 convolution before it may skip the others:

    conv(k, dilation d, padding p, stride s) of reduce(stride 1)
        = conv(k, dilation d / s, padding p / s, stride 1) of reduce(stride s)

The number of frames comes out the same, ``floor((T - 1) / s) + 1 + (2 p - d (k - 1)) / s``, for odd T as well. In
ST-GCN++ the branches with dilation 2 and 4 of every strided block qualify: 2 % of its multiplications.
"""

from __future__ import annotations

from torch import nn

from stgcn_onnx.deploy.modules import Branch, Branches
from stgcn_onnx.deploy.numeric import conv_like, make_conv
from stgcn_onnx.deploy.rewrite import Applied, FrameContext, Ledger, Rewrite, named_blocks

NAME = "even_frames"


def _skips(branch: Branch) -> bool:
    """Whether the branch is a strided convolution that passes over frames."""
    conv = branch.temporal
    strided = isinstance(conv, nn.Conv2d) and conv.stride[0] > 1
    return strided and conv.dilation[0] % conv.stride[0] == 0 and conv.padding[0] % conv.stride[0] == 0


def skip_unused(branch: Branch) -> Branch:
    """The branch with its stride moved to the 1x1 convolution."""
    conv = branch.temporal
    stride, dilation, padding = conv.stride[0], conv.dilation[0], conv.padding[0]
    first = make_conv(branch.reduce.weight, branch.reduce.bias, like=conv, geometry=((stride, 1), (0, 0), (1, 1)))
    second = conv_like(conv, conv.weight, conv.bias)
    second.stride, second.dilation, second.padding = (1, 1), (dilation // stride, 1), (padding // stride, 0)
    return Branch(first, second)


def _apply(model: nn.Module, _context: FrameContext) -> Applied:
    ledger = Ledger(NAME)
    for path, block in named_blocks(model):
        tcn = getattr(block, "tcn", None)
        if not isinstance(tcn, Branches):
            ledger.refuse(f"{path}.tcn", f"{type(tcn).__name__} is not a folded mstcn")
            continue
        for index, branch in enumerate(tcn.branches):
            if _skips(branch):
                tcn.branches[index] = skip_unused(branch)
                ledger.changed()
    return ledger.applied()


REWRITE = Rewrite(NAME, requires=("fold_batch_norm",), apply=_apply)
