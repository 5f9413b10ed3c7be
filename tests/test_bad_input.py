"""Every kind of bad input through the real command: the exit code, the last line, and that no file appeared."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml
from test_checkpoint import CALLS
from tiny import CONFIG, Outcome, Tiny, finish, left_behind, run_script, start_script

from stgcn_onnx.config import load_config
from stgcn_onnx.model import build_network


def convert(tiny: Tiny, *options: object) -> Outcome:
    return run_script("convert.py", "--preset", tiny.preset, *options)


def edit_preset(tiny: Tiny, **sections: object) -> None:
    tiny.preset.write_text(yaml.safe_dump({**yaml.safe_load(tiny.preset.read_text()), **sections}))


def test_a_missing_config(tiny: Tiny) -> None:
    outcome = convert(tiny, "--config", tiny.folder / "none.py")
    outcome.expect_error(2, "none.py does not exist", "--config", nothing_in=tiny.output.parent)


def test_a_missing_base_of_the_config(tiny: Tiny) -> None:
    tiny.config.write_text("_base_ = 'gone.py'\n")
    convert(tiny).expect_error(2, "tiny.py: its _base_", "gone.py' does not exist", nothing_in=tiny.output.parent)


def test_a_missing_checkpoint(tiny: Tiny) -> None:
    outcome = convert(tiny, "--checkpoint", tiny.folder / "none.pth")
    outcome.expect_error(4, "none.pth does not exist", "--checkpoint", nothing_in=tiny.output.parent)


def test_a_truncated_checkpoint(tiny: Tiny) -> None:
    content = tiny.checkpoint.read_bytes()
    tiny.checkpoint.write_bytes(content[: len(content) // 2])
    outcome = convert(tiny)
    outcome.expect_error(4, "tiny.pth", "is truncated or not a PyTorch file", nothing_in=tiny.output.parent)


def test_a_malicious_checkpoint_runs_nothing_unless_it_is_trusted(tiny: Tiny) -> None:
    sentinel = tiny.folder / "sentinel"
    content = torch.load(tiny.checkpoint, weights_only=True)
    torch.save({**content, "evil": CALLS["os.system"](str(sentinel))}, tiny.checkpoint)
    outcome = convert(tiny)
    outcome.expect_error(4, "holds more than weights", "nothing in it was run", nothing_in=tiny.output.parent)
    assert not sentinel.exists()
    assert convert(tiny, "--trust-checkpoint").code == 0
    assert sentinel.exists()


def test_a_malicious_config_runs_nothing(tiny: Tiny) -> None:
    sentinel = tiny.folder / "sentinel"
    code = f"open({str(sentinel)!r}, 'w')"
    tiny.config.write_text(f"{CONFIG}\nx = max([{code!r}], key=eval)\n")
    convert(tiny).expect_error(2, "found the call", "--trust-config", nothing_in=tiny.output.parent)
    assert not sentinel.exists()


def test_a_checkpoint_of_another_architecture(tiny: Tiny) -> None:
    tiny.config.write_text(CONFIG.replace("base_channels=8", "base_channels=16"))
    outcome = convert(tiny)
    outcome.expect_error(4, "does not fit the model", "mis-shaped: ", "expected (", nothing_in=tiny.output.parent)


def test_a_checkpoint_of_another_digest(tiny: Tiny) -> None:
    outcome = convert(tiny, "--set", f"model.sha256={'f' * 64}")
    outcome.expect_error(4, "sha256 is ", "the preset expects ffff", nothing_in=tiny.output.parent)


def test_an_unknown_preset() -> None:
    run_script("convert.py", "--preset", "realtme").expect_error(2, "'realtme' is unknown", "mean 'realtime'?")


def test_an_unknown_key(tiny: Tiny) -> None:
    convert(tiny, "--set", "exprot.opset=13").expect_error(2, "exprot", "is not a key", "did you mean 'export'?")
    edit_preset(tiny, export={"opest": 13})
    outcome = convert(tiny)
    outcome.expect_error(2, "tiny.yaml:", "export.opest is not a key; did you mean 'opset'?")
    assert not tiny.output.parent.exists()


def test_a_value_of_another_type(tiny: Tiny) -> None:
    edit_preset(tiny, input={"num_frames": "many"})
    convert(tiny).expect_error(2, "tiny.yaml:", "input.num_frames: expected a whole number, found 'many'")
    assert not tiny.output.parent.exists()


@pytest.mark.slow
def test_an_unknown_rewrite(tiny: Tiny) -> None:
    outcome = convert(tiny, "--set", "export.deploy=[einsum_fre]")
    outcome.expect_error(2, "'einsum_fre' is not a rewrite", "'einsum_free'", nothing_in=tiny.output.parent)


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (["--opst", "13"], ["--opst is not an option", "did you mean --opset?"]),
        (["--opset", "high"], ["argument --opset: invalid int value: 'high'", "--help"]),
        (["--set", "opset"], ["--set 'opset': expected key.path=value"]),
        (["stray"], ["stray is not an option"]),
    ],
)
def test_an_option_that_is_wrong(options: list[str], fragments: list[str]) -> None:
    run_script("convert.py", *options).expect_error(2, *fragments)


@pytest.mark.parametrize("frames", [0, -5])
def test_frames_below_what_the_network_can_take(tiny: Tiny, frames: int) -> None:
    outcome = convert(tiny, f"--num-frames={frames}")
    outcome.expect_error(2, f"input.num_frames: Input should be greater than or equal to 1, found {frames}")
    assert not tiny.output.parent.exists()


@pytest.mark.slow
def test_frames_that_only_the_network_knows_to_be_too_few(tiny: Tiny) -> None:
    """One stage with a pooling branch four frames wide."""
    text = CONFIG.replace("tcn_type='mstcn',", "tcn_type='mstcn', tcn_ms_cfg=[[('max', 4)]],")
    text = text.replace("num_stages=3", "num_stages=1").replace("in_channels=16", "in_channels=8")
    tiny.config.write_text(text.replace("[2]", "[]").replace("[3]", "[]"))
    torch.save(build_network(load_config(tiny.config)).state_dict(), tiny.checkpoint)
    outcome = convert(tiny, "--num-frames", 1)
    outcome.expect_error(2, "the network cannot take [1, 2, 1, 17, 3]", nothing_in=tiny.output.parent)


def test_a_dynamic_range_that_ends_before_it_begins(tiny: Tiny) -> None:
    edit_preset(tiny, axes={"num_frames": {"dynamic": True, "min": 30, "max": 10}})
    convert(tiny).expect_error(2, "tiny.yaml:", "axes.num_frames: min 30 is greater than max 10")
    assert not tiny.output.parent.exists()


def test_a_traced_size_outside_the_dynamic_range(tiny: Tiny) -> None:
    convert(tiny, "--dynamic-frames", "--num-frames", 99).expect_error(
        2, "input.num_frames is 99, outside axes.num_frames 8 to 32"
    )


@pytest.mark.parametrize(
    ("options", "fragments"),
    [
        (["--opset", "10"], ["--opset: export.opset: ", "found 10"]),
        (["--opset", "99"], ["export.opset is 99", "take 11 to "]),
        (["--opset", "17", "--exporter", "dynamo"], ["export.opset is 17", "take 18 to ", "torchscript"]),
    ],
)
def test_an_opset_out_of_range(tiny: Tiny, options: list[str], fragments: list[str]) -> None:
    convert(tiny, *options).expect_error(2, *fragments, nothing_in=tiny.output.parent)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_where_there_is_none_is_never_replaced_by_the_cpu(tiny: Tiny) -> None:
    outcome = convert(tiny, "--device", "cuda:0")
    outcome.expect_error(3, "device cuda:0", "--device cpu", nothing_in=tiny.output.parent)


def test_an_output_folder_that_cannot_be_written_to(tiny: Tiny) -> None:
    (tiny.folder / "file").touch()
    outcome = convert(tiny, "--output", tiny.folder / "file" / "m.onnx")
    outcome.expect_error(2, "output folder", "cannot be made", "--output", nothing_in=tiny.folder)
    convert(tiny, "--output", "/proc/m.onnx").expect_error(2, "output folder /proc is not writable", "--output")


@pytest.mark.skipif(os.geteuid() == 0, reason="the permissions of a folder do not bind root")
def test_an_output_folder_without_permission(tiny: Tiny) -> None:
    tiny.output.parent.mkdir(mode=0o555)
    convert(tiny).expect_error(2, "is not writable", nothing_in=tiny.output.parent)


def test_an_output_of_another_kind(tiny: Tiny) -> None:
    convert(tiny, "--output", tiny.folder / "m.txt").expect_error(2, "--output: output: expected a name that ends in")
    tiny.output.mkdir(parents=True)
    convert(tiny).expect_error(2, "is a folder", "a file name that ends in .onnx")


def test_a_full_disk(tiny: Tiny) -> None:
    """A limit on the size of files stands for it: the system refuses to write on, as it does when the disk is full."""
    tiny.output.parent.mkdir()
    tiny.output.write_bytes(b"old")

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    outcome = run_script("convert.py", "--preset", tiny.preset, preexec_fn=small_files)
    outcome.expect_error(3, "the disk is full", "nothing was written", "make room")
    assert [path.name for path in tiny.output.parent.iterdir()] == ["tiny.onnx"]
    assert tiny.output.read_bytes() == b"old"


@pytest.mark.slow
def test_clips_that_would_run_code(tiny: Tiny) -> None:
    sentinel, clips = tiny.folder / "sentinel", tiny.folder / "clips.pkl"
    clips.write_bytes(pickle.dumps([CALLS["mkdir"](str(sentinel))]))
    outcome = convert(tiny, "--data", clips)
    outcome.expect_error(2, "clips.pkl: holds more than plain", nothing_in=tiny.output.parent)
    assert not sentinel.exists()


def many_comparisons(tiny: Tiny) -> None:
    """Make verification take long enough to be interrupted."""
    edit_preset(tiny, axes={"batch_size": {"dynamic": True, "min": 1, "max": 600}, "num_frames": {"dynamic": False}})


def wait_for_stage(tiny: Tiny) -> None:
    """Until the ONNX file lies in the staging folder: from then on it is being verified."""
    deadline = time.monotonic() + 120
    while not list(tiny.output.parent.glob(".tiny.onnx.build-*/tiny.onnx")):
        assert time.monotonic() < deadline, "the build never came to verifying"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupt_in_the_middle_leaves_the_last_good_file_and_nothing_else(
    tiny: Tiny, number: signal.Signals
) -> None:
    many_comparisons(tiny)
    tiny.output.parent.mkdir()
    tiny.output.write_bytes(b"old")
    process = start_script("convert.py", "--preset", tiny.preset)
    wait_for_stage(tiny)
    os.killpg(process.pid, number)
    outcome = finish(process, timeout_s=60)
    outcome.expect_error(130, "interrupted", "run the command again")
    assert [path.name for path in tiny.output.parent.iterdir()] == ["tiny.onnx"]
    assert tiny.output.read_bytes() == b"old"


@pytest.mark.slow
def test_two_builds_of_the_same_output_at_once(tiny: Tiny) -> None:
    many_comparisons(tiny)
    first = start_script("convert.py", "--preset", tiny.preset)
    wait_for_stage(tiny)
    second = convert(tiny)
    assert first.poll() is None, "the first was too quick to tell"
    second.expect_error(3, "is being built by another process", f"process {first.pid}", "wait for it")
    os.killpg(first.pid, signal.SIGINT)
    assert finish(first, timeout_s=60).code == 130
    assert left_behind(tiny.output.parent) == []


@pytest.mark.slow
def test_after_a_killed_build_the_next_one_succeeds_and_tidies_up(tiny: Tiny) -> None:
    many_comparisons(tiny)
    process = start_script("convert.py", "--preset", tiny.preset)
    wait_for_stage(tiny)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert left_behind(tiny.output.parent)
    outcome = convert(tiny, "--no-dynamic")
    assert outcome.code == 0, outcome.stderr
    assert sorted(path.name for path in tiny.output.parent.iterdir()) == ["tiny.onnx", "tiny.verify.json"]
    assert outcome.stdout == f"{tiny.output}\n"


@pytest.mark.slow
def test_verbose_shows_the_traceback_of_an_expected_error(tiny: Tiny) -> None:
    outcome = convert(tiny, "-v", "--checkpoint", tiny.folder / "none.pth")
    assert outcome.code == 4
    assert "Traceback" in outcome.stderr
    assert outcome.last_line.startswith("error: checkpoint ")


def test_a_wrong_file_through_the_whole_command(tiny: Tiny) -> None:
    """A tolerance of nothing stands for a wrong file: float32 never computes exactly the same twice over."""
    outcome = convert(tiny, "--rtol", "0", "--atol", "0")
    outcome.expect_error(
        6, "logits differ from PyTorch by", "first module that diverges: ", nothing_in=tiny.output.parent
    )
    left = sorted(path.name for path in Path(tiny.output.parent).iterdir())
    assert left == ["tiny.verify.failed.json", "tiny.verify.failed.npz"]
