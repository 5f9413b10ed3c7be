"""Fixtures that the tests share; the tiny model and what is built of it are made once for a whole run."""

from __future__ import annotations

import os

# The tests run side by side, one on each core: threads of NumPy's own would wait for one another. Read at its import.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import ROOT, Tiny, quiet, write_tiny

from stgcn_onnx.generated import Source
from stgcn_onnx.model import LoadedModel
from stgcn_onnx.pipeline import build

SHARED_DATA = ROOT / ".." / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The tiny model gains nothing from threads, and the machine may be shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def signals_as_usual() -> None:
    """What a test starts inherits a SIGINT that is ignored: by a shell that starts the tests in the background, or by a
    command that was interrupted in this process before."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real clips and the Runner checkpoint; not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data is not there: the real clips and the Runner checkpoint are not in the repository")
    return SHARED_DATA.resolve()


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Config, checkpoint and preset of the tiny model; for reading only."""
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny(tiny_source: Tiny, tmp_path: Path) -> Tiny:
    """A copy of the tiny model that a test may write to."""
    for path in (tiny_source.config, tiny_source.checkpoint, tiny_source.preset):
        shutil.copy(path, tmp_path)
    return Tiny(tmp_path)


@pytest.fixture(scope="session")
def loaded(tiny_source: Tiny) -> LoadedModel:
    """The tiny model, loaded; for reading only."""
    return tiny_source.load()


@pytest.fixture(scope="session")
def static_content(tiny_source: Tiny, loaded: LoadedModel) -> bytes:
    """The tiny model as an ONNX file with fixed axes."""
    return build(loaded, tiny_source.resolve(), quiet()).content


@pytest.fixture(scope="session")
def plain_content(tiny_source: Tiny, loaded: LoadedModel) -> bytes:
    """The same without any rewrite: its values are those of the original modules."""
    return build(loaded, tiny_source.resolve({"export.deploy": "none"}), quiet()).content


@pytest.fixture(scope="session")
def batch_content(tiny_source: Tiny, loaded: LoadedModel) -> bytes:
    """The tiny model with a free batch, 1 to 3 clips, traced with 3: its people run in groups, in a loop."""
    traced = replace(loaded, shape=loaded.shape.with_sizes(batch=3))
    return build(traced, tiny_source.resolve({"axes.batch_size.dynamic": True}), quiet()).content


@pytest.fixture(scope="session")
def dynamic_content(tiny_source: Tiny, loaded: LoadedModel) -> bytes:
    """The tiny model with both axes free: 1 to 3 clips, 8 to 32 frames."""
    free = {"axes.batch_size.dynamic": True, "axes.num_frames.dynamic": True}
    return build(loaded, tiny_source.resolve(free), quiet()).content


@pytest.fixture
def few_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge and calibrate on a few generated clips: the tiny model gains nothing from hundreds."""
    real = Source.annotations
    monkeypatch.setattr(Source, "annotations", lambda self, count: real(self, min(count, 12)))
