"""The log on stderr: progress on a terminal, plain lines elsewhere. Results go to stdout, by the commands."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_LABEL_WIDTH = 10


class Log:
    """Writes what happens, a line each.

    Args:
        verbose: also write details, and the time of each stage.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._status = self._console.status("")

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Show `name` while it runs (on a terminal), and its time afterwards (when verbose)."""
        started = time.perf_counter()
        with self._console.status(f"{name} …") as self._status:
            yield
        if self.verbose:
            self.line(name, f"done in {time.perf_counter() - started:.1f} s")

    @contextlib.contextmanager
    def bar(self, label: str) -> Iterator[Callable[[str, int, int], None]]:
        """Give a function that is told what is being done, how much of it is done, and how much there is.

        On a terminal each thing that is done is a bar; elsewhere it is a line, when it is done.
        """
        columns = (TextColumn(f"{label:<{_LABEL_WIDTH}} {{task.description}}"), BarColumn(), MofNCompleteColumn())
        bars = Progress(*columns, TimeElapsedColumn(), console=self._console, disable=not self._console.is_terminal)
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)
            if bars.disable and done == total:
                self.line(label, f"{what}: {total} of {total}")

        with bars:
            yield show

    def progress(self, text: str) -> None:
        """Change the text next to the spinner of the running stage."""
        self._status.update(text)

    def line(self, label: str, text: str, *, style: str = "") -> None:
        """A line of the log, with its label in the left column."""
        self._console.print(f"{label:<{_LABEL_WIDTH}} {text}", style=style, markup=False)

    def detail(self, label: str, text: str) -> None:
        """A line that only `--verbose` shows."""
        if self.verbose:
            self.line(label, text, style="dim")

    def failure(self, message: str, hint: str) -> None:
        """The last line of a failed command; what others raise may have several, and is put on one."""
        text = " ".join(f"error: {message}; {hint}".split())
        self._console.print(text, style="red", markup=False)

    def traceback(self) -> None:
        """The traceback of the exception that is being handled, without local values."""
        self._console.print_exception(show_locals=False)
