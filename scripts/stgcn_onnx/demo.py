"""The demo model as it lies in `checkpoints/demo`: trained into its place, checked against its digest, measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stgcn_onnx.annotations import read_annotations
from stgcn_onnx.console import Log
from stgcn_onnx.errors import CheckpointError, IntegrityError
from stgcn_onnx.model import LoadedModel, load_model
from stgcn_onnx.preset import InputShape, ModelSource
from stgcn_onnx.scene.generate import DatasetSize, generate_clips, generate_dataset
from stgcn_onnx.scene.ranges import GROUPS, held_out_alone
from stgcn_onnx.training import Plan, publish, train
from stgcn_onnx.training_report import evaluate, markdown, write_report

NAME = "stgcnpp_fight_demo"

_CLIPS_OF_GROUP = 140
_FIRST_BRANCH = 10


@dataclass(frozen=True)
class Demo:
    """Where the demo model lives: its folder, and the README with its figures."""

    folder: Path
    readme: Path

    @property
    def config(self) -> Path:
        return self.folder / f"{NAME}.py"

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"{NAME}.pth"

    @property
    def report(self) -> Path:
        return self.folder / "report.json"


def train_and_publish(plan: Plan, demo: Demo, log: Log) -> dict[str, Any]:
    """Train, write the checkpoint and its digest, and tell what the training took."""
    import torch

    trained = train(plan, log)
    digest = publish(trained.checkpoint, demo.checkpoint)
    log.line("checkpoint", f"{demo.checkpoint.name} {demo.checkpoint.stat().st_size} bytes, sha256 {digest}")
    return {
        "train_clips": plan.size.train,
        "epochs": trained.epochs,
        "seed": plan.seed,
        "precision": "bfloat16" if plan.bfloat16 else "float32",
        "threads": torch.get_num_threads(),
        "generation_s": round(trained.generation_s, 1),
        "training_s": round(trained.training_s, 1),
        "cpu_s": round(trained.cpu_s, 1),
        "torch": torch.__version__,
    }


def measure(
    demo: Demo,
    size: DatasetSize,
    seed: int,
    log: Log,
    *,
    training: Mapping[str, Any] | None = None,
    real_clips: Path | None = None,
) -> str:
    """Measure the checkpoint and write its figures; what is not measured now is kept if it is of this checkpoint.

    Args:
        size: number of clips; those to train on are not generated.
        training: what the training took, when there was one.
        real_clips: annotation pickle of real clips.

    Returns:
        The figures as Markdown.

    Raises:
        CheckpointError: when there is no checkpoint or no digest.
        IntegrityError: when the checkpoint is not the one of its digest.
    """
    digest = check_digest(demo.checkpoint)
    report = _earlier(demo.report, digest)
    model = load_model(ModelSource(config=str(demo.config), checkpoint=str(demo.checkpoint)), InputShape())
    data = generate_dataset(DatasetSize(0, size.val, size.test), seed)
    for key, split in (("held_out", "test"), ("same_ranges", "val")):
        with log.stage(f"measure on {len(data['split'][split])} clips of {split}"):
            names = set(data["split"][split])
            chosen = [clip for clip in data["annotations"] if clip["frame_dir"] in names]
            report[key] = evaluate(model, chosen, Path(split)).figures()
    with log.stage(f"measure on {len(GROUPS)} times {_CLIPS_OF_GROUP} clips, one group of parameters held out"):
        report["held_out_alone"] = {group: _alone(model, group, seed) for group in GROUPS}
    if real_clips is not None:
        with log.stage("measure on real clips"):
            report["real"] = evaluate(model, read_annotations(real_clips), real_clips).figures()
    if training is not None:
        report["training"] = dict(training)
    write_report(report, demo.report, demo.readme)
    return markdown(report)


def _alone(model: LoadedModel, group: str, seed: int) -> dict[str, Any]:
    """Figures on clips with one group of scene parameters held out."""
    branch = _FIRST_BRANCH + list(GROUPS).index(group)
    clips = generate_clips(group, _CLIPS_OF_GROUP, (seed, branch), held_out_alone(group))
    return evaluate(model, clips, Path(group)).figures()


def _earlier(path: Path, digest: str) -> dict[str, Any]:
    """The report of the same checkpoint, or an empty one."""
    empty: dict[str, Any] = {"sha256": digest, "held_out": None, "same_ranges": None, "real": None, "training": None}
    if not path.is_file():
        return empty
    earlier: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return earlier if earlier.get("sha256") == digest else empty


def check_digest(checkpoint: Path) -> str:
    """The SHA-256 of the checkpoint, compared with the file beside it.

    Raises:
        CheckpointError: when there is no checkpoint or no digest.
        IntegrityError: when the two differ.
    """
    beside = checkpoint.with_name(checkpoint.name + ".sha256")
    for path in (checkpoint, beside):
        if not path.is_file():
            raise CheckpointError(f"{path.name} does not exist in {path.parent.name}", hint="train the model first")
    expected, found = beside.read_text(encoding="utf-8").split()[0], hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    if expected != found:
        raise IntegrityError(
            f"{checkpoint.name}: expected sha256 {expected} as {beside.name} says, found {found}",
            hint="restore the file, or train again",
        )
    return found
