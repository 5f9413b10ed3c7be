"""Dependency files, as make reads them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from stgcn_onnx.depfile import write_depfile
from stgcn_onnx.errors import UsageError


def test_every_prerequisite_has_an_empty_rule_and_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "m.d"
    write_depfile(path, "m.onnx", [Path("a.py"), Path("b.yaml"), Path("a.py")])
    assert path.read_text() == "m.onnx: a.py b.yaml\n\na.py:\n\nb.yaml:\n"
    assert [item.name for item in path.parent.iterdir()] == ["m.d"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("name", ["plain.py", "with blank.py", "with$dollar.py", "with#hash.py"])
def test_make_rebuilds_when_a_prerequisite_is_newer_or_gone(tmp_path: Path, name: str) -> None:
    def builds() -> bool:
        return (
            "built" in subprocess.run(["make", "-s"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        )

    (tmp_path / "Makefile").write_text("m.onnx:\n\t@echo built; touch $@\ninclude m.d\n")
    (tmp_path / name).touch()
    write_depfile(tmp_path / "m.d", "m.onnx", [Path(name)])
    assert builds()
    assert not builds()
    newer = (tmp_path / "m.onnx").stat().st_mtime + 10
    os.utime(tmp_path / name, (newer, newer))
    assert builds()
    (tmp_path / name).unlink()
    assert builds()


def test_a_place_that_cannot_be_written_to_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"dependency file .*m\.d cannot be written: "):
        write_depfile(tmp_path / "file" / "m.d", "m.onnx", [])
