"""Where results are written, and the section of a README."""

from __future__ import annotations

from pathlib import Path

import pytest

from stgcn_onnx.bench.files import BEGIN, END, require_section, require_writable, update_section, write_text
from stgcn_onnx.errors import UsageError


def test_only_the_section_changes(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nThe end.\n", encoding="utf-8")
    update_section(readme, "| new |\n")
    assert readme.read_text(encoding="utf-8") == f"# Title\n\n{BEGIN}\n| new |\n{END}\n\nThe end.\n"
    before = readme.read_bytes()
    update_section(readme, "| new |\n")
    assert readme.read_bytes() == before


@pytest.mark.parametrize(
    "text", ["no markers", f"{BEGIN} only", f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}", f"{BEGIN}{END}{END}"]
)
def test_a_readme_without_one_section_is_refused(tmp_path: Path, text: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="expected one section"):
        require_section(readme)
    with pytest.raises(UsageError, match="expected one section"):
        update_section(readme, "new")
    assert readme.read_text(encoding="utf-8") == text


def test_a_missing_readme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"README .*none.md cannot be read"):
        require_section(tmp_path / "none.md")


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is missing or not writable"):
        require_writable(tmp_path / "missing" / "x.json")
    with pytest.raises(UsageError, match="is a folder"):
        require_writable(tmp_path)


def test_a_text_is_written_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "x.md", "text\n")
    assert [path.name for path in tmp_path.iterdir()] == ["x.md"]
    assert (tmp_path / "x.md").read_text(encoding="utf-8") == "text\n"
