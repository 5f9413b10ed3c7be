"""Everything that could be used instead, measured in one go (issue 3): PyTorch, compiled PyTorch, the plain export,
onnxslim's version of it, this converter's files, and where it is installed OpenVINO; with fewer people, in batches, at
other numbers of frames, and for the official ST-GCN++. Each is held against the plain export.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from stgcn_onnx.bench.arithmetic import arithmetic_limit, count_macs
from stgcn_onnx.bench.builds import FIXED, FREE_FRAMES, Source, build
from stgcn_onnx.bench.candidates import onnx_candidate, present, torch_candidate
from stgcn_onnx.bench.engines import GEMM_SIDE
from stgcn_onnx.bench.figures import Measured
from stgcn_onnx.bench.machine import note_other_work
from stgcn_onnx.bench.report import ONNXRUNTIME, PYTORCH, SAME_RUNTIME, Limit, Report, Row, report_here, row
from stgcn_onnx.bench.rivals import in_8_bits, slimmed
from stgcn_onnx.bench.rivals import official as build_official
from stgcn_onnx.bench.rounds import effort_of, take_turns
from stgcn_onnx.bench.spec import Candidate, Clips
from stgcn_onnx.bench.subject import Subject
from stgcn_onnx.console import Log
from stgcn_onnx.preset import Preset
from stgcn_onnx.runtime import require_device

BATCH_SIZE = 8
_PLAIN, _OURS, _GEMM = "plain export", "this converter", "matrix product"
_OURS_INT8 = "this converter, int8"
_OURS_OPENVINO = "this converter, for OpenVINO"
_OURS_DYNAMIC, _PLAIN_DYNAMIC = "this converter, frames free", "plain export, frames free"
_COMPILED, _SLIM = "torch.compile", "plain export, onnxslim"
_IN_OPENVINO = " in OpenVINO "
_VARIANTS: Mapping[str, Mapping[str, object]] = {
    "plain": {**FIXED, "export.deploy": "none", "input.batch_size": 1},
    "ours": {**FIXED, "export.deploy": "all", "input.batch_size": 1},
    "ours_openvino": {**FIXED, "export.deploy": "all", "export.runtime": "openvino", "input.batch_size": 1},
    "plain_dynamic": {**FREE_FRAMES, "export.deploy": "none", "input.batch_size": 1},
    "ours_dynamic": {**FREE_FRAMES, "export.deploy": "all", "input.batch_size": 1},
    "plain_batch": {**FIXED, "export.deploy": "none", "input.batch_size": BATCH_SIZE},
    "ours_batch": {**FIXED, "export.deploy": "all", "input.batch_size": BATCH_SIZE},
}


@dataclass(frozen=True)
class _Contest:
    """What is measured: the built files by name, why onnxslim's is no peer, and the preset with its log."""

    subjects: Mapping[str, Subject]
    slim_failure: str | None
    preset: Preset
    log: Log

    def onnx(self, label: str, name: str, clips: tuple[Clips, ...] | None = None) -> Candidate:
        subject = self.subjects[name]
        return onnx_candidate(label, subject.path, clips or (subject.traced,), self.preset.device)

    def turns(self, candidates: Sequence[Candidate]) -> dict[str, Measured]:
        return take_turns(candidates, effort_of(self.preset), self.log)


