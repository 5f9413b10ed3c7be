"""The MMAction2 classes that the rewrites know, imported only when a model is rewritten.

A rewrite compares ``type(module) is KNOWN`` and not ``isinstance``: a subclass may compute something else, and the
rule is to leave alone what is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from stgcn_onnx.mmaction import load_mmaction


@dataclass(frozen=True)
class KnownTypes:
    """Classes of ``mmaction.models`` (backbones/stgcn.py, utils/gcn_utils.py, heads/gcn_head.py)."""

    backbone: Any
    block: Any
    graph_conv: Any
    unit_tcn: Any
    mstcn: Any
    head: Any


@cache
def known_types() -> KnownTypes:
    """Import MMAction2 and return the classes.

    Raises:
        EnvironmentFault: when MMAction2 does not import.
    """
    load_mmaction()
    from mmaction.models.backbones.stgcn import STGCN, STGCNBlock
    from mmaction.models.heads.gcn_head import GCNHead
    from mmaction.models.utils.gcn_utils import mstcn, unit_gcn, unit_tcn

    return KnownTypes(STGCN, STGCNBlock, unit_gcn, unit_tcn, mstcn, GCNHead)
