"""The log: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from stgcn_onnx.console import Log


def test_a_bar_is_a_line_for_each_thing_done_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log()
    with log.bar("calibrate") as progress:
        for done in range(1, 4):
            progress("preparing clips", done, 3)
        progress("looking for overflows", 1, 2)
    captured = capsys.readouterr()
    assert captured.out == "", "stdout is for results"
    assert captured.err.splitlines() == ["calibrate  preparing clips: 3 of 3"], "what is not done is not said to be"
    assert "\x1b" not in captured.err


@pytest.mark.parametrize("plain", [False, True])
def test_a_bar_moves_on_a_terminal_and_honours_no_color(monkeypatch: pytest.MonkeyPatch, plain: bool) -> None:
    if plain:
        monkeypatch.setenv("NO_COLOR", "1")
    else:
        monkeypatch.delenv("NO_COLOR", raising=False)
    stream = io.StringIO()
    log = Log()
    log._console = Console(file=stream, force_terminal=True, width=100, color_system="standard")
    with log.bar("calibrate") as progress:
        progress("preparing clips", 1, 2)
        progress("preparing clips", 2, 2)
        log.line("calibrate", "a word in between")
    text = stream.getvalue()
    assert "calibrate  preparing clips" in text
    assert "2/2" in text
    assert "a word in between" in text
    assert ("\x1b[3" in text) is not plain, "colours"
