"""The head as one mean and one matrix.

GCNHead pools each person over frames and joints, and then takes the mean over the people of a clip. All of these
are means over the same number of values, so they are one mean over (M, T, V), in any order; the dropout between it
and the last linear layer does nothing in evaluation:

    logits[n] = fc( mean_{m, t, v} y[n, m, :, t, v] )

In the layout of joint_major.py the mean over joints and frames runs over the tensor as it lies, without the
transpose back; what is left for the mean over people is tiny.

Refused for a head that is not GCNHead.
"""

from __future__ import annotations

import torch
from torch import nn

from stgcn_onnx.deploy.joint_modules import JointBackbone
from stgcn_onnx.deploy.rewrite import Applied, FrameContext, Ledger, Refusal, Rewrite
from stgcn_onnx.deploy.types import known_types

NAME = "pooled_head"


class PooledHead(nn.Module):
    """The linear layer on pooled features, ``(N, 1, C, 1, 1) -> (N, classes)``.

    Args:
        linear: the last layer of the head that is replaced.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.fc = linear

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(pooled.reshape(-1, self.fc.in_features))  # (N, 1, C, 1, 1) -> (N, C)
        return logits


def _apply(model: nn.Module, _context: FrameContext) -> Applied:
    ledger = Ledger(NAME)
    with ledger.refusing("head"):
        if type(model.head) is not known_types().head:
            raise Refusal(f"{type(model.head).__name__} is not GCNHead")
        if not isinstance(model.backbone, JointBackbone):
            raise Refusal(f"the backbone {type(model.backbone).__name__} is not in the layout of joint_major")
        model.backbone.pooled = True
        model.head = PooledHead(model.head.fc).eval()
    return ledger.applied()


REWRITE = Rewrite(NAME, requires=("joint_major",), apply=_apply)
