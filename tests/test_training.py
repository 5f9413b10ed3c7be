"""Training the demo model: what is kept of the Runner's checkpoint, and the command from end to end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stgcn_onnx.checkpoint import read_checkpoint
from stgcn_onnx.demo import NAME
from stgcn_onnx.errors import CheckpointError
from stgcn_onnx.scene.generate import DatasetSize
from stgcn_onnx.training import publish, write_data
from stgcn_onnx.training_report import BEGIN, END

ROOT = Path(__file__).resolve().parent.parent


def runner_file(path: Path, **extra: object) -> Path:
    content = {
        "meta": {"epoch": 1, "cfg": "work_dir = 'work'"},
        "state_dict": {"weight": torch.ones(3)},
        "message_hub": {"runtime_info": {"last_ckpt": str(path), "epoch": 0}},
        "optimizer": {"state": {}},
        "param_schedulers": [{}],
        **extra,
    }
    torch.save(content, path)
    return path


def test_published_checkpoint_lacks_only_what_training_needs(tmp_path: Path) -> None:
    target = tmp_path / "out.pth"
    digest = publish(runner_file(tmp_path / "epoch_1.pth"), target)
    content = torch.load(target, weights_only=True)
    assert set(content) == {"meta", "state_dict", "message_hub"}
    assert content["message_hub"]["runtime_info"]["last_ckpt"] == "epoch_1.pth"
    assert (tmp_path / "out.pth.sha256").read_text() == f"{digest}  out.pth\n"
    assert str(tmp_path).encode() not in target.read_bytes()


def test_a_checkpoint_that_names_a_folder_of_this_machine_is_refused(tmp_path: Path) -> None:
    trained = runner_file(tmp_path / "epoch_1.pth", meta={"cfg": f"ann_file = '{tmp_path}/clips.pkl'"})
    with pytest.raises(CheckpointError, match=r"checkpoint\.meta\.cfg: names"):
        publish(trained, tmp_path / "out.pth")
    assert not list(tmp_path.glob("out.pth*"))


def test_a_checkpoint_too_large_for_the_repository_is_refused(tmp_path: Path) -> None:
    trained = runner_file(tmp_path / "epoch_1.pth", state_dict={"weight": torch.ones(1_000_000)})
    with pytest.raises(CheckpointError, match="expected 3000000 bytes at most"):
        publish(trained, tmp_path / "out.pth")
    assert not list(tmp_path.glob("out.pth*"))


def test_the_same_seed_writes_the_same_data(tmp_path: Path) -> None:
    first = write_data(DatasetSize(3, 2, 2), 4, tmp_path / "a").read_bytes()
    assert first == write_data(DatasetSize(3, 2, 2), 4, tmp_path / "b").read_bytes()
    assert first != write_data(DatasetSize(3, 2, 2), 5, tmp_path / "c").read_bytes()


def run_command(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "train_demo.py"), "--output", str(folder)]
    command += ["--readme", str(folder / "README.md"), "--work-dir", str(folder / "work"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_command_trains_measures_and_writes_everything(tmp_path: Path) -> None:
    shutil.copy(ROOT / "checkpoints" / "demo" / f"{NAME}.py", tmp_path)
    (tmp_path / "README.md").write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    sizes = ("--train-clips", "32", "--val-clips", "14", "--test-clips", "28")
    done = run_command(tmp_path, "--epochs", "1", "--seed", "3", *sizes)
    assert done.returncode == 0, done.stderr
    assert "step 2 of 2" in done.stderr or "validate" in done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["held_out"]["clips"] == 28
    assert report["training"]["epochs"] == 1
    checkpoint = read_checkpoint(tmp_path / f"{NAME}.pth", expected_sha256=report["sha256"])
    assert checkpoint.meta["epoch"] == 1
    assert str(tmp_path).encode() not in (tmp_path / f"{NAME}.pth").read_bytes()
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("before\n")
    assert readme.endswith("after\n")
    assert f"{report['held_out']['accuracy']:.1%}" in readme
    assert readme.split(BEGIN)[1].split(END)[0].strip() == done.stdout.strip()

    again = run_command(tmp_path, "--evaluate-only", "--seed", "3", *sizes)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "report.json").read_text()) == report


def test_evaluating_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    shutil.copy(ROOT / "checkpoints" / "demo" / f"{NAME}.py", tmp_path)
    done = run_command(tmp_path, "--evaluate-only")
    assert done.returncode == CheckpointError.code
    assert f"{NAME}.pth does not exist" in done.stderr.splitlines()[-1]
