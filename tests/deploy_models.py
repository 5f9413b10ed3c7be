"""Recognisers with random weights and statistics for the proofs of the rewrites."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from stgcn_onnx.deploy import names
from stgcn_onnx.mmaction import load_mmaction

RELATIVE_LIMIT = 1e-12
PREFIXES = {name: names()[: index + 1] for index, name in enumerate(names())}
"""Every rewrite together with all that come before it."""


class BackboneAndHead(nn.Module):
    """``[N, M, T, V, C]`` to logits, as the exported module computes them."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x))


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and running statistics: a fold that forgets one of them shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if not tensor.is_floating_point() or (name.endswith(".A") and not tensor.requires_grad):
                continue
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if name.endswith("running_var") or (name.endswith(".weight") and tensor.dim() == 1):
                noise = 0.5 + noise.abs()
            elif name.endswith(".PA"):
                noise = 1 + 0.3 * noise
            elif name.endswith(".A"):
                noise = tensor + 0.1 * noise
            elif tensor.dim() > 1:
                noise = noise / tensor[0].numel() ** 0.5
            tensor.copy_(noise.to(tensor.dtype))
    return model.eval()


def recogniser(*, num_classes: int = 3, mode: str = "spatial", seed: int = 0, **kwargs: Any) -> BackboneAndHead:
    """A float64 ST-GCN recogniser; `kwargs` go to MMAction2's STGCN over small defaults of ST-GCN++."""
    load_mmaction()
    from mmaction.models.backbones.stgcn import STGCN
    from mmaction.models.heads.gcn_head import GCNHead

    options = {
        "in_channels": 2,
        "base_channels": 8,
        "num_stages": 3,
        "inflate_stages": [2],
        "down_stages": [3],
        "gcn_adaptive": "init",
        "gcn_with_res": True,
        "tcn_type": "mstcn",
        "graph_cfg": {"layout": "coco", "mode": mode},
        **kwargs,
    }
    backbone = STGCN(**options)
    out_channels = backbone.gcn[-1].gcn.out_channels
    return randomise(BackboneAndHead(backbone, GCNHead(num_classes, out_channels)).double(), seed)


def clip(*, batch: int = 2, persons: int = 3, frames: int = 12, channels: int = 2, seed: int = 1) -> torch.Tensor:
    """A float64 clip ``(N, M, T, V, C)`` of 17 joints; clip i has its last ``i`` people absent."""
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn((batch, persons, frames, 17, channels), generator=generator, dtype=torch.float64)
    for index in range(batch):
        data[index, max(persons - index, 0) :] = 0
    return data


def relative_error(candidate: torch.Tensor, reference: torch.Tensor) -> float:
    """Largest deviation over the largest magnitude of the reference."""
    return float((candidate - reference).abs().max() / reference.abs().max())


def largest_error(model: nn.Module, rewritten: nn.Module, frames: tuple[int, ...] = (12, 9), **shape: Any) -> float:
    """The larger relative error over an even and an odd number of frames."""
    errors = []
    with torch.no_grad():
        for count in frames:
            x = clip(frames=count, **shape)
            errors.append(relative_error(rewritten(x), model(x)))
    return max(errors)
