"""How good an ONNX file is on labelled videos, and whether it says what the PyTorch model says: `invoke evaluate`.

Over MMAction2's own data set and pipeline; see `videos.py`. Every figure is given for both models.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stgcn_onnx.annotations import read_annotations
from stgcn_onnx.calibration import calibrated_on
from stgcn_onnx.console import Log
from stgcn_onnx.errors import UsageError
from stgcn_onnx.metadata import class_names
from stgcn_onnx.metrics import agrees, confusion, mean_class_accuracy, probability_difference, roc_auc, top1
from stgcn_onnx.model import LoadedModel
from stgcn_onnx.pipeline import free_axes
from stgcn_onnx.predictions import Predictions, Probabilities, predict
from stgcn_onnx.reference import Reference
from stgcn_onnx.runtime import Session
from stgcn_onnx.verify_file import GivenFile, load_original
from stgcn_onnx.videos import Videos

_TWO_CLASSES = 2


@dataclass(frozen=True)
class Figures:
    """One model on labelled samples; `confusion` has the true classes in its rows. AUC is None but for two classes."""

    top1: float
    mean_class_accuracy: float
    confusion: npt.NDArray[np.int64]
    roc_auc: float | None


@dataclass(frozen=True)
class Subject:
    """What was evaluated, by name: nothing here is a path of this machine."""

    model: str
    sha256: str
    precision: str
    config: str
    checkpoint: str
    clips: str
    split: str | None
    average_clips: str | None
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """Both models on the same videos, and how far they agree.

    `calibrated` of the videos were used to calibrate the file, which flatters it.
    """

    subject: Subject
    videos: int
    calibrated: int
    file: Figures
    pytorch: Figures
    said: Predictions
    agreement: float
    mean_probability_difference: float
    max_probability_difference: float


def evaluate_file(file: GivenFile, arguments: argparse.Namespace, log: Log) -> Evaluation:
    """Evaluate an ONNX file and the PyTorch model it was made from.

    Args:
        arguments: with the options of `cli.add_model_options`, `data` and `split`.

    Raises:
        UsageError: no clips, clips that cannot be read, or clips of another kind than the model's.
        IntegrityError: the file was made from another checkpoint.
        VerificationError: onnxruntime cannot run the clips.
        ConverterError: what loading the model raises.
    """
    preset, model = load_original(file, arguments, log)
    if preset.verify.data is None:
        raise UsageError("no clips to evaluate on", hint="give an MMAction2 annotation pickle with --data")
    path = Path(preset.verify.data)
    annotations = read_annotations(path, split=arguments.split)
    calibrated = len(calibrated_on(file.metadata, path) & {annotation["frame_dir"] for annotation in annotations})
    if calibrated:
        log.line("evaluate", f"{calibrated} of the clips were used to calibrate the file", style="yellow")
    videos = Videos(annotations, model, str(path), frames=free_axes(preset).frames)
    session = Session(file.content, preset.device, spinning=False)
    with log.bar("evaluate") as bar:
        said = predict(
            session,
            Reference(model.recogniser, preset.device),
            model,
            videos,
            lambda done: bar(path.name, done, len(videos)),
        )
    subject = _subject(file, model, path, arguments.split)
    return summarise(subject, len(videos), said, calibrated=calibrated)


def _subject(file: GivenFile, model: LoadedModel, clips: Path, split: str | None) -> Subject:
    return Subject(
        model=file.path.name,
        sha256=hashlib.sha256(file.content).hexdigest(),
        precision=str(file.metadata.get("precision", "unknown")),
        config=model.config.path.name,
        checkpoint=model.checkpoint.path.name,
        clips=clips.name,
        split=split,
        average_clips=model.recogniser.head.average_clips,
        classes=tuple(class_names(model)),
    )


def summarise(subject: Subject, videos: int, said: Predictions, *, calibrated: int = 0) -> Evaluation:
    """The figures of predictions whose labels are known."""
    assert said.labels is not None, "an evaluation reads labelled videos"
    distance = probability_difference(said.candidate, said.reference)
    return Evaluation(
        subject=subject,
        videos=videos,
        calibrated=calibrated,
        file=_figures(said.candidate, said.labels),
        pytorch=_figures(said.reference, said.labels),
        said=said,
        agreement=float(agrees(said.candidate, said.reference).mean()),
        mean_probability_difference=float(distance.mean()),
        max_probability_difference=float(distance.max()),
    )


def _figures(probabilities: Probabilities, labels: npt.NDArray[np.int64]) -> Figures:
    two = probabilities.shape[1] == _TWO_CLASSES
    return Figures(
        top1=top1(probabilities, labels),
        mean_class_accuracy=mean_class_accuracy(probabilities, labels),
        confusion=confusion(probabilities, labels),
        roc_auc=roc_auc(probabilities[:, 1], labels) if two else None,
    )
