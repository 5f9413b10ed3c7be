"""The clips on which a lower precision looks at the network's values, as the network sees them.

Generated ones by default, scenes as in training; or those of an MMAction2 annotation pickle, through the config's own
pipeline. A clip that would spoil a scale is an error, or is left out with a word about it: never a silent bad scale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stgcn_onnx.annotations import Annotation, read_annotations, spread_out
from stgcn_onnx.clips import full_batch
from stgcn_onnx.errors import UsageError
from stgcn_onnx.generated import CALIBRATION, require_served
from stgcn_onnx.model import LoadedModel
from stgcn_onnx.preset import CalibrationOptions
from stgcn_onnx.runtime import FloatArray
from stgcn_onnx.videos import Video, Videos

GENERATED = "generated"
_NAMED_CLIPS = 3
_DIGEST_LENGTH = 16

OnProgress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Calibration:
    """Clips to calibrate on.

    Attributes:
        batches: `[N, M, T, V, C]` float32 each, N as traced; the last ones are filled up with a clip of their own.
        clips: how many there are.
        source: name of the annotation file, or `generated`.
        frame_dirs: their names, for leaving them out where the result is judged.
        warnings: what the user should know of them.
    """

    batches: tuple[FloatArray, ...]
    clips: int
    source: str
    frame_dirs: frozenset[str]
    warnings: tuple[str, ...]

    def document(self, options: CalibrationOptions) -> dict[str, Any]:
        """What is written into metadata and report; names of clips may be paths, so only their digests are."""
        document: dict[str, Any] = {"clips": self.clips, "source": self.source, "warnings": list(self.warnings)}
        document |= {"method": options.method, "exclude": list(options.exclude)}
        if self.source != GENERATED:
            return document | {"clip_digests": sorted(map(_digest, self.frame_dirs))}
        return document | {"seed": list(CALIBRATION.seed)}


def calibration_clips(
    model: LoadedModel,
    options: CalibrationOptions,
    *,
    frames: tuple[int, int] | None,
    on_progress: OnProgress | None = None,
) -> Calibration:
    """The clips that a preset asks for.

    Args:
        frames: the fewest and the most frames that the file takes; None for the traced number alone.

    Raises:
        UsageError: a file that cannot be read safely or is empty; clips that are not of the model's joints, channels or
            classes, or not finite; no clip that is not constant; a model that generated clips cannot feed.
    """
    annotations, source, place = _annotations(model, options)
    warnings = []
    if len(annotations) < options.clips:
        warnings.append(
            f"calibration.clips asks for {options.clips}, {place} holds {len(annotations)}: all of them are used"
        )
    videos = Videos(annotations, model, place, frames=frames, labelled=source != GENERATED)
    if len(videos) < len(annotations):
        dropped = len(annotations) - len(videos)
        warnings.append(f"{place}: the config's data set leaves {dropped} of {len(annotations)} clips out")
    chosen, constant = _useful(videos, on_progress)
    if constant:
        named = ", ".join(constant[:_NAMED_CLIPS]) + (", …" if len(constant) > _NAMED_CLIPS else "")
        text = f"{place}: {len(constant)} of {len(videos)} clips hold one value throughout ({named})"
        if not chosen:
            raise UsageError(
                f"{text}: a zero range gives no scale", hint="give clips in which somebody moves: calibration.data"
            )
        warnings.append(f"{text}; they are left out")
    names = frozenset(video.frame_dir for video in chosen)
    batches = tuple(_batches((video.views[0] for video in chosen), model.shape.batch))
    return Calibration(batches, len(chosen), source, names, tuple(warnings))


def calibrated_on(metadata: dict[str, Any], data: Path) -> frozenset[str]:
    """Names of the clips of an annotation pickle on which a file of ours was calibrated.

    Args:
        metadata: the file's.

    Raises:
        UsageError: the pickle cannot be read.
    """
    digests = frozenset((metadata.get("calibration") or {}).get("clip_digests", ()))
    if not digests:
        return frozenset()
    names = (str(annotation["frame_dir"]) for annotation in read_annotations(data))
    return frozenset(name for name in names if _digest(name) in digests)


def unused_options(options: CalibrationOptions, precision: str) -> list[str]:
    """The keys that were given another value than the default, and say nothing to this precision."""
    defaults = dict(CalibrationOptions())
    given = [name for name, value in options if value != defaults[name]]
    return [name for name in given if precision == "fp32" or (precision == "fp16" and name == "method")]


def _annotations(model: LoadedModel, options: CalibrationOptions) -> tuple[Sequence[Annotation], str, str]:
    """The clips in MMAction2's format, what to call their source, and the place to name in messages."""
    if options.data is None:
        require_served(model)
        return CALIBRATION.annotations(options.clips), GENERATED, GENERATED
    path = Path(options.data)
    every = read_annotations(path)
    return spread_out(every, options.clips), path.name, str(path)


def _useful(videos: Videos, on_progress: OnProgress | None) -> tuple[list[Video], list[str]]:
    """The videos whose first clip is not one value throughout, and the names of the others."""
    chosen, constant = [], []
    for done, video in enumerate(videos, start=1):
        clip = video.views[0]
        if clip.min() == clip.max():
            constant.append(video.frame_dir)
        else:
            chosen.append(video)
        if on_progress is not None:
            on_progress("preparing clips", done, len(videos))
    return chosen, constant


def _batches(clips: Iterable[FloatArray], size: int) -> Iterable[FloatArray]:
    """Batches of clips of the same length."""
    of_length: dict[int, list[FloatArray]] = {}
    for clip in clips:
        of_length.setdefault(clip.shape[1], []).append(clip)
    for group in of_length.values():
        for start in range(0, len(group), size):
            yield full_batch(group[start : start + size], size)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_LENGTH]
