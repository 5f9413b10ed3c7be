"""What a container sees of this machine: which files a command needs, and where they are put."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from tiny import Tiny

from container.inputs import Needs, needs
from container.mounts import Identity, Mount, plan, working_folder
from stgcn_onnx.errors import UsageError

ME = Identity.of_the_caller()


def named(mounts: tuple[Mount, ...]) -> dict[Path, bool]:
    return {mount.target: mount.writable for mount in mounts}


def test_everything_that_a_preset_names_is_needed(tiny: Tiny, tmp_path: Path) -> None:
    base = tmp_path / "base.py"
    tiny.config.rename(base)
    tiny.config.write_text("_base_ = './base.py'\n")
    clips, calibration = tmp_path / "clips.pkl", tmp_path / "calibration.pkl"
    clips.touch()
    calibration.touch()
    values = ["--set", f"verify.data={clips}", "--set", f"calibration.data={calibration}"]
    found = needs("convert.py", ["--preset", str(tiny.preset), *values])
    assert {tiny.preset, tiny.config, base, tiny.checkpoint, clips, calibration} <= set(found.reads)
    assert found.output is not None
    assert found.writes == (found.output,)
    assert found.output.suffix == ".onnx"
    assert not found.gpu


def test_options_win_over_the_preset_and_relative_paths_mean_the_current_folder(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.pth").touch()
    arguments = ["--preset", str(tiny.preset), "--checkpoint", "other.pth", "--output", "below/x.onnx"]
    found = needs("convert.py", [*arguments, "--depfile", "x.d", "--device", "cuda:0"])
    assert tmp_path / "other.pth" in found.reads
    assert tiny.checkpoint not in found.reads
    assert found.writes == (tmp_path / "below" / "x.onnx", tmp_path / "x.d")
    assert found.output == tmp_path / "below" / "x.onnx"
    assert found.gpu


def test_a_command_without_a_preset_needs_the_files_it_names(tmp_path: Path) -> None:
    model = tmp_path / "x.onnx"
    model.touch()
    found = needs("verify.py", ["--model", str(model), "--data", "/no/such.pkl", "--json", str(tmp_path / "r.json")])
    assert (found.reads, found.writes, found.output) == ((model,), (tmp_path / "r.json",), None)


def test_a_missing_file_is_left_to_the_converter_and_a_wrong_preset_is_refused_at_once(tiny: Tiny) -> None:
    tiny.checkpoint.unlink()
    assert tiny.checkpoint not in needs("convert.py", ["--preset", str(tiny.preset)]).reads
    assert needs("convert.py", ["--model", "x" * 5000]).reads == ()
    with pytest.raises(UsageError, match="did you mean 'realtime'"):
        needs("convert.py", ["--preset", "realtme"])


def test_the_repository_is_read_only_and_the_output_folder_is_made_and_writable(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    checkpoint = tmp_path / "weights.pth"
    checkpoint.touch()
    inside = tmp_path / "repo" / "config.py"
    inside.touch()
    output = tmp_path / "out" / "deep" / "x.onnx"
    mounts = plan(tmp_path / "repo", Needs((checkpoint, inside), (output,)), ME)
    assert named(mounts) == {tmp_path / "repo": False, output.parent: True, checkpoint: False}
    assert output.parent.is_dir()


def test_an_output_in_the_repository_itself_makes_it_writable(tmp_path: Path) -> None:
    assert named(plan(tmp_path, Needs((), (tmp_path / "x.onnx",)), ME)) == {tmp_path: True}


def test_links_lead_to_the_same_files_as_here(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / "weights.pth"
    real.touch()
    (tmp_path / "repo" / "inside.pth").symlink_to(real)
    (tmp_path / "outside.pth").symlink_to(real)
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    found = plan(tmp_path / "repo", Needs((tmp_path / "repo" / "inside.pth", tmp_path / "outside.pth"), ()), ME)
    assert Mount(real, real) in found
    assert Mount(real, tmp_path / "outside.pth") in found
    found = plan(tmp_path / "repo", Needs((), (tmp_path / "out" / "x.onnx",)), ME)
    assert Mount(tmp_path / "elsewhere", tmp_path / "out", writable=True) in found


@pytest.mark.parametrize("name", ["it's, odd.pth", 'quo"ted.pth', "co:lon.pth", "a=b.pth"])
def test_any_name_survives_the_engines_option(name: str) -> None:
    fields = next(csv.reader([Mount(Path("/a") / name, Path("/b") / name).argument()]))
    assert fields == ["type=bind", f"source=/a/{name}", f"target=/b/{name}", "ro"]


@pytest.mark.parametrize("place", ["/proc/version", "/dev/null", "/sys/x.pth"])
def test_a_checkpoint_that_cannot_be_mounted_is_refused(tmp_path: Path, place: str) -> None:
    message = rf"file {place} lies in /{place.split('/')[1]}, which a container has for itself; move it"
    with pytest.raises(UsageError, match=message):
        plan(tmp_path, Needs((Path(place),), ()), ME)


@pytest.mark.parametrize(
    ("folder", "word"),
    [("/usr/models", "lies in /usr"), ("/etc", "lies in /etc"), ("/opt", "is above /opt/stgcn-onnx")],
)
def test_an_output_folder_must_not_hide_the_image(tmp_path: Path, folder: str, word: str) -> None:
    with pytest.raises(UsageError, match=rf"output folder {folder} {word}, which a container has for itself"):
        plan(tmp_path, Needs((), (Path(folder) / "x.onnx",)), ME)
    assert not Path("/usr/models").exists()


def test_an_output_folder_of_somebody_else_is_refused_for_root_as_well(tmp_path: Path) -> None:
    somebody = Identity(uid=ME.uid + 1, gid=ME.gid + 1)
    tmp_path.chmod(0o755)
    with pytest.raises(
        UsageError, match=rf"belongs to uid {ME.uid}, gid .* is not writable for uid {somebody.uid}.*; "
    ):
        plan(Path(__file__).parent, Needs((), (tmp_path / "x.onnx",)), somebody)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "identity", "expected"),
    [
        (0o700, ME, True),
        (0o500, ME, False),
        (0o077, ME, False),
        (0o070, Identity(ME.uid + 1, -1), True),
        (0o707, Identity(ME.uid + 1, -1), False),
        (0o003, Identity(ME.uid + 1, -2), True),
        (0o002, Identity(ME.uid + 1, -2), False),
    ],
)
def test_without_capabilities_mode_bits_decide(tmp_path: Path, mode: int, identity: Identity, expected: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    group = folder.stat().st_gid if identity.gid == -1 else folder.stat().st_gid + 1
    assert Identity(identity.uid, group if identity != ME else ME.gid).may_write(folder) is expected
    folder.chmod(0o700)


def test_the_working_folder_is_the_callers(tmp_path: Path) -> None:
    mount = Mount(tmp_path, tmp_path)
    assert working_folder([mount], tmp_path / "below") == (f"--workdir={tmp_path / 'below'}",)
    assert working_folder([], tmp_path) == (f"--tmpfs={tmp_path}:mode=1777", f"--workdir={tmp_path}")
    assert working_folder([], Path("/")) == ("--workdir=/",)
    with pytest.raises(UsageError, match="current folder /usr/share lies in /usr"):
        working_folder([], Path("/usr/share"))
    assert os.getuid() == ME.uid
