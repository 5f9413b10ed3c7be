"""Reports as Markdown, and the plot."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

import pytest
from bench_samples import CLIPS, file_report, measured

from stgcn_onnx.bench.figures import Measured, Spread
from stgcn_onnx.bench.plot import plot
from stgcn_onnx.bench.report import ONNXRUNTIME, PYTORCH, SAME_RUNTIME, Limit, row
from stgcn_onnx.bench.spec import Candidate
from stgcn_onnx.bench.tables import document, markdown, peers_table, show, tables_of


def test_the_document_of_a_file() -> None:
    text = document(file_report(40, 10))
    assert "| ONNX | [1, 2, 20] | 2 | 10.0 | 10.0 | 10.0 | 100.0 | 90 | 10 | 5.0 | 4.00 (4.00 to 4.00) |" in text
    assert "2 cores of Some CPU, device cpu, with `invoke benchmark --model x.onnx`: 2 rounds" in text
    assert "python 3.11" in text
    assert "Other programs" not in text


def test_a_file_that_ran_in_openvino_says_so() -> None:
    report = file_report()
    rows = tuple(dataclasses.replace(each, engine="openvino") if each.label == "ONNX" else each for each in report.rows)
    assert "| ONNX in openvino f32 | [1, 2, 20] |" in document(dataclasses.replace(report, rows=rows))


def test_a_busy_machine_is_confessed() -> None:
    text = document(dataclasses.replace(file_report(), busy_percent=80.0))
    assert "Other programs kept the processor 80 % busy" in text


def test_the_sweep_is_a_table_of_its_own() -> None:
    report = file_report()
    tables = tables_of(dataclasses.replace(report, sweep=report.rows))
    assert len(tables) == 2
    assert tables[1].rows[1][1] == "20"


def test_a_gpu_has_a_column() -> None:
    table = tables_of(dataclasses.replace(file_report(), device="cuda:0"))[0]
    assert table.headers[-1] == "GPU MB"
    assert all(len(cells) == len(table.headers) for cells in table.rows)


def test_peers_that_do_not_work_say_why_and_the_limit_is_last() -> None:
    plain, eager = measured("plain export", [[20.0]]), measured(PYTORCH, [[40.0]])
    against = {SAME_RUNTIME: plain, ONNXRUNTIME: plain, PYTORCH: eager}
    broken = Measured(Candidate("torch.compile", "torch.compile", (CLIPS,)), (), "no C++ compiler: a | b")
    report = dataclasses.replace(
        file_report(),
        kind="peers",
        rows=tuple(row(item, 0, against) for item in (plain, broken, measured("this converter", [[10.0]]))),
        limit=Limit(1_340_000_000, {"Conv": 1_340_000_000}, Spread(150.0, 90.0, 160.0), 17.9, Spread(1.1, 1.0, 1.2)),
    )
    table = peers_table(report)
    assert all(len(cells) == len(table.headers) for cells in table.rows)
    assert "not measured: no C++ compiler: a | b" in table.rows[1]
    # A bar would begin another cell.
    assert "a \\| b" in markdown(table)
    assert table.rows[2][-3:] == ("2.00 (2.00 to 2.00)", "2.00 (2.00 to 2.00)", "4.00 (4.00 to 4.00)")
    assert table.rows[-1][0] == "arithmetic limit: 1.34 G MAC at 150 (90 to 160) GFLOP/s"
    assert table.rows[-1][4] == "17.9"


def test_stdout_that_is_no_terminal_gets_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    show(tables_of(file_report()))
    out = capsys.readouterr().out
    assert out.startswith("| candidate |")
    assert "\x1b" not in out


def test_the_plot_is_an_svg_with_every_candidate_and_repeats() -> None:
    items = (measured(PYTORCH, [[40.0]]), measured("this converter, frames free", [[10.0], [12.0]]))
    rows = tuple(row(item) for item in items)
    report = dataclasses.replace(file_report(), sweep=rows, by_people=rows)
    text = plot(report)
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "this converter, frames free" in text
    assert "people present" in text
    assert plot(report) == text
