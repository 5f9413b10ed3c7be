"""One exception per class of failure, each with its exit code (the table in README, *Exit codes*).

An error says where, what was found, what was expected and what to do next; the commands print it as their last
line on stderr. Everything that is not a `ConverterError` is an internal error (code 1).
"""

from __future__ import annotations

from typing import ClassVar


class ConverterError(Exception):
    """Base of every failure that the user can act on.

    Args:
        message: what is wrong, with file and key, what was expected and what was found.
        hint: the next step, in the imperative.
    """

    code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}"


class UsageError(ConverterError):
    """A wrong option, preset or config (exit code 2)."""

    code = 2


class EnvironmentFault(ConverterError):
    """A missing module, engine, GPU or disk space (exit code 3)."""

    code = 3


class CheckpointError(ConverterError):
    """A checkpoint that cannot be read safely or does not fit the model (exit code 4)."""

    code = 4


class ExportError(ConverterError):
    """The model cannot be written as the requested ONNX (exit code 5)."""

    code = 5


class VerificationError(ConverterError):
    """The ONNX file does not compute what the PyTorch model computes (exit code 6)."""

    code = 6


class BenchmarkGateError(ConverterError):
    """The file is slower than the preset allows (exit code 7)."""

    code = 7


class IntegrityError(ConverterError):
    """An artefact or its sidecar is not what its digest says (exit code 8)."""

    code = 8


INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM."""


def first_line(error: BaseException) -> str:
    """The first line of what another library's exception says, or its class: ours stay on one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]
