"""Real clips as the network sees them: annotations through the config's own test pipeline."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from stgcn_onnx.annotations import Annotation, read_annotations, spread_out
from stgcn_onnx.config import RecogniserConfig
from stgcn_onnx.errors import UsageError
from stgcn_onnx.mmaction import load_mmaction
from stgcn_onnx.model import ClipShape, test_pipeline
from stgcn_onnx.runtime import FloatArray
from stgcn_onnx.verify_cases import Case


def real_cases(path: Path, config: RecogniserConfig, shape: ClipShape, *, limit: int) -> Iterator[Case]:
    """Clips of an annotation pickle as cases for verification, `limit` at most, in batches of the traced size.

    Args:
        shape: the traced shape; frames, people, joints and channels of the pipeline's output have to match it.

    Raises:
        UsageError: unreadable clips, a config without a test pipeline, or clips of another shape than the model's.
    """
    annotations = read_annotations(path)
    chosen = spread_out(annotations, limit)
    views = [(a["frame_dir"], view) for a, clip in decode(chosen, config, shape, path) for view in clip]
    for start in range(0, len(views), shape.batch):
        group = views[start : start + shape.batch]
        batch = full_batch([view for _, view in group], shape.batch)
        yield Case(f"clip {group[0][0]}", batch, tuple(_people(view) for view in batch))


def full_batch(clips: Sequence[FloatArray], size: int) -> FloatArray:
    """Clips `[M, T, V, C]` as one batch; a static batch has to be full: it is filled up with its own first clip."""
    filled = [*clips, *(clips[0] for _ in range(size - len(clips)))]
    return np.stack(filled)  # N x (M, T, V, C) -> (N, M, T, V, C)


def decode(
    annotations: Sequence[Annotation], config: RecogniserConfig, shape: ClipShape, path: Path
) -> Iterator[tuple[Annotation, FloatArray]]:
    """Each annotation with its views `[clips, M, T, V, C]` from the config's test pipeline.

    Raises:
        UsageError: a config without a test pipeline, or clips of another shape than the model's.
    """
    transforms = test_pipeline(config)
    if not transforms:
        raise UsageError(f"config {config.path}: no test_pipeline", hint="add one, or verify without real clips")
    load_mmaction()
    from mmaction.registry import TRANSFORMS
    from mmcv.transforms import Compose

    pipeline = Compose([TRANSFORMS.build(copy.deepcopy(dict(transform))) for transform in transforms])
    for annotation in annotations:
        try:
            views = pipeline({**copy.deepcopy(annotation), "start_index": 0})["inputs"].numpy()
        except Exception as error:  # transforms raise whatever their arithmetic does on a clip of a foreign kind
            raise pipeline_refusal(path, annotation, error) from error
        check_views(views, shape, (shape.frames, shape.frames), f"clips {path}: {annotation['frame_dir']}")
        yield annotation, views.astype(np.float32)


def pipeline_refusal(path: Path | str, annotation: Annotation, error: Exception) -> UsageError:
    """What to say of a clip that the config's transforms raise `error` on."""
    return UsageError(
        f"clips {path}: {annotation['frame_dir']}: the config's test pipeline cannot take it: "
        f"{error or type(error).__name__}",
        hint="use clips of the data set that the config is for",
    )


def check_views(views: FloatArray, shape: ClipShape, frames: tuple[int, int], where: str) -> None:
    """Hold what the pipeline gives, `[clips, M, T, V, C]`, against what the model takes.

    Args:
        frames: the fewest and the most frames that are taken.
        where: file and clip, for messages.

    Raises:
        UsageError: any other size.
    """
    fewest, most = frames
    found, expected = views.shape[1:], [shape.person, shape.frames, shape.joints, shape.channels]
    fits = len(found) == len(expected) and fewest <= found[1] <= most
    if not fits or [found[0], *found[2:]] != [expected[0], *expected[2:]]:
        takes = expected if fewest == most else [expected[0], f"{fewest} to {most}", *expected[2:]]
        raise UsageError(
            f"{where}: the config's test pipeline gives {list(found)} [M, T, V, C], the model takes "
            f"[{', '.join(map(str, takes))}]",
            hint="use the config and the clips that belong together, and its own num_frames and num_person",
        )


def _people(clip: FloatArray) -> int:
    return int(np.abs(clip).reshape(clip.shape[0], -1).max(axis=1).astype(bool).sum())
