"""The doctor's judgement of made-up machines, and one look at the real one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, only_path

from container.image import reference
from stgcn_onnx import doctor, probe
from stgcn_onnx.doctor import FAIL, NOTE, OK, WARN

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"


def locked(variant: str) -> dict[str, str]:
    return doctor.read_lock(REQUIREMENTS / f"{variant}.lock") | doctor.read_lock(REQUIREMENTS / "openmmlab.lock")


def statuses(findings: Any) -> list[tuple[str, str]]:
    return [(finding.subject, finding.status) for finding in findings]


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_what_the_lock_says_is_fine(variant: str) -> None:
    assert statuses(doctor.check_packages(locked(variant), REQUIREMENTS)) == [(f"packages ({variant})", OK)]


def test_missing_and_other_versions_are_named() -> None:
    installed = locked("cpu") | {"numpy": "1.0"}
    del installed["mmaction2"]
    missing, other = doctor.check_packages(installed, REQUIREMENTS)
    assert (missing.status, other.status) == (FAIL, WARN)
    assert "mmaction2" in missing.found
    assert "numpy 1.0 instead of 2" in other.found
    assert missing.hint == "run `make setup`"


def test_two_onnxruntimes_at_once_are_refused() -> None:
    both = locked("cpu") | locked("gpu")
    assert ("onnxruntime", FAIL) in statuses(doctor.check_packages(both, REQUIREMENTS))


@pytest.mark.parametrize(
    ("version", "status", "text"),
    [
        (None, NOTE, "not installed; needed only for export.runtime openvino"),
        ("1.0", WARN, "1.0 instead of 2"),
        (doctor.read_lock(REQUIREMENTS / "openvino.lock")["openvino"], OK, "20"),
    ],
)
def test_openvino_is_needed_for_its_own_files_alone(version: str | None, status: str, text: str) -> None:
    finding = doctor.check_openvino({} if version is None else {"openvino": version}, REQUIREMENTS)
    assert (finding.subject, finding.status) == ("OpenVINO", status)
    assert text in finding.found
    assert ("requirements/openvino.lock" in finding.hint) == (status != OK)


def test_another_python_fails_with_the_next_step() -> None:
    assert doctor.check_python((3, 11, 2)).status == OK
    finding = doctor.check_python((3, 12, 1))
    assert finding.status == FAIL
    assert "make setup PYTHON=" in finding.hint


def providers(**works: bool) -> dict[str, Any]:
    names = {name: {"works": value, "problem": "" if value else "cuDNN is missing"} for name, value in works.items()}
    return {"version": "1.0", "providers": names}


@pytest.mark.parametrize(
    ("probed", "driver", "expected"),
    [
        (providers(CPUExecutionProvider=True), False, [OK]),
        (providers(CPUExecutionProvider=True), True, [OK, WARN]),
        (providers(CPUExecutionProvider=False), False, [FAIL]),
        (providers(CUDAExecutionProvider=False, CPUExecutionProvider=True), True, [WARN, OK]),
        (providers(CUDAExecutionProvider=False, CPUExecutionProvider=True), False, [NOTE, OK]),
        (providers(TensorrtExecutionProvider=False, CUDAExecutionProvider=True), True, [NOTE, OK]),
        ({"error": "onnxruntime is not installed"}, False, [FAIL]),
    ],
)
def test_providers_are_judged_by_what_ran(probed: dict[str, Any], driver: bool, expected: list[str]) -> None:
    assert [finding.status for finding in doctor.check_providers(probed, driver=driver)] == expected


def test_a_provider_whose_node_ran_elsewhere_does_not_work() -> None:
    class Session:
        """onnxruntime's silent way back to the CPU."""

        def __init__(self, options: Any) -> None:
            self.path = Path(options.profile_file_prefix)

        def run(self, *_arguments: Any) -> None:
            self.path.write_text(json.dumps([{"args": {"provider": "CPUExecutionProvider"}}, {"ph": "X"}]))

        def end_profiling(self) -> str:
            return str(self.path)

    class Runtime:
        @staticmethod
        def SessionOptions() -> Any:
            return type("Options", (), {})()

        @staticmethod
        def InferenceSession(_model: bytes, options: Any, providers: list[str]) -> Session:
            assert providers == ["CUDAExecutionProvider"]
            return Session(options)

    result = probe._try_provider(Runtime, "CUDAExecutionProvider")
    assert result == {"works": False, "problem": "the node ran on CPUExecutionProvider"}


def test_the_cpu_provider_really_runs() -> None:
    assert probe.probe_providers()["providers"]["CPUExecutionProvider"] == {"works": True, "problem": ""}


@pytest.mark.parametrize(
    ("probe_does", "gpu", "status", "text"),
    [
        ("echo cannot connect >&2; exit 1", False, NOTE, "the client is installed, but no container runs: cannot conn"),
        ("exit 0", False, OK, "a container ran; images of these lock files: cpu"),
        ("exit 0", True, OK, "a container ran; images of these lock files: cpu"),
        (
            'case "$*" in *gpu=all*) echo no CDI nvidia.com/gpu >&2; exit 126;; esac',
            True,
            WARN,
            "none gets the GPU: no",
        ),
    ],
)
def test_an_engine_is_judged_by_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probe_does: str, gpu: bool, status: str, text: str
) -> None:
    only_path(monkeypatch, tmp_path)
    fake = FakeEngine(tmp_path, "podman")
    fake.has(reference(ROOT, "cpu"))
    fake.on("probe", probe_does)
    finding = doctor.check_engine(ROOT, "podman", gpu=gpu)
    assert (finding.status, text in finding.found) == (status, True)
    assert (finding.hint == "") == (status == OK)
    assert "nvidia-ctk cdi generate" in finding.hint or status != WARN


def test_an_engine_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.check_engine(ROOT, "podman", gpu=False).found.startswith("not installed")


def test_a_probe_that_dies_is_reported(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "doctor.py"
    script.write_text("import os; os.abort()")
    assert "ended with code -6" in doctor.run_probe(tmp_path, "torch")["error"]
    script.write_text('import sys; sys.exit("no such library")')
    assert "code 1: no such library" in doctor.run_probe(tmp_path, "torch")["error"]


def test_a_full_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_disk(tmp_path).status == OK
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 2**62)
    assert doctor.check_disk(tmp_path).status == FAIL


def test_without_packages_it_still_runs_and_says_what_to_do(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    done = subprocess.run(
        [tmp_path / "bare" / "bin" / "python", ROOT / "scripts" / "doctor.py"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert "packages (cpu)" in last
    assert last.endswith("run `make setup`")


@pytest.mark.slow
def test_this_machine_can_convert() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "doctor.py"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 0, done.stderr
    for subject in ("Python", "PyTorch", "MMAction2", "CPUExecutionProvider"):
        assert findings[subject]["status"] == OK
