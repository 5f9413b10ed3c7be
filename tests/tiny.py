"""A recogniser small enough to be converted in a second, and the real commands run on it.

ST-GCN++ with three stages of eight channels, COCO-17, two people, twenty frames; random weights and statistics, so
that a file which forgets one of them shows. Everything is written into the test's own folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from deploy_models import randomise
from torch import Tensor

from stgcn_onnx.config import load_config
from stgcn_onnx.console import Log
from stgcn_onnx.model import LoadedModel, build_network, load_model
from stgcn_onnx.preset_file import Override, ResolvedPreset, load_preset

ROOT = Path(__file__).resolve().parent.parent
CONFIG = """\
default_scope = 'mmaction'
model = dict(
    type='RecognizerGCN',
    backbone=dict(
        type='STGCN',
        gcn_adaptive='init',
        gcn_with_res=True,
        tcn_type='mstcn',
        graph_cfg=dict(layout='coco', mode='spatial'),
        num_stages=3,
        base_channels=8,
        inflate_stages=[2],
        down_stages=[3]),
    cls_head=dict(type='GCNHead', num_classes=2, in_channels=16))
test_pipeline = [
    dict(type='PreNormalize2D'),
    dict(type='GenSkeFeat', dataset='coco', feats=['b']),
    dict(type='UniformSampleFrames', clip_len=20, num_clips=1, test_mode=True),
    dict(type='PoseDecode'),
    dict(type='FormatGCNInput', num_person=2),
    dict(type='PackActionInputs')]
"""
FRAMES = 20
PERSON = 2
CHANNELS = 3
PRESET = {
    "description": "tiny",
    "model": {"config": "tiny.py", "checkpoint": "tiny.pth"},
    "input": {"batch_size": 1, "num_frames": FRAMES},
    "axes": {"batch_size": {"min": 1, "max": 3}, "num_frames": {"min": 8, "max": 32}},
    "output": "out/tiny.onnx",
}
HIDDEN_OR_PARTIAL = (".build-", ".lock", ".part", ".tmp")


@dataclass(frozen=True)
class Tiny:
    """Paths of a tiny model: config, checkpoint and preset, and the output folder, which does not exist yet."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "tiny.py"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "tiny.pth"

    @property
    def preset(self) -> Path:
        return self.folder / "tiny.yaml"

    @property
    def output(self) -> Path:
        return self.folder / "out" / "tiny.onnx"

    def resolve(self, overrides: Mapping[str, object] | None = None) -> ResolvedPreset:
        chosen = [Override(key, value, "test") for key, value in (overrides or {}).items()]
        return load_preset(str(self.preset), chosen)

    def load(self, overrides: Mapping[str, object] | None = None) -> LoadedModel:
        preset = self.resolve(overrides).preset
        return load_model(preset.model, preset.input)


def write_tiny(folder: Path, *, weights: Mapping[str, Tensor] | None = None) -> Tiny:
    """Write config, checkpoint and preset of the tiny model into `folder`."""
    tiny = Tiny(folder)
    tiny.config.write_text(CONFIG, encoding="utf-8")
    tiny.preset.write_text(yaml.safe_dump(PRESET), encoding="utf-8")
    if weights is None:
        weights = randomise(build_network(load_config(tiny.config))).state_dict()
    torch.save({"meta": {"epoch": 1, "dataset_meta": {}}, "state_dict": dict(weights)}, tiny.checkpoint)
    return tiny


def quiet() -> Log:
    return Log()


def left_behind(folder: Path) -> list[str]:
    """What a failed build must not leave: ONNX files, and anything hidden or partial."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir()]
    return [n for n in names if n.endswith(".onnx") or n.startswith(".") or any(m in n for m in HIDDEN_OR_PARTIAL)]


@dataclass(frozen=True)
class Outcome:
    """What a command gave back."""

    code: int
    stdout: str
    stderr: str

    @property
    def last_line(self) -> str:
        return (self.stderr.rstrip().splitlines() or [""])[-1]

    def expect_error(self, code: int, *fragments: str, nothing_in: Path | None = None) -> None:
        """Check the exit code, the last line on stderr, that no traceback came, and that no artefact appeared."""
        assert self.code == code, self.stderr
        assert self.last_line.startswith("error: "), self.stderr
        assert ";" in self.last_line, "the next step is missing"
        for fragment in fragments:
            assert fragment in self.last_line
        assert "Traceback" not in self.stderr
        assert self.stdout == ""
        if nothing_in is not None:
            assert left_behind(nothing_in) == []


def environment(**extra: str) -> dict[str, str]:
    """As bare an environment as the commands can run in."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
    return {**kept, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", **extra}


def start_script(name: str, *arguments: object, cwd: Path = ROOT, **options: Any) -> subprocess.Popen[str]:
    """Start `scripts/NAME` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / name), *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def finish(process: subprocess.Popen[str], timeout_s: float = 240) -> Outcome:
    """Wait for a started script; one that hangs is killed with its group, and the test fails."""
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return Outcome(process.returncode, stdout, stderr)


def run_script(
    name: str, *arguments: object, cwd: Path = ROOT, preexec_fn: Callable[[], None] | None = None
) -> Outcome:
    """Run `scripts/NAME` as a user would, to its end."""
    return finish(start_script(name, *arguments, cwd=cwd, preexec_fn=preexec_fn))
