"""Reports as tables: a drawn one on a terminal, Markdown everywhere else. Every number comes from a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stgcn_onnx.bench.figures import Spread
from stgcn_onnx.bench.machine import BUSY_PERCENT
from stgcn_onnx.bench.report import ONNXRUNTIME, PYTORCH, SAME_RUNTIME, Report, Row

_NAMES = {"torch": "PyTorch", "torch.compile": "PyTorch"}


@dataclass(frozen=True)
class Table:
    """Texts by row and column; the first column is left-aligned, as are those in `texts`."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: frozenset[int] = frozenset({0})


def file_table(report: Report) -> Table:
    """PyTorch against a file, a line for each number of people present."""
    headers: tuple[str, ...] = (
        "candidate", "input [N, M, T]", "people", "p50 ms", "p90 ms", "p99 ms", "clips/s", "memory MB", "load ms",
        "first run ms", "speed-up over PyTorch",
    )  # fmt: skip
    if report.device != "cpu":
        headers = (*headers, "GPU MB")
    return Table("", headers, tuple(_file_row(row, gpu=report.device != "cpu") for row in report.rows))


def sweep_table(report: Report) -> Table:
    """Latency at other numbers of frames, with the first run at that shape."""
    headers = ("candidate", "frames T", "median ms (min to max)", "p90 ms", "first run ms", "speed-up over PyTorch")
    rows = [
        (
            row.label,
            str(row.clips.frames),
            _with_spread(row.figures.median_ms),
            f"{row.figures.p90_ms:.1f}",
            f"{row.figures.first_run_ms:.1f}",
            ratio(row, PYTORCH),
        )
        for row in report.sweep
        if row.figures
    ]
    return Table("By number of frames", headers, tuple(rows))


def variants_table(report: Report) -> Table:
    """The four variants that users ask for."""
    headers = (
        "variant", "input [N, M, T]", "median ms (min to max)", "ms per clip", "clips/s", "memory MB",
        "speed-up per clip", "recommended for",
    )  # fmt: skip
    rows = [
        (
            row.label,
            _input(row),
            _with_spread(row.figures.median_ms),
            f"{row.figures.ms_per_clip:.1f}",
            f"{row.figures.clips_per_s:.1f}",
            _megabytes(row.figures.peak_memory_bytes),
            ratio(row, PYTORCH),
            row.note,
        )
        for row in report.rows
        if row.figures
    ]
    return Table("", headers, tuple(rows), frozenset({0, 7}))


def peers_table(report: Report) -> Table:
    """Everything that could be used instead, and what the arithmetic alone would take."""
    headers = (
        "candidate", "runtime", "input [N, M, T]", "people", "median ms (min to max)", "load ms", "memory MB",
        "file MB", "logits off by", "speed-up over plain, same runtime", "over plain in onnxruntime", "over PyTorch",
    )  # fmt: skip
    rows = [_peer_row(row) for row in report.rows]
    if report.limit:
        rate = _with_spread(report.limit.rate_gflops, digits=0)
        work = f"arithmetic limit: {report.limit.macs / 1e9:.2f} G MAC at {rate} GFLOP/s"
        plain = _with_spread(report.limit.speedup, digits=2)
        rows.append((work, "", _input(report.rows[0]), "", f"{report.limit.ms:.1f}", *[""] * 5, plain, ""))
    return Table("", headers, tuple(rows), frozenset({0, 1}))


def markdown(table: Table) -> str:
    """The table in Markdown, with its title as a paragraph before it."""
    rules = ["---" if index in table.texts else "--:" for index in range(len(table.headers))]
    escaped = [[cell.replace("|", "\\|") for cell in cells] for cells in table.rows]
    lines = [f"| {' | '.join(cells)} |" for cells in (table.headers, rules, *escaped)]
    return "\n".join(([table.title, ""] if table.title else []) + lines)


