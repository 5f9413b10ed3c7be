"""The modules of the layout ``(P, C, T, V)`` that frame_major.py builds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from stgcn_onnx.deploy.joint_modules import InputAffine, InputMap, JointBackbone


class FrameGraphConv(nn.Module):
    """The graph convolution as one 1x1 convolution and one matrix for each frame, ``(P, C, T, V) -> (P, C', T, V)``.

    Args:
        conv: all ``W_k`` below each other, ``C`` to ``K * C'`` channels.
        mixing: the adjacencies, ``(V, V * K)``, columns ordered (joint, subset).
        rest: what of the bias no subset can carry, ``(V, C')``, or None.
    """

    def __init__(self, conv: nn.Conv2d, mixing: torch.Tensor, rest: torch.Tensor | None) -> None:
        super().__init__()
        self.conv = conv
        self.register_buffer("mixing", mixing)
        self.register_buffer("rest", rest)
        self.channels = conv.out_channels * len(mixing) // mixing.shape[1]

    def forward(self, x: torch.Tensor, frames: Any) -> torch.Tensor:
        joints, rows = self.mixing.shape
        y = self.conv(x).permute(0, 2, 3, 1)  # (P, C, T, V) -> (P, T, V, K*C')
        y = self.mixing @ y.reshape(-1, rows, self.channels)  # -> (P*T, V*K, C') -> (P*T, V, C')
        if self.rest is not None:
            y = y + self.rest
        y = functional.relu(y).reshape(-1, frames, joints, self.channels)  # -> (P, T, V, C')
        return y.permute(0, 3, 1, 2)  # -> (P, C', T, V)


class FrameEntry(nn.Module):
    """Normalisation and graph convolution of the first block, ``(P, T, V, C) -> (P, C', T, V)``.

    Args:
        map: what all subsets see of each joint, one matrix per frame, ``V * C`` to ``V * Q``.
        linear: what they make of it, ``Q`` to ``C'``.
        joints: V.
    """

    def __init__(self, map: InputMap, linear: nn.Linear, joints: int) -> None:
        super().__init__()
        self.map = map
        self.linear = linear
        self.joints = joints

    def forward(self, people: torch.Tensor, frames: Any) -> torch.Tensor:
        seen = self.map(people.reshape(-1, len(self.map.weight)))  # (P, T, V, C) -> (P*T, V*Q)
        y = functional.relu(self.linear(seen.reshape(-1, self.linear.in_features)))  # -> (P*T*V, C')
        y = y.reshape(-1, frames, self.joints, self.linear.out_features)  # -> (P, T, V, C')
        return y.permute(0, 3, 1, 2)  # -> (P, C', T, V)


class FrameBlock(nn.Module):
    """A block, ``(P, C, T, V) -> (P, C', T', V)``, told its number of frames T.

    A block that asked its input for T would take it out of 8 bits: a runtime keeps such values in float.

    Args:
        gcn: the graph convolution with its activation.
        tcn: the temporal convolution.
        residual: a convolution, ``nn.Identity`` or None.
        stride: of the temporal convolution, in frames.
    """

    def __init__(self, gcn: nn.Module, tcn: nn.Module, residual: nn.Module | None, stride: int) -> None:
        super().__init__()
        self.gcn = gcn
        self.tcn = tcn
        self.residual = residual
        self.stride = stride

    def forward(self, x: torch.Tensor, frames: Any) -> torch.Tensor:
        y = self.tcn(self.gcn(x, frames))
        return functional.relu(y if self.residual is None else y + self.residual(x))


class FrameBackbone(JointBackbone):
    """The backbone of frame_major.py, to the outside like the one of joint_major.py.

    Args:
        affine: normalisation of the input, or None where the first block holds it or there is none.
        blocks: in order; the first may take ``(P, T, V, C)`` (`FrameEntry`).
        input_shape: V and C.
    """

    frame_axis, joint_axis, temporal_axis = 2, 3, 0

    def __init__(self, affine: InputAffine | None, blocks: Iterable[FrameBlock], input_shape: tuple[int, int]) -> None:
        super().__init__(affine, None, blocks, input_shape)

    def fix_frames(self, num_frames: int | None) -> None:
        """Compile in the number of frames, or with None leave it to the input."""
        self.num_frames = num_frames

    def trunk(self, people: torch.Tensor) -> torch.Tensor:
        """All blocks, ``(P, T, V, C) -> (P, C', T', V)``."""
        frames = self.num_frames or people.shape[1]
        x = people if self.affine is None or self.per_person else self.affine(people)
        if not isinstance(self.gcn[0].gcn, FrameEntry):
            x = x.permute(0, 3, 1, 2)  # (P, T, V, C) -> (P, C, T, V)
        for block in self.gcn:
            x = block(x, frames)
            if block.stride > 1:
                frames = (frames + (block.stride - 1)) // block.stride
        return x

    def pooled_people(self, y: torch.Tensor) -> torch.Tensor:
        """The mean over frames and joints, ``(P, C, T, V) -> (P, C)``."""
        return y.mean(dim=(2, 3))

    def features(self, people: torch.Tensor) -> torch.Tensor:
        """What the last block gives, ``(P, T, V, C) -> (P, C', T', V)``."""
        return self.trunk(people)
