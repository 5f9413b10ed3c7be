"""The only file that works round MMAction2's packaging.

The 1.2.0 wheel lacks the folder ``mmaction/models/localizers/drn`` although ``localizers/__init__`` imports it
(open-mmlab/mmaction2#2714), so ``import mmaction.models`` fails on every machine that installed it from PyPI.
DRN is a temporal localiser: no skeleton recogniser needs it. A placeholder module lets the import pass; building
a DRN from it raises. Everything else of the package is used as it is.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import logging
import sys
import types
import warnings
from pathlib import Path

from stgcn_onnx.errors import EnvironmentFault, UsageError

_MISSING_MODULE = "mmaction.models.localizers.drn.drn"


class _MissingLocaliser:
    """Stands where the wheel forgot ``DRN``; it can be imported, not built."""

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        raise EnvironmentFault(
            "DRN is not part of the mmaction2 1.2.0 wheel (mmaction2#2714)",
            hint="export a skeleton recogniser (RecognizerGCN), which does not need it",
        )


def _package_folder() -> Path:
    spec = importlib.util.find_spec("mmaction")
    if spec is None or not spec.submodule_search_locations:
        raise EnvironmentFault("the package mmaction2 is not installed", hint="run `make setup`")
    return Path(next(iter(spec.submodule_search_locations)))


def packaged_config(name: str) -> Path:
    """The path of a config that ships with MMAction2, such as `skeleton/stgcnpp/….py`.

    Raises:
        UsageError: when there is none of that name.
        EnvironmentFault: when MMAction2 is not installed.
    """
    root = _package_folder() / ".mim" / "configs"
    path = root / name
    if path.is_file():
        return path
    known = sorted(item.relative_to(root).as_posix() for item in root.glob("skeleton/*/*.py"))
    closest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    suggestion = f"did you mean mmaction::{closest[0]}?" if closest else "see MMAction2's configs/skeleton"
    raise UsageError(f"mmaction::{name} is not a config of the installed MMAction2", hint=suggestion)


def _wheel_has_drn() -> bool:
    return (_package_folder() / "models" / "localizers" / "drn").is_dir()


def _place_holder() -> None:
    package_name = _MISSING_MODULE.rpartition(".")[0]
    package = types.ModuleType(package_name)
    package.__path__ = []
    module = types.ModuleType(_MISSING_MODULE)
    module.DRN = _MissingLocaliser  # type: ignore[attr-defined]
    sys.modules[package_name] = package
    sys.modules[_MISSING_MODULE] = module


def load_mmaction() -> None:
    """Import MMAction2 and register its models and transforms under the scope ``mmaction``.

    Safe to call repeatedly.

    Raises:
        EnvironmentFault: when mmaction2, mmengine or mmcv-lite is missing or does not import.
    """
    if "mmaction.models" in sys.modules:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.getLogger("matplotlib").setLevel(logging.WARNING)
            importlib.import_module("mmaction")
            if not _wheel_has_drn():
                _place_holder()
            importlib.import_module("mmaction.models")
            importlib.import_module("mmaction.datasets")
            importlib.import_module("mmaction.evaluation")
            importlib.import_module("mmengine.registry").init_default_scope("mmaction")
    except ImportError as error:
        raise EnvironmentFault(
            f"MMAction2 does not import: {error}", hint="run `make setup`, then `make doctor`"
        ) from error
