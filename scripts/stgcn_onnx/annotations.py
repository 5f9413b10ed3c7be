"""MMAction2 annotation pickles, read through an unpickler that admits plain containers and NumPy arrays only.

The format is MMAction2's `PoseDataset`: `{split: {name: [frame_dir]}, annotations: [{frame_dir, label, total_frames,
keypoint [M, T, V, 2], keypoint_score [M, T, V], img_shape}]}`, or the bare list of annotations.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stgcn_onnx.errors import UsageError
from stgcn_onnx.numpy_pickle import ADMITTED

Annotation = dict[str, Any]
_REQUIRED = ("frame_dir", "label", "total_frames", "keypoint")
_KEYPOINT_AXES = 4


def _bytes_of(text: str, encoding: str) -> bytes:
    """Stands for `_codecs.encode`: the bytes of an array in pickle protocol 2, which MMEngine writes by default."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"it wants _codecs.encode to {encoding!r}")
    return text.encode("latin1")


_ADMITTED: Mapping[str, Callable[..., Any]] = {**ADMITTED, "_codecs.encode": _bytes_of}


class _PlainUnpickler(pickle.Unpickler):
    """Resolves the names that NumPy arrays pickle as, and no other."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        full_name = f"{module}.{name}"
        if full_name not in _ADMITTED:
            raise pickle.UnpicklingError(f"it wants {full_name}")
        return _ADMITTED[full_name]


def read_annotations(path: Path, *, split: str | None = None) -> list[Annotation]:
    """Read the clips of an annotation pickle.

    Args:
        split: only the clips of this split; by default all.

    Raises:
        UsageError: a missing or foreign file, one that holds more than plain containers and arrays (nothing in it is
            run), no clips, or a clip without the required keys.
    """
    if not path.is_file():
        raise UsageError(f"clips {path} do not exist", hint="give an MMAction2 annotation pickle")
    try:
        with path.open("rb") as stream:
            content = _PlainUnpickler(stream).load()
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"clips {path}: holds more than plain containers and arrays: {error}; nothing in it was run",
            hint="save lists, dicts, numbers, text and NumPy arrays only",
        ) from error
    except Exception as error:  # a pickle that is cut off or is none raises nearly anything
        raise UsageError(
            f"clips {path}: not a readable pickle: {error or type(error).__name__}",
            hint="give an MMAction2 annotation pickle",
        ) from error
    annotations = _select(content, split, path)
    if not annotations:
        raise UsageError(f"clips {path}: no clips in it", hint="give a pickle with at least one clip")
    for index, annotation in enumerate(annotations):
        _check(annotation, index, path)
    return annotations


def spread_out(annotations: Sequence[Annotation], limit: int) -> list[Annotation]:
    """`limit` of the clips at most, evenly over all of them: files are often sorted by class."""
    places = np.linspace(0, len(annotations) - 1, min(limit, len(annotations))).astype(int)
    return [annotations[place] for place in places]


def _select(content: object, split: str | None, path: Path) -> list[Annotation]:
    if isinstance(content, Mapping) and isinstance(content.get("annotations"), list):
        annotations = content["annotations"]
        if split is None:
            return list(annotations)
        splits = content.get("split", {})
        if split not in splits:
            raise UsageError(f"clips {path}: no split '{split}'", hint=f"known splits: {', '.join(splits)}")
        for index, annotation in enumerate(annotations):
            _check(annotation, index, path)
        wanted = set(splits[split])
        return [annotation for annotation in annotations if annotation["frame_dir"] in wanted]
    if isinstance(content, list):
        return content
    raise UsageError(
        f"clips {path}: expected a list or {{split, annotations}}, found {type(content).__name__}",
        hint="give an MMAction2 annotation pickle",
    )


def _check(annotation: object, index: int, path: Path) -> None:
    where = f"clips {path}: clip {index}"
    if not isinstance(annotation, Mapping):
        raise UsageError(
            f"{where}: expected a dict, found {type(annotation).__name__}", hint="see `frame_dir` and others"
        )
    missing = [key for key in _REQUIRED if key not in annotation]
    if missing:
        raise UsageError(f"{where}: {', '.join(missing)} is missing", hint="see MMAction2's PoseDataset")
    if not isinstance(annotation["frame_dir"], str):
        raise UsageError(
            f"{where}: frame_dir: expected text, found {_kind(annotation['frame_dir'])}", hint="name the clip"
        )
    keypoint = annotation["keypoint"]
    if not isinstance(keypoint, np.ndarray) or keypoint.ndim != _KEYPOINT_AXES or keypoint.dtype.kind != "f":
        raise UsageError(
            f"{where}: keypoint: expected a float array [M, T, V, C], found {_kind(keypoint)}",
            hint="see MMAction2's PoseDataset",
        )
    if keypoint.shape[1] != annotation["total_frames"] or 0 in keypoint.shape:
        raise UsageError(
            f"{where}: keypoint {list(keypoint.shape)} [M, T, V, C] against total_frames {annotation['total_frames']}",
            hint="the two numbers of frames have to be the same and not 0",
        )


def _kind(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
