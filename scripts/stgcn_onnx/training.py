"""Trains the demo model: MMAction2's pipeline and MMEngine's Runner on generated clips.

The Runner runs inside the work folder with relative paths, so that the config text it stores in the checkpoint names
no folder of this machine. Of the Runner's last checkpoint everything stays but the state of the optimiser and of the
schedulers.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stgcn_onnx.console import Log
from stgcn_onnx.errors import CheckpointError
from stgcn_onnx.mmaction import load_mmaction
from stgcn_onnx.scene.generate import DatasetSize, generate_dataset

DATA_FILE = Path("data", "clips.pkl")
RUNNER_LOG = "runner.log"
_PROGRESS_EVERY = 20
_LEFT_OUT = ("optimizer", "param_schedulers")
_MOST_BYTES = 3_000_000


@dataclass(frozen=True)
class Plan:
    """One training run.

    Attributes:
        config: the MMAction2 config.
        work_dir: where data, logs and the Runner's own checkpoints go.
        size: clips of each split.
        seed: of the clips, the initial weights and the order of the clips.
        epochs: of the config when None.
        bfloat16: compute forward and backward in bfloat16 where autocast deems it safe; the weights stay float32.
            Halves the time on processors that have the instructions.
    """

    config: Path
    work_dir: Path
    size: DatasetSize
    seed: int = 0
    epochs: int | None = None
    bfloat16: bool = True


@dataclass(frozen=True)
class Trained:
    """What a run leaves: the Runner's last checkpoint, and how long it took."""

    checkpoint: Path
    epochs: int
    generation_s: float
    training_s: float
    cpu_s: float


def write_data(size: DatasetSize, seed: int, work_dir: Path) -> Path:
    """Generate the clips into the work folder, in MMAction2's annotation format."""
    path = work_dir / DATA_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        pickle.dump(generate_dataset(size, seed), stream, protocol=4)
    return path


def train(plan: Plan, log: Log) -> Trained:
    """Generate the clips and run the Runner over them.

    Raises:
        EnvironmentFault: when MMAction2 is missing.
    """
    load_mmaction()
    from mmengine.runner import Runner

    started = time.perf_counter()
    with log.stage(f"generate {plan.size.train} clips to train on"):
        write_data(plan.size, plan.seed, plan.work_dir)
    generated = time.perf_counter()
    cfg = _runner_config(plan)
    cpu_before = time.process_time()
    with contextlib.chdir(plan.work_dir), Path(RUNNER_LOG).open("w", encoding="utf-8") as stream:
        # The Runner writes to stdout, a thousand lines on initial weights first; stdout is for results.
        with contextlib.redirect_stdout(stream):
            runner = Runner.from_cfg(cfg)
            if plan.bfloat16:
                _compute_in_bfloat16(runner.model.backbone)
            runner.register_hook(progress_hook(log))
            runner.train()
        last = Path(runner.work_dir, f"epoch_{runner.epoch}.pth")
    return Trained(
        checkpoint=plan.work_dir / last,
        epochs=runner.epoch,
        generation_s=generated - started,
        training_s=time.perf_counter() - generated,
        cpu_s=time.process_time() - cpu_before,
    )


def progress_hook(log: Log) -> Any:
    """A hook of the Runner that says how far the training is and what the validation gave."""
    from mmengine.hooks import Hook

    class Progress(Hook):
        def after_train_iter(self, runner: Any, **_unused: object) -> None:
            if self.every_n_train_iters(runner, _PROGRESS_EVERY):
                loss = runner.message_hub.get_scalar("train/loss").mean(_PROGRESS_EVERY)
                step = f"epoch {runner.epoch + 1}, step {runner.iter + 1} of {runner.max_iters}"
                log.line("train", f"{step}, loss {loss:.3f}")

        def after_val_epoch(self, _runner: Any, metrics: Mapping[str, float] | None = None) -> None:
            shown = ", ".join(f"{key.removeprefix('acc/')} {value:.3f}" for key, value in (metrics or {}).items())
            log.line("validate", shown)

    return Progress()


def publish(trained: Path, target: Path) -> str:
    """Write the checkpoint without what only training needs, and its digest beside it.

    Returns:
        The SHA-256 in hexadecimal.

    Raises:
        CheckpointError: when the result would be too large for the repository or names a folder of this machine.
    """
    import torch

    # The Runner wrote this file a moment ago: unpickling it runs nothing foreign.
    content: dict[str, Any] = torch.load(trained, map_location="cpu", weights_only=False)
    kept = {key: value for key, value in content.items() if key not in _LEFT_OUT}
    # CheckpointHook notes the absolute place of the last checkpoint.
    kept["message_hub"]["runtime_info"]["last_ckpt"] = trained.name
    staged = target.with_suffix(".pth.part")
    torch.save(kept, staged)
    try:
        _refuse_local(kept, staged, trained.parent)
    except CheckpointError:
        staged.unlink()
        raise
    staged.replace(target)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    target.with_name(target.name + ".sha256").write_text(f"{digest}  {target.name}\n", encoding="utf-8")
    return digest


def _compute_in_bfloat16(backbone: Any) -> None:
    """Run the backbone under autocast; MMEngine's own AmpOptimWrapper refuses a CPU.

    Its output is float32 again, because the head takes its logits to NumPy, which has no bfloat16.
    """
    import torch

    plain = backbone.forward

    def forward(clip: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            features: torch.Tensor = plain(clip)
        return features.float()

    backbone.forward = forward


def _runner_config(plan: Plan) -> Any:
    from mmengine.config import Config

    cfg = Config.fromfile(str(plan.config))
    cfg.randomness["seed"] = plan.seed
    if plan.epochs is not None:
        cfg.max_epochs = plan.epochs
        cfg.train_cfg["max_epochs"] = plan.epochs
        for scheduler in cfg.param_scheduler:
            if "T_max" in scheduler:
                scheduler["T_max"] = plan.epochs
    return cfg


def _refuse_local(content: Mapping[str, Any], path: Path, folder: Path) -> None:
    size_bytes = path.stat().st_size
    if size_bytes > _MOST_BYTES:
        raise CheckpointError(
            f"checkpoint {path.name}: expected {_MOST_BYTES} bytes at most, found {size_bytes}",
            hint="train a smaller network",
        )
    private = {str(folder.resolve()), str(Path.home()), *_user_names()}
    for place, text in _texts(content, "checkpoint"):
        found = next((word for word in private if len(word) > 1 and word in text), None)
        if found is not None:
            raise CheckpointError(f"{place}: names {found!r} of this machine", hint="keep paths in the config relative")


def _user_names() -> set[str]:
    return {os.environ[name] for name in ("USER", "LOGNAME") if os.environ.get(name, "") not in ("", "root")}


def _texts(value: object, place: str) -> Iterator[tuple[str, str]]:
    """Every text in nested containers, with the place it stands at."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield place, str(key)
            yield from _texts(item, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, f"{place}[{index}]")
