"""What two models say of the same videos: an ONNX file and the PyTorch model it was made from.

Several clips of one video are averaged by the head itself (`BaseHead.average_clip`), as the config's `average_clips`
says: `prob` averages probabilities, `score` logits, None nothing, so that every clip is a sample of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from stgcn_onnx.clips import full_batch
from stgcn_onnx.errors import UsageError, VerificationError, first_line
from stgcn_onnx.metrics import agrees, softmax
from stgcn_onnx.model import LoadedModel
from stgcn_onnx.reference import Reference
from stgcn_onnx.runtime import FloatArray, Session
from stgcn_onnx.videos import Video

Probabilities = npt.NDArray[np.float64]
Run = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Predictions:
    """Probabilities `[N, classes]` of both models for N samples, with their names and (N,) true classes, if known."""

    names: tuple[str, ...]
    labels: npt.NDArray[np.int64] | None
    candidate: Probabilities
    reference: Probabilities


@dataclass(frozen=True)
class Differing:
    """A sample with another winning class than in PyTorch: its true class, and the probabilities of both models."""

    frame_dir: str
    label: int | None
    candidate: tuple[float, ...]
    reference: tuple[float, ...]


def predict(
    session: Session,
    reference: Reference,
    model: LoadedModel,
    videos: Iterable[Video],
    on_progress: Callable[[int], None] | None = None,
) -> Predictions:
    """Run both models over the videos, in batches of the size that the file is fixed to or was traced at.

    Args:
        on_progress: called with the number of videos done.

    Raises:
        UsageError: unreadable clips, or clips on which PyTorch itself gives no finite number.
        VerificationError: there is no video, or onnxruntime cannot run them.
    """
    size = session.input_shape[0]
    batch = size if isinstance(size, int) else model.shape.batch
    names, labels, pairs = [], [], []
    for done, (video, found, expected) in enumerate(_logits(session, reference, videos, batch), start=1):
        if not np.isfinite(expected).all():
            raise UsageError(
                f"clip {video.frame_dir}: PyTorch itself gives logits that are not finite",
                hint="remove the clip, or look for a broken weight in the checkpoint",
            )
        pair = average(found, model), average(expected, model)
        count = len(pair[0])
        names += [video.frame_dir] if count == 1 else [f"{video.frame_dir}, clip {index}" for index in range(count)]
        labels += [video.label] * count
        pairs.append(pair)
        if on_progress is not None:
            on_progress(done)
    if not pairs:
        raise VerificationError("nothing was compared", hint="give at least one clip")
    candidate, expected_all = (np.concatenate(side) for side in zip(*pairs, strict=True))
    known = None if None in labels else np.array(labels, np.int64)
    return Predictions(tuple(names), known, candidate, expected_all)


def differing(said: Predictions) -> tuple[Differing, ...]:
    """The samples on which the two models give another class, in their order."""
    return tuple(
        Differing(
            said.names[index],
            None if said.labels is None else int(said.labels[index]),
            tuple(map(float, said.candidate[index])),
            tuple(map(float, said.reference[index])),
        )
        for index in np.flatnonzero(~agrees(said.candidate, said.reference))
    )


def average(logits: FloatArray, model: LoadedModel) -> Probabilities:
    """Probabilities of one video from the logits `[K, classes]` of its K clips: `[1, classes]`, or `[K, classes]`.

    Raises:
        UsageError: the config's `average_clips` is none that MMAction2 knows.
    """
    head = model.recogniser.head
    try:
        scores = head.average_clip(torch.from_numpy(logits).double(), num_segs=len(logits))
    except ValueError as error:
        raise UsageError(
            f"config {model.config.path}: model.cls_head.average_clips: {first_line(error)}",
            hint="choose one of them",
        ) from error
    result: Probabilities = scores.reshape(-1, scores.shape[-1]).numpy()  # (1, classes) or (1, K, classes) -> 2 axes
    return result if head.average_clips == "prob" else softmax(result)


def _logits(
    session: Session, reference: Reference, videos: Iterable[Video], batch: int
) -> Iterator[tuple[Video, FloatArray, FloatArray]]:
    """Each video with both models' logits `[K, classes]`; views of several videos share a batch."""
    waiting: list[Video] = []
    views: list[FloatArray] = []
    pairs: list[tuple[FloatArray, FloatArray]] = []
    for video in videos:
        waiting.append(video)
        views += list(video.views)
        while len(views) >= batch:
            pairs += _run(session, reference, views[:batch], batch)
            del views[:batch]
        yield from _complete(waiting, pairs)
    if views:
        pairs += _run(session, reference, views, batch)
    yield from _complete(waiting, pairs)


def _run(
    session: Session, reference: Reference, views: list[FloatArray], batch: int
) -> Iterable[tuple[FloatArray, FloatArray]]:
    """Both logits (classes,) of each view; a batch that is not full is filled up with its own first view."""
    clips = full_batch(views, batch)
    try:
        found = session.run(clips)
    except Exception as error:  # onnxruntime raises classes of its own
        raise VerificationError(
            f"onnxruntime cannot run clips {list(clips.shape)}: {first_line(error)}",
            hint="an axis that was declared free is not, or the file takes another shape than its config",
        ) from error
    expected = reference.logits(clips[: len(views)])
    if found.shape != (batch, *expected.shape[1:]):
        raise VerificationError(
            f"clips {list(clips.shape)}: the file gives logits {list(found.shape)}, PyTorch gives "
            f"{[batch, *expected.shape[1:]]}",
            hint="the file is of another model than config and checkpoint",
        )
    return zip(found, expected, strict=False)


def _complete(
    waiting: list[Video], pairs: list[tuple[FloatArray, FloatArray]]
) -> Iterator[tuple[Video, FloatArray, FloatArray]]:
    """Take out the videos whose views have all been run."""
    while waiting and len(pairs) >= len(waiting[0].views):
        video = waiting.pop(0)
        found, expected = (np.stack(side) for side in zip(*pairs[: len(video.views)], strict=True))
        del pairs[: len(video.views)]
        yield video, found, expected
