"""Verification: the ONNX file against the original PyTorch model, logits against logits.

MMAction2's own export script prints a line when the difference is small and nothing when it is not, and exits 0 both
times. Here a difference is an error with a code of its own, a row for each shape, the first module that diverges and
a reproducer. Comparing nothing is an error too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from stgcn_onnx.compare import Comparison, Tolerance, compare
from stgcn_onnx.errors import VerificationError, first_line
from stgcn_onnx.openvino_runtime import OpenVinoSession
from stgcn_onnx.reference import Reference
from stgcn_onnx.runtime import FloatArray, Session
from stgcn_onnx.verify_cases import Case

_FEATURE_AXES = 4


@dataclass(frozen=True)
class Divergence:
    """The first module whose output differs, in the order of computation."""

    module: str
    value: str
    max_abs: float


@dataclass(frozen=True)
class Failure:
    """A case that did not pass, with all that is needed to look into it."""

    case: Case
    row: Comparison
    found: FloatArray
    expected: FloatArray
    divergence: Divergence | None


@dataclass(frozen=True)
class VerifyReport:
    """All rows, and the failure that says most: the first of those with the most people present."""

    tolerance: Tolerance
    rows: tuple[Comparison, ...]
    failure: Failure | None

    @property
    def passed(self) -> bool:
        return self.failure is None


def verify(
    content: bytes,
    reference: Reference,
    cases: Iterable[Case],
    tolerance: Tolerance,
    *,
    device: str = "cpu",
    blocks: Mapping[str, str] | None = None,
    others: Mapping[str, OpenVinoSession] | None = None,
    on_row: Callable[[Comparison], None] | None = None,
) -> VerifyReport:
    """Run every case through the file in onnxruntime, and in `others`, and through the reference.

    Args:
        content: the ONNX file's bytes.
        blocks: value names in the graph by module path, for finding the first module that diverges.
        others: further runtimes by name, each with the file opened in it.
        on_row: called after each comparison.

    Raises:
        VerificationError: when there was nothing to compare, or a runtime cannot run a case.
    """
    session = Session(content, device, spinning=False)
    rows: list[Comparison] = []
    failure: Failure | None = None
    for case in cases:
        expected, exact = reference.logits(case.clip), reference.exact_logits(case.clip)
        found = {"": _run("onnxruntime", session, case)}
        found |= {f" in {name}": _run(name, other, case) for name, other in (others or {}).items()}
        for where, logits in found.items():
            row = compare(
                case.label + where,
                case.clip.shape,
                case.people,
                candidate=logits,
                reference=expected,
                exact=exact,
                tolerance=tolerance,
            )
            rows.append(row)
            if on_row is not None:
                on_row(row)
            if not row.passed and (failure is None or _presence(case) > _presence(failure.case)):
                failure = Failure(case, row, logits, expected, None)
    if not rows:
        raise VerificationError("nothing was compared", hint="give at least one shape or clip")
    if failure is not None:
        divergence = first_divergence(content, reference, failure.case, blocks or {}, tolerance, device=device)
        failure = replace(failure, divergence=divergence)
    return VerifyReport(tolerance, tuple(rows), failure)


def first_divergence(
    content: bytes,
    reference: Reference,
    case: Case,
    blocks: Mapping[str, str],
    tolerance: Tolerance,
    *,
    device: str = "cpu",
) -> Divergence | None:
    """Compare inside the graph, module by module; None when every module that can be compared agrees.

    Values of another shape than the module's output are passed over: rewrites leave absent people out, so a case with
    everybody present shows most. Values inside of a loop cannot be compared; the report says so.
    """
    model = onnx.load_from_string(content)
    known = {name for node in model.graph.node for name in node.output}
    wanted = {path: name for path, name in blocks.items() if name in known}
    session = Session(_with_outputs(model, wanted.values()), device, spinning=False)
    found = session.run_all(case.clip)
    expected = reference.module_outputs(case.clip, list(wanted))
    for path, value in expected.items():
        candidate = found[wanted[path]]
        views = [view for view in _views(value) if view.shape == candidate.shape]
        if views and not any(_close(candidate, view, tolerance) for view in views):
            return Divergence(path, wanted[path], float(np.abs(candidate - views[0]).max()))
    return None


def _views(value: FloatArray) -> Iterator[FloatArray]:
    """A module's output as it is, and in the order of axes that `joint_major` and `channels_last` give it."""
    yield value
    if value.ndim == _FEATURE_AXES:
        yield value.transpose(3, 1, 0, 2)  # (N*M, C, T, V) -> (V, C, N*M, T)
        yield value.transpose(3, 0, 2, 1).reshape(value.shape[3], -1)  # (N*M, C, T, V) -> (V, N*M*T*C)


def _presence(case: Case) -> float:
    return sum(case.people) / len(case.people)


def _close(candidate: FloatArray, value: FloatArray, tolerance: Tolerance) -> bool:
    """Hidden values are held to the tolerance relative to their largest, since most of them pass near zero."""
    scale = float(np.abs(np.nan_to_num(value)).max(initial=0.0))
    return Tolerance(tolerance.rtol, tolerance.atol + tolerance.rtol * scale).allows(candidate, value)


def _with_outputs(model: ModelProto, names: Iterable[str]) -> bytes:
    present = {output.name for output in model.graph.output}
    for name in dict.fromkeys(names):
        if name not in present:
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    content: bytes = model.SerializeToString()
    return content


def _run(runtime: str, session: Session | OpenVinoSession, case: Case) -> FloatArray:
    try:
        return session.run(case.clip)
    except Exception as error:
        raise VerificationError(
            f"{runtime} cannot run {case.label} {list(case.clip.shape)}: {first_line(error)}",
            hint="an axis that was declared free is not; try the other exporter, or make it static",
        ) from error
