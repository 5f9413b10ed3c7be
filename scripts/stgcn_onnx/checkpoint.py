"""Checkpoints: read without executing anything in them, and fitted to the model without exception.

`torch.load(weights_only=True)` refuses what the MMEngine Runner writes (open-mmlab/mmengine#1655), because its
`message_hub` pickles `HistoryBuffer` objects and NumPy arrays. Those names are admitted here as inert stand-ins:
only the weights are wanted. Anything else in the pickle is refused, never run. `load_state_dict(strict=False)`, the
habit of most exporters, would leave random weights in place; here every missing, unexpected and mis-shaped key is an
error.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stgcn_onnx.errors import CheckpointError, first_line
from stgcn_onnx.numpy_pickle import ADMITTED, DTYPE_CLASSES

_WRAPPERS = ("module.", "_orig_mod.", "ema_model.", "model_ema.", "model.")
_LISTED_KEYS = 20


class _Inert:
    """Takes the place of a class whose content is not wanted; accepts any construction and any state."""

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        return

    def __setstate__(self, _state: object) -> None:
        return


def _inert_getattr(*_args: object) -> type[_Inert]:
    """Stands for `builtins.getattr`, which `HistoryBuffer` pickles use to name their methods; looks nothing up."""
    return _Inert


_ADMITTED: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_Inert, "mmengine.logging.history_buffer.HistoryBuffer"),
    (_inert_getattr, "builtins.getattr"),
    *[(function, name) for name, function in ADMITTED.items()],
    *DTYPE_CLASSES,
]


@dataclass(frozen=True)
class Checkpoint:
    """Weights by key, as stored; `meta` keeps only plain values that are recorded in the artefact."""

    path: Path
    sha256: str
    weights: Mapping[str, Tensor]
    meta: Mapping[str, Any]
    trusted: bool


def read_checkpoint(path: Path, *, expected_sha256: str | None = None, trust: bool = False) -> Checkpoint:
    """Read a checkpoint's weights.

    Known forms: an MMEngine Runner file, `{meta, state_dict}`, a bare state dict; each also with keys behind
    `module.` (DataParallel), `_orig_mod.` (torch.compile) or an EMA wrapper.

    Args:
        expected_sha256: the digest that the preset demands, in hexadecimal.
        trust: unpickle without restriction; for files of one's own only.

    Raises:
        CheckpointError: a missing, truncated or foreign file, a digest that differs, or a pickle that wants to run
            code.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist", hint="give a .pth file with --checkpoint")
    try:
        sha256 = _sha256(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(f"checkpoint {path} cannot be read: {reason}", hint="check its permissions") from error
    if expected_sha256 is not None and sha256 != expected_sha256.lower():
        raise CheckpointError(
            f"checkpoint {path}: sha256 is {sha256}, the preset expects {expected_sha256}",
            hint="use the checkpoint the preset was made for, or correct model.sha256",
        )
    content = _unpickle(path, trust=trust)
    weights = _without_mirrors(_unwrapped(_weights_of(content, path)))
    meta = content.get("meta", {}) if isinstance(content, Mapping) else {}
    return Checkpoint(path, sha256, weights, _plain(meta), trust)


def fit(model: nn.Module, checkpoint: Checkpoint, *, config: Path) -> None:
    """Load the weights into `model`, in place, strictly.

    Raises:
        CheckpointError: listing every missing, unexpected, mis-shaped and non-finite key.
    """
    expected = model.state_dict()
    weights = checkpoint.weights
    missing = [k for k in expected if k not in weights and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in weights if k not in expected]
    common = [k for k in weights if k in expected]
    misshaped = [
        f"{k} (expected {tuple(expected[k].shape)}, found {tuple(weights[k].shape)})"
        for k in common
        if expected[k].shape != weights[k].shape
    ]
    broken = [k for k in common if weights[k].is_floating_point() and not torch.isfinite(weights[k]).all()]
    problems = {"missing": missing, "unexpected": unexpected, "mis-shaped": misshaped, "not finite": broken}
    if any(problems.values()):
        listing = "; ".join(f"{len(keys)} {what}: {_listing(keys)}" for what, keys in problems.items() if keys)
        raise CheckpointError(
            f"checkpoint {checkpoint.path} does not fit the model of {config}: {listing}",
            hint="give the config that this checkpoint was trained with",
        )
    model.load_state_dict({k: weights[k] for k in common}, strict=not _only_counters_missing(expected, weights))


def _only_counters_missing(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> bool:
    # Checkpoints from before PyTorch 0.4.1 lack this counter, which evaluation never reads.
    return any(k not in weights for k in expected)


def _unpickle(path: Path, *, trust: bool) -> object:
    try:
        if trust:
            return torch.load(path, map_location="cpu", weights_only=False)
        with torch.serialization.safe_globals(_ADMITTED):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).replace("\n", " ")
        if "Unsupported global" in reason or "GLOBAL" in reason or "Unsupported class" in reason:
            name = next((part for part in reason.split() if "." in part.strip(".`'\"") and part[0].isalpha()), "")
            raise CheckpointError(
                f"checkpoint {path} holds more than weights: {_refused_name(reason) or name}; nothing in it was run",
                hint="ask its author for the weights alone, or pass --trust-checkpoint if you trust the file",
            ) from error
        raise _unreadable(path, error) from error
    except Exception as error:  # a damaged file raises nearly anything, a trusted one anything at all
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    first_sentence = first_line(error).split(". ")[0]
    return CheckpointError(
        f"checkpoint {path} ({path.stat().st_size} bytes) is truncated or not a PyTorch file: {first_sentence}",
        hint="copy or download it again and compare its sha256",
    )


def _refused_name(reason: str) -> str | None:
    for mark in ("GLOBAL ", "global: ", "class "):
        if mark in reason:
            return "it wants " + reason.split(mark, 1)[1].split(maxsplit=1)[0].strip("`'\",.")
    return None


def _weights_of(content: object, path: Path) -> dict[str, Tensor]:
    found: object = content
    if isinstance(content, Mapping):
        found = next(
            (content[key] for key in ("state_dict", "model") if isinstance(content.get(key), Mapping)), content
        )
    if not isinstance(found, Mapping) or not found or not all(isinstance(key, str) for key in found):
        raise CheckpointError(
            f"checkpoint {path}: expected a state dict, found {type(found).__name__}",
            hint="give a file that holds `state_dict` or is one",
        )
    foreign = [key for key, value in found.items() if not isinstance(value, Tensor)]
    if foreign:
        raise CheckpointError(
            f"checkpoint {path}: expected tensors only, found other values under {_listing(foreign)}",
            hint="give a file that holds `state_dict` or is one",
        )
    return dict(found)


def _unwrapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove prefixes that wrappers put before every key, and the step counter that averaged models add."""
    weights = {key: value for key, value in weights.items() if key not in {"steps", "n_averaged"}}
    for _ in range(len(_WRAPPERS)):
        prefix = next((p for p in _WRAPPERS if all(key.startswith(p) for key in weights)), None)
        if prefix is None or not weights:
            break
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def _without_mirrors(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the `ema_*` twins of MMCV 1.x, which swaps the averaged weights into the plain names before it saves."""
    mirrors = {"ema_" + key.replace(".", "_") for key in weights}
    return {key: value for key, value in weights.items() if key not in mirrors}


def _plain(meta: object) -> dict[str, Any]:
    if not isinstance(meta, Mapping):
        return {}
    return {k: meta[k] for k in ("epoch", "iter", "dataset_meta") if isinstance(meta.get(k), int | str | dict)}


def _listing(keys: list[str]) -> str:
    more = f" and {len(keys) - _LISTED_KEYS} more" if len(keys) > _LISTED_KEYS else ""
    return ", ".join(keys[:_LISTED_KEYS]) + more


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
