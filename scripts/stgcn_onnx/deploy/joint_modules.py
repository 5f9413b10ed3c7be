"""The modules of the layout ``(V, C, P, T)`` that joint_major.py builds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class InputAffine(nn.Module):
    """The normalisation of the input, ``(N, M, T, V, C)`` to the same.

    Args:
        scale: ``(M or 1, 1, V, C)``.
        shift: likewise.
    """

    def __init__(self, scale: torch.Tensor, shift: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + self.shift


class InputMap(nn.Module):
    """One matrix per frame, ``(P * T, V * C) -> (P * T, V * Q)``.

    Args:
        weight: ``(V * C, V * Q)``.
        bias: ``(V * Q,)``.
        joints: V.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, joints: int) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.channels = weight.shape[1] // joints

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.bias, frames, self.weight)


class JointGraphConv(nn.Module):
    """The graph convolution, ``(V, C, P, T) -> (V, C', P, T)``.

    Args:
        adjacency: ``(V * K, V)``, rows ordered (joint, subset).
        conv: 1x1, ``K * C`` to ``C'`` channels.
        ahead: constant per joint in front of `conv`, ``(V, K * C, 1, 1)``, or None.
        behind: constant per joint behind it, ``(V, C', 1, 1)``, or None.
        residual: a 1x1 convolution, ``nn.Identity`` or None.
    """

    def __init__(
        self,
        adjacency: torch.Tensor,
        conv: nn.Conv2d,
        *,
        ahead: torch.Tensor | None,
        behind: torch.Tensor | None,
        residual: nn.Module | None,
    ) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency.contiguous())
        self.conv = conv
        self.register_buffer("ahead", ahead)
        self.register_buffer("behind", behind)
        self.residual = residual
        self.frames: int | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        joints = self.adjacency.shape[1]
        frames = self.frames or x.shape[3]
        y = self.adjacency @ x.reshape(joints, -1)  # (V, C, P, T) -> (V*K, C*P*T)
        y = y.reshape(joints, self.conv.in_channels, -1, frames)  # (V*K, C*P*T) -> (V, K*C, P, T)
        if self.ahead is not None:
            y = y + self.ahead
        y = self.conv(y)  # (V, K*C, P, T) -> (V, C', P, T)
        if self.behind is not None:
            y = y + self.behind
        if self.residual is not None:
            y = y + self.residual(x)
        return functional.relu(y)


class JointBlock(nn.Module):
    """A block, ``(V, C, P, T) -> (V, C', P, T')``.

    Args:
        gcn: the graph convolution with its activation.
        tcn: the temporal convolution.
        residual: a convolution, ``nn.Identity`` or None.
    """

    def __init__(self, gcn: nn.Module, tcn: nn.Module, residual: nn.Module | None) -> None:
        super().__init__()
        self.gcn = gcn
        self.tcn = tcn
        self.residual = residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.tcn(self.gcn(x))
        return functional.relu(y if self.residual is None else y + self.residual(x))


class JointBackbone(nn.Module):
    """The backbone of joint_major.py, ``(N, M, T, V, C) -> (N, M, C', T', V)`` like the one it replaces.

    Pooled over people, frames and joints it gives ``(N, 1, C', 1, 1)`` instead (pooled_head.py).

    Args:
        affine: normalisation of the input, or None where `entry` holds it or there is none.
        entry: the map in front of the first block, or None.
        blocks: in order.
        input_shape: V and C.

    Attributes:
        frame_axis: where `trunk` has T'.
        joint_axis: where it has V.
        temporal_axis: which of its two sizes a kernel has over time.
    """

    frame_axis, joint_axis, temporal_axis = 3, 0, 1

    def __init__(
        self,
        affine: InputAffine | None,
        entry: InputMap | None,
        blocks: Iterable[JointBlock],
        input_shape: tuple[int, int],
    ) -> None:
        super().__init__()
        self.affine = affine
        self.entry = entry
        self.gcn = nn.ModuleList(blocks)
        self.input_shape = input_shape
        self.per_person = affine is not None and len(affine.scale) > 1
        self.num_frames: int | None = None
        self.pooled = False
        self.present: Any = None
        self.groups: Any = None

    def fix_frames(self, num_frames: int | None) -> None:
        """Compile in the number of frames of every block, or with None leave it to the input."""
        self.num_frames = None
        for block in self.gcn:
            block.gcn.frames = None
        if num_frames is None:
            return
        handles = [block.register_forward_pre_hook(_fix_block) for block in self.gcn]
        with torch.no_grad():
            parameter = next(self.parameters())
            self.trunk(torch.zeros(1, num_frames, *self.input_shape, dtype=parameter.dtype, device=parameter.device))
        for handle in handles:
            handle.remove()
        self.num_frames = num_frames

    def trunk(self, people: torch.Tensor) -> torch.Tensor:
        """All blocks, ``(P, T, V, C) -> (V, C', P, T')``."""
        joints, channels = self.input_shape
        frames = self.num_frames or people.shape[1]
        if self.affine is not None and not self.per_person:
            people = self.affine(people)
        if self.entry is not None:
            people = self.entry(people.reshape(-1, joints * channels))  # (P, T, V, C) -> (P*T, V*Q)
            people = people.reshape(-1, frames, joints, self.entry.channels)  # -> (P, T, V, Q)
        x = people.permute(2, 3, 0, 1)  # (P, T, V, Q) -> (V, Q, P, T)
        for block in self.gcn:
            x = block(x)
        return x

    def pooled_people(self, y: torch.Tensor) -> torch.Tensor:
        """The mean over joints and frames, ``(V, C, P, T) -> (P, C)``."""
        return y.mean(dim=(0, 3)).transpose(0, 1)

    def features(self, people: torch.Tensor) -> torch.Tensor:
        """What the last block gives in the original layout, ``(P, T, V, C) -> (P, C', T', V)``."""
        return self.trunk(people).permute(2, 1, 3, 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        clips, persons, frames, joints, channels = x.shape
        if self.affine is not None and self.per_person:
            x = self.affine(x)
        people = x.reshape(-1, frames, joints, channels)  # (N, M, T, V, C) -> (P, T, V, C)
        if self.pooled:
            return self._pooled(people, persons)
        y = self.features(people)  # (P, T, V, C) -> (P, C', T', V)
        return y.reshape(clips, persons, y.shape[1], y.shape[2], joints)  # -> (N, M, C', T', V)

    def _pooled(self, people: torch.Tensor, persons: int) -> torch.Tensor:
        if self.present is None:
            features = self._features(people)  # (P, T, V, C) -> (P, C')
        else:
            picked, used = self.present.pick(people)  # (P, T, V, C) -> (P', T, V, C)
            features = self.present.put_back(self._features(picked), used, people)  # (P', C') -> (P, C')
        features = features.reshape(-1, persons, features.shape[1]).mean(dim=1)  # (P, C') -> (N, C')
        return features[:, None, :, None, None]  # (N, C') -> (N, 1, C', 1, 1)

    def _features(self, people: torch.Tensor) -> torch.Tensor:
        """Pooled features, all people at once or in groups (people_groups.py), ``(P, T, V, C) -> (P, C')``."""
        if self.groups is None:
            return self.pooled_people(self.trunk(people))
        features: torch.Tensor = self.groups(people)
        return features


def _fix_block(block: nn.Module, inputs: tuple[torch.Tensor]) -> None:
    block.gcn.frames = int(inputs[0].shape[3])
