"""Where the time of a file goes, from onnxruntime's own profiler: by kind of node, by module, and node by node.

The profiler sees the optimised graph, with the fusions and layout changes that this machine gets. It costs a little
time itself, so its milliseconds are for comparing with one another; `invoke benchmark` measures latency.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from stgcn_onnx.bench.modules import UNKNOWN, ModuleFinder, node_name
from stgcn_onnx.bench.spec import Clips
from stgcn_onnx.bench.subject import Subject
from stgcn_onnx.bench.tables import Table
from stgcn_onnx.blocks import shortened
from stgcn_onnx.runtime import import_onnxruntime

Event = Mapping[str, Any]


@dataclass(frozen=True)
class NodeTime:
    """One node: its kind, its module, and its time in one run, the median over the runs.

    A node in a loop is counted once, with the time of all iterations.
    """

    name: str
    kind: str
    module: str
    ms: float


@dataclass(frozen=True)
class Profile:
    """All nodes in the order in which they run, and the time that a run spends between them; medians over the runs."""

    nodes: tuple[NodeTime, ...]
    between_ms: float
    clips: Clips

    @property
    def run_ms(self) -> float:
        """A run without outliers: what shares are shares of."""
        return sum(node.ms for node in self.nodes) + self.between_ms


def profile_file(subject: Subject, clips: Clips, *, iterations: int, warmup: int) -> Profile:
    """Run a file under the profiler, on the CPU.

    Args:
        clips: the input.
        iterations: runs that count, after `warmup` that do not.
    """
    events = _record(subject.path, clips, iterations + warmup)
    runs = [event for event in events if event["cat"] == "Session" and event["name"] == "model_run"][-iterations:]
    nodes = [event for event in events if event["cat"] == "Node" and event["name"].endswith("_kernel_time")]
    by_run = [own_times([e for e in nodes if _inside(e, run)]) for run in runs]
    between_us = [run["dur"] - sum(time_us for _, time_us in own) for run, own in zip(runs, by_run, strict=True)]
    finder = ModuleFinder(onnx.load(subject.path), subject.metadata.get("blocks", {}))
    return Profile(_nodes(by_run, finder), statistics.median(between_us) / 1000, clips)


def own_times(events: Iterable[Event]) -> list[tuple[Event, float]]:
    """Each event with its time in microseconds, without that of the events inside it (the body of an `If`)."""
    found: list[tuple[Event, float]] = []
    open_events: list[int] = []
    for event in sorted(events, key=lambda e: (e["ts"], -e["dur"])):
        while open_events and not _inside(event, found[open_events[-1]][0]):
            open_events.pop()
        if open_events:
            outer, own = found[open_events[-1]]
            found[open_events[-1]] = (outer, own - event["dur"])
        open_events.append(len(found))
        found.append((event, float(event["dur"])))
    return found


def kinds_table(profile: Profile) -> Table:
    """Time by kind of node; what is left of a run is onnxruntime's own work between the nodes."""
    rows = _grouped(profile, lambda node: node.kind)
    rows.append(("between the nodes", "", *_time(profile.between_ms, profile)))
    return Table("By kind of node", ("kind", "nodes", "ms per run", "share"), tuple(rows))


def modules_table(profile: Profile, depth: int) -> Table:
    """Time by module, down to `depth` modules; a layout change counts for the node before it."""
    rows = _grouped(profile, lambda node: shortened(node.module, depth))
    return Table("By module", ("module", "nodes", "ms per run", "share"), tuple(rows))


def nodes_table(profile: Profile, count: int) -> Table:
    """The nodes that take longest."""
    longest = sorted(profile.nodes, key=lambda node: -node.ms)[:count]
    rows = [(node.name, node.kind, node.module, *_time(node.ms, profile)) for node in longest]
    headers = ("node", "kind", "module", "ms per run", "share")
    return Table(f"The {len(rows)} longest nodes", headers, tuple(rows), frozenset({0, 1, 2}))


def _record(path: Path, clips: Clips, runs: int) -> list[Event]:
    ort = import_onnxruntime()
    with tempfile.TemporaryDirectory(prefix="stgcn-onnx-") as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: clips.generate(0)}
        for _ in range(runs):
            session.run(None, feed)
        events: list[Event] = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return events


def _inside(inner: Event, outer: Event) -> bool:
    return bool(outer["ts"] <= inner["ts"] and inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"])


def _nodes(by_run: Sequence[Sequence[tuple[Event, float]]], finder: ModuleFinder) -> tuple[NodeTime, ...]:
    """The nodes of the last run, each with the median of its times over the runs in which it ran."""
    times_us: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in by_run:
        for key, time_us in _by_node(run).items():
            times_us[key].append(time_us)
    nodes = []
    module = UNKNOWN
    for key in _by_node(by_run[-1]):
        name = node_name(key[0])
        module = finder.find(name) or module
        nodes.append(NodeTime(name, key[1], module, statistics.median(times_us[key]) / 1000))
    return tuple(nodes)


def _by_node(run: Sequence[tuple[Event, float]]) -> dict[tuple[str, str], float]:
    """Time of each node in one run by its name and kind, in the order in which the nodes first ran."""
    times_us: dict[tuple[str, str], float] = defaultdict(float)
    for event, time_us in run:
        times_us[event["name"], event["args"]["op_name"]] += time_us
    return times_us


def _grouped(profile: Profile, key: Callable[[NodeTime], str]) -> list[tuple[str, ...]]:
    groups: dict[str, list[float]] = defaultdict(list)
    for node in profile.nodes:
        groups[key(node)].append(node.ms)
    ordered = sorted(groups.items(), key=lambda item: -sum(item[1]))
    return [(name, str(len(ms)), *_time(sum(ms), profile)) for name, ms in ordered]


def _time(ms: float, profile: Profile) -> tuple[str, str]:
    return f"{ms:.3f}", f"{ms / profile.run_ms:.1%}"