def show(tables: Sequence[Table]) -> None:
    """Print to stdout: drawn on a terminal, else as Markdown."""
    import rich.table
    from rich.console import Console

    console = Console()
    for number, table in enumerate(tables):
        if not console.is_terminal:
            print(("\n" if number else "") + markdown(table))
            continue
        drawn = rich.table.Table(title=table.title or None)
        for index, header in enumerate(table.headers):
            drawn.add_column(header, justify="left" if index in table.texts else "right")
        for cells in table.rows:
            drawn.add_row(*cells)
        console.print(drawn, markup=False)


def footnote(report: Report) -> str:
    """Machine, versions, method and command, as a paragraph of Markdown."""
    packages = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    effort = report.effort
    return (
        f"Measured on {report.machine}, device {report.device}, with `{report.command}`: {effort.rounds} rounds that "
        f"take turns, a process of its own for each candidate and round, {effort.iterations} timed runs each after "
        f"{effort.warmup} for warming up. Times are medians of the rounds, with the smallest and the largest; memory "
        "is the peak of the process, its libraries included. Only the ratios carry over to other machines. "
        f"{_caveat(report)}Versions: {packages}."
    )


def _caveat(report: Report) -> str:
    text = ""
    if report.thread_settings:
        text += f"Threads were set by {', '.join(f'{key}={value}' for key, value in report.thread_settings.items())}. "
    if report.busy_percent > BUSY_PERCENT:
        text += f"Other programs kept the processor {report.busy_percent:.0f} % busy at the start: times are too long. "
    return text


def ratio(row: Row, against: str) -> str:
    """A ratio with its spread; a dash where there is none."""
    found = row.speedups.get(against)
    return _with_spread(found, digits=2) if found else "-"


def _file_row(row: Row, *, gpu: bool) -> tuple[str, ...]:
    found = row.figures
    assert found is not None, "candidates of this table are not optional"
    cells = (
        f"{row.label} in {_runtime(row)}" if row.engine == "openvino" else row.label,
        _input(row),
        str(row.clips.people),
        f"{found.p50_ms:.1f}",
        f"{found.p90_ms:.1f}",
        f"{found.p99_ms:.1f}",
        f"{found.clips_per_s:.1f}",
        _megabytes(found.peak_memory_bytes),
        f"{found.load_ms:.0f}",
        f"{found.first_run_ms:.1f}",
        ratio(row, PYTORCH),
    )
    return (*cells, _megabytes(found.gpu_memory_bytes)) if gpu else cells


def _peer_row(row: Row) -> tuple[str, ...]:
    start = (row.label, _runtime(row), _input(row), str(row.clips.people))
    if row.figures is None:
        return (*start, f"not measured: {row.failure}", *[""] * 7)
    return (
        *start,
        _with_spread(row.figures.median_ms),
        f"{row.figures.load_ms:.0f}",
        _megabytes(row.figures.peak_memory_bytes),
        f"{row.size_bytes / 1e6:.2f}" if row.size_bytes else "",
        "-" if row.max_abs_difference is None else f"{row.max_abs_difference:.0e}",
        ratio(row, SAME_RUNTIME),
        ratio(row, ONNXRUNTIME),
        ratio(row, PYTORCH),
    )


def _runtime(row: Row) -> str:
    """Its name, and what it computes in where it has the choice."""
    name = _NAMES.get(row.engine, row.engine)
    return f"{name} {row.precision}" if row.engine == "openvino" else name


def _input(row: Row) -> str:
    return f"[{row.clips.batch}, {row.clips.person}, {row.clips.frames}]"


def _with_spread(spread: Spread, digits: int = 1) -> str:
    return f"{spread.median:.{digits}f} ({spread.min:.{digits}f} to {spread.max:.{digits}f})"


def _megabytes(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes / 1e6:.0f}"


def tables_of(report: Report) -> list[Table]:
    """The tables of a report of any kind."""
    if report.kind == "variants":
        return [variants_table(report)]
    if report.kind == "peers":
        return [peers_table(report)]
    return [file_table(report), sweep_table(report)] if report.sweep else [file_table(report)]


def document(report: Report) -> str:
    """All tables and the footnote as Markdown."""
    return "\n\n".join([*map(markdown, tables_of(report)), footnote(report)]) + "\n"
