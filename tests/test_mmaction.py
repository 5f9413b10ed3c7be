"""The ways round MMAction2's packaging, and that they stand in the way of nothing else."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import pytest

from stgcn_onnx import mmaction
from stgcn_onnx.errors import EnvironmentFault, UsageError
from stgcn_onnx.mmaction import load_mmaction, packaged_config


def test_models_import_and_are_registered() -> None:
    load_mmaction()
    load_mmaction()
    registry = importlib.import_module("mmaction.registry")
    assert registry.MODELS.get("STGCN") is importlib.import_module("mmaction.models").STGCN
    assert registry.TRANSFORMS.get("FormatGCNInput") is not None


def test_what_the_wheel_forgot_can_be_imported_and_not_built() -> None:
    load_mmaction()
    module = sys.modules["mmaction.models.localizers.drn.drn"]
    if module.__spec__ is not None:
        pytest.skip("this MMAction2 has its DRN")
    with pytest.raises(EnvironmentFault, match="DRN is not part of the mmaction2"):
        module.DRN()


def test_a_missing_package_is_a_fault_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(EnvironmentFault, match="mmaction2 is not installed") as caught:
        packaged_config("x.py")
    assert caught.value.hint == "run `make setup`"


def test_a_package_that_does_not_import_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(f"no {name}")

    monkeypatch.delitem(sys.modules, "mmaction.models", raising=False)
    monkeypatch.setattr(mmaction.importlib, "import_module", fail)
    with pytest.raises(EnvironmentFault, match="MMAction2 does not import: no mmaction") as caught:
        load_mmaction()
    assert "make doctor" in caught.value.hint


def test_a_path_out_of_the_package_is_no_packaged_config() -> None:
    with pytest.raises(UsageError, match="is not a config of the installed MMAction2"):
        packaged_config("../../no-such-config.py")
