"""The normalisation of the input (``data_bn``), and what of it the first block's map can take in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from stgcn_onnx.deploy.joint_modules import InputAffine
from stgcn_onnx.deploy.numeric import Affine, batch_norm_affine


@dataclass(frozen=True)
class InputNorm:
    """One normalisation in two ways: in front of the network as a whole, or divided.

    Args:
        whole: all of it; None where there is none.
        ahead: what stays in front of a first block that computes `inside`; a norm per person cannot go in.
        inside: scale and shift ``(V, C)``, float64.
    """

    whole: InputAffine | None
    ahead: InputAffine | None
    inside: Affine


def input_norm(backbone: nn.Module) -> InputNorm:
    """The normalisation of an STGCN whose first block is folded.

    Raises:
        Refusal: when it is no BatchNorm.
    """
    joints, in_channels = backbone.graph.num_node, backbone.in_channels
    channels = getattr(backbone.data_bn, "num_features", joints * in_channels)
    scale, shift = (part.reshape(-1, joints, in_channels) for part in batch_norm_affine(backbone.data_bn, channels))
    if not backbone.data_bn_type:
        return InputNorm(None, None, (scale[0], shift[0]))
    dtype = backbone.gcn[0].gcn.weight.dtype
    whole = InputAffine(scale.to(dtype)[:, None], shift.to(dtype)[:, None])
    if backbone.data_bn_type == "MVC":
        return InputNorm(whole, whole, (torch.ones_like(scale[0]), torch.zeros_like(shift[0])))
    return InputNorm(whole, None, (scale[0], shift[0]))