def measure_peers(source: Source, log: Log, *, people: Sequence[int], official: bool | None, command: str) -> Report:
    """Build and measure all peers of a preset, in a folder that goes away.

    Args:
        people: counts of people present that get a row; by default everybody, half of them, and one.
        official: whether the official ST-GCN++ is measured as well; None means yes.

    Raises:
        ConverterError: a conversion or a measurement fails; peers that do not work here get a row with the reason.
    """
    preset = source.preset()
    require_device(preset.device)
    with tempfile.TemporaryDirectory(prefix="stgcn-onnx-") as folder:
        contest = _build(source, Path(folder), log, official=official is not False)
        traced = contest.subjects["plain"].traced
        counts = [present(traced, count).people for count in people] or [traced.person, max(traced.person // 2, 1), 1]
        busy_percent = note_other_work(log)
        with log.stage("measuring"):
            rows, by_people, limit = _single_clips(contest, counts)
            rows += _batches(contest)
            if official is not False:
                rows += _official(contest)
            by_frames = _frames(contest)
    return report_here(
        "peers",
        command,
        preset,
        busy_percent,
        tuple(rows),
        sweep=tuple(by_frames),
        by_people=tuple(by_people),
        limit=limit,
    )


def _build(source: Source, folder: Path, log: Log, *, official: bool) -> _Contest:
    subjects = build(_VARIANTS, source, folder, log)
    plain = subjects["plain"]
    subjects["slim"], slim_failure = slimmed(plain, source.resolve(_VARIANTS["plain"]).preset, folder, log)
    subjects.update(in_8_bits(source, folder, log))
    if official:
        subjects.update(build_official(source, plain.traced.person, plain.traced.frames, folder, log))
    return _Contest(subjects, slim_failure, source.preset(), log)


def _single_clips(contest: _Contest, people: Sequence[int]) -> tuple[list[Row], list[Row], Limit]:
    """All runtimes at one clip; the plain and our file with fewer people as well, down to one."""
    full = contest.subjects["plain"].traced
    clips = tuple(full.with_people(count) for count in range(full.person, -1, -1))
    eager = torch_candidate(contest.preset, (full,))
    compiled = replace(eager, label=_COMPILED, engine="torch.compile", optional=True)
    square = Clips(1, 1, 1, GEMM_SIDE, GEMM_SIDE, 1)
    found = contest.turns(
        [
            Candidate(_GEMM, "gemm", (square,), contest.preset.device),
            eager,
            compiled,
            contest.onnx(_PLAIN, "plain", clips),
            contest.onnx(_SLIM, "slim"),
            contest.onnx(_OURS, "ours", clips),
            contest.onnx(_PLAIN_DYNAMIC, "plain_dynamic"),
            contest.onnx(_OURS_DYNAMIC, "ours_dynamic"),
            *([contest.onnx(_OURS_INT8, "ours_int8")] if "ours_int8" in contest.subjects else []),
            *_openvino(contest),
        ]
    )
    if contest.slim_failure:
        found[_SLIM] = replace(found[_SLIM], failure=contest.slim_failure)
    gemm, plain = found.pop(_GEMM), found[_PLAIN]
    files = {
        _PLAIN: "plain",
        _OURS: "ours",
        _PLAIN_DYNAMIC: "plain_dynamic",
        _OURS_DYNAMIC: "ours_dynamic",
        _SLIM: "slim",
        _OURS_INT8: "ours_int8",
        _OURS_OPENVINO: "ours_openvino",
    }
    by_people = [_row(contest, found, label, files, clips.index(each)) for label in (_PLAIN, _OURS) for each in clips]
    rows = [_row(contest, found, label, files) for label in found]
    rows += [each for each in by_people if each.clips.people in people and each.clips.people != full.people]
    return rows, by_people, arithmetic_limit(count_macs(onnx.load(contest.subjects["plain"].path)), gemm, plain)


def _openvino(contest: _Contest) -> list[Candidate]:
    """The plain file, ours, and ours for OpenVINO in that runtime, which is measured on the CPU alone."""
    if contest.preset.device != "cpu":
        return []
    return [
        replace(
            contest.onnx(_openvino_label(label, precision), name), engine="openvino", precision=precision, optional=True
        )
        for precision in ("f32", "bf16")
        for label, name in ((_PLAIN, "plain"), (_OURS, "ours"), (_OURS_OPENVINO, "ours_openvino"))
    ]


def _batches(contest: _Contest) -> list[Row]:
    batch = contest.subjects["plain_batch"].traced
    found = contest.turns(
        [
            torch_candidate(contest.preset, (batch,)),
            contest.onnx(_PLAIN, "plain_batch"),
            contest.onnx(_OURS, "ours_batch"),
        ]
    )
    files = {_PLAIN: "plain_batch", _OURS: "ours_batch"}
    return [_row(contest, found, label, files) for label in found]


def _official(contest: _Contest) -> list[Row]:
    files = {_PLAIN: "official_plain", _OURS: "official"}
    found = contest.turns([contest.onnx(label, name) for label, name in files.items()])
    rows = [_row(contest, found, label, files) for label in files]
    return [replace(each, label=f"official ST-GCN++, {each.label}") for each in rows]


def _frames(contest: _Contest) -> list[Row]:
    """PyTorch and the files with free frames over the declared range."""
    subject = contest.subjects["plain_dynamic"]
    clips = tuple(subject.traced.with_frames(frames) for frames in subject.sweep())
    found = contest.turns(
        [
            torch_candidate(contest.preset, clips),
            contest.onnx(_PLAIN_DYNAMIC, "plain_dynamic", clips),
            contest.onnx(_OURS_DYNAMIC, "ours_dynamic", clips),
        ]
    )
    against = {PYTORCH: found[PYTORCH], ONNXRUNTIME: found[_PLAIN_DYNAMIC]}
    return [row(item, index, against) for item in found.values() for index in range(len(clips))]


def _row(contest: _Contest, found: Mapping[str, Measured], label: str, files: Mapping[str, str], index: int = 0) -> Row:
    """A row with its ratios; `files` names the built file of each label that has one of its own."""
    measured = found[label]
    candidate = measured.candidate
    base = label.partition(_IN_OPENVINO)[0]
    against = {PYTORCH: found[PYTORCH]} if PYTORCH in found else {}
    against[ONNXRUNTIME] = found[_PLAIN]
    if candidate.engine == "onnxruntime":
        against[SAME_RUNTIME] = found[_PLAIN]
    elif candidate.engine == "openvino":
        against[SAME_RUNTIME] = found[_openvino_label(_PLAIN, candidate.precision)]
    size = contest.subjects[files[base]].size_bytes if base in files else None
    return row(measured, index, against, label=base, size_bytes=size)


def _openvino_label(label: str, precision: str) -> str:
    return f"{label}{_IN_OPENVINO}{precision}"
