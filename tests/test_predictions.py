"""Two models on the same videos: batches that are always full, clips averaged as the head does it, and bad numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from mmaction.structures import ActionDataSample
from test_clips import people_clip
from test_videos import model_of
from tiny import CONFIG, Tiny

from stgcn_onnx.errors import UsageError, VerificationError
from stgcn_onnx.model import LoadedModel, build_network
from stgcn_onnx.predictions import Predictions, average, differing, predict
from stgcn_onnx.runtime import FloatArray
from stgcn_onnx.videos import Video, Videos


class Fake:
    """Stands for session and reference: a clip's logits are its first value and 1; what came in is kept."""

    def __init__(
        self, batch: int | str = 1, change: Callable[[FloatArray], FloatArray] = lambda logits: logits
    ) -> None:
        self.input_shape: Sequence[int | str] = [batch, 1, 1, 1, 1]
        self.change = change
        self.batches: list[list[float]] = []

    def run(self, clips: FloatArray) -> FloatArray:
        self.batches.append(clips.reshape(-1).tolist())
        values = clips.reshape(len(clips), 1)
        return self.change(np.concatenate([values, np.ones_like(values)], axis=1))

    logits = run


def video(name: str, *values: float, label: int | None = 0) -> Video:
    """A video of clips `[1, 1, 1, 1]` with these values."""
    return Video(name, label, np.float32(values).reshape(-1, 1, 1, 1, 1))


def predicted(file: Any, reference: Any, model: LoadedModel, *videos: Video) -> Predictions:
    return predict(file, reference, model, videos)


def test_clips_of_several_videos_share_a_full_batch(loaded: LoadedModel) -> None:
    file, reference = Fake(batch=4), Fake()
    videos = [video("a", 0, 1, 2), video("b", 3, 4, 5), video("c", 6)]
    found = predicted(file, reference, loaded, *videos)
    assert file.batches == [[0, 1, 2, 3], [4, 5, 6, 4]], "filled up with its own first clip"
    assert reference.batches == [[0, 1, 2, 3], [4, 5, 6]], "what only fills up is not computed"
    assert found.names == ("a", "b", "c")
    alone = [predicted(Fake(), Fake(), loaded, one).candidate for one in videos]
    np.testing.assert_allclose(found.candidate, np.concatenate(alone))
    np.testing.assert_array_equal(found.candidate, found.reference)


def test_a_free_batch_runs_at_the_traced_size(loaded: LoadedModel) -> None:
    file = Fake(batch="batch_size")
    predicted(file, Fake(), loaded, video("a", 0, 1))
    assert file.batches == [[0], [1]]


def test_labels_are_known_for_all_or_count_for_none(loaded: LoadedModel) -> None:
    known = predicted(Fake(), Fake(), loaded, video("a", 0, label=1), video("b", 1, label=0))
    assert known.labels is not None
    assert known.labels.tolist() == [1, 0]
    assert predicted(Fake(), Fake(), loaded, video("a", 0, label=None)).labels is None


def test_the_samples_that_differ_are_named(loaded: LoadedModel) -> None:
    swapped = Fake(change=lambda logits: np.where(logits[:, :1] == 5, logits[:, ::-1], logits))
    found = differing(predicted(swapped, Fake(), loaded, video("a", 0), video("b", 5, label=1), video("c", 9)))
    (only,) = found
    assert (only.frame_dir, only.label) == ("b", 1)
    assert only.candidate == pytest.approx(only.reference[::-1])
    assert only.reference[0] > 0.9


def test_nothing_to_compare_is_an_error(loaded: LoadedModel) -> None:
    with pytest.raises(VerificationError, match="nothing was compared"):
        predicted(Fake(), Fake(), loaded)


def test_pytorch_without_a_number_is_the_clips_fault(loaded: LoadedModel) -> None:
    with pytest.raises(UsageError, match="clip b: PyTorch itself gives logits that are not finite"):
        predicted(Fake(), Fake(), loaded, video("a", 0), video("b", np.inf))


def test_a_file_of_other_classes_is_answered(loaded: LoadedModel) -> None:
    three = Fake(change=lambda logits: np.repeat(logits, [2, 1], axis=1))
    with pytest.raises(VerificationError, match=r"gives logits \[1, 3\], PyTorch gives \[1, 2\]"):
        predicted(three, Fake(), loaded, video("a", 0))


def test_a_shape_that_does_not_run_is_answered(loaded: LoadedModel) -> None:
    def refuse(_logits: FloatArray) -> FloatArray:
        raise RuntimeError("axis 2 is 20\nand more")

    with pytest.raises(VerificationError, match=r"cannot run clips \[1, 1, 1, 1, 1\]: axis 2 is 20; "):
        predicted(Fake(change=refuse), Fake(), loaded, video("a", 0))


@pytest.mark.parametrize("averaging", ["prob", "score"])
def test_several_clips_are_averaged_as_mmaction2_does(tiny: Tiny, averaging: str) -> None:
    """Its own network on its own sample, against the logits of each clip averaged here."""
    config = CONFIG.replace("num_clips=1", "num_clips=4").replace(
        "in_channels=16)", f"in_channels=16, average_clips='{averaging}')"
    )
    model = model_of(tiny, config)
    network = build_network(model.config)
    network.load_state_dict(torch.load(tiny.checkpoint, weights_only=True)["state_dict"])
    # Otherwise every clip of the tiny model is certain, and both averages are the same.
    for head in (network.cls_head, model.recogniser.head):
        with torch.no_grad():
            head.fc.weight *= 0.05
            head.fc.bias *= 0
    annotation = people_clip("long", 2, frames=130)
    (video,) = Videos([annotation], model, "here.pkl")
    assert video.views.shape[0] == 4
    with torch.inference_mode():
        logits = model.recogniser(torch.from_numpy(video.views)).numpy()
        (sample,) = network.predict(torch.from_numpy(video.views)[None], [ActionDataSample()])
    assert np.ptp(logits[:, 1] - logits[:, 0]) > 0, "clips that are all the same average to anything"
    expected = sample.pred_score if averaging == "prob" else torch.softmax(sample.pred_score, dim=-1)
    (found,) = average(logits, model)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5)
    assert found.argmax() == sample.pred_label.item()


def test_clips_that_are_not_averaged_are_samples_of_their_own(tiny: Tiny) -> None:
    model = model_of(tiny, CONFIG.replace("in_channels=16)", "in_channels=16, average_clips=None)"))
    found = average(np.log(np.float32([[1, 3], [1, 1], [4, 1]])), model)
    np.testing.assert_allclose(found, [[0.25, 0.75], [0.5, 0.5], [0.8, 0.2]], rtol=1e-6)
    said = predicted(Fake(), Fake(), model, video("a", 0, 3, label=1), video("b", 2, 5, label=0))
    assert said.names == ("a, clip 0", "a, clip 1", "b, clip 0", "b, clip 1")
    assert said.labels is not None
    assert said.labels.tolist() == [1, 1, 0, 0]


def test_the_two_averages_are_not_the_same(tiny: Tiny) -> None:
    logits = np.log(np.float32([[1, 3], [1, 1]]))
    by_probability = average(logits, model_of(tiny, CONFIG))
    np.testing.assert_allclose(by_probability, [[0.375, 0.625]], rtol=1e-6)
    score = CONFIG.replace("in_channels=16)", "in_channels=16, average_clips='score')")
    root = np.sqrt(3)
    np.testing.assert_allclose(average(logits, model_of(tiny, score)), [[1 / (1 + root), root / (1 + root)]], rtol=1e-6)


def test_an_average_that_mmaction2_does_not_know_is_answered(tiny: Tiny) -> None:
    model = model_of(tiny, CONFIG.replace("in_channels=16)", "in_channels=16, average_clips='median')"))
    with pytest.raises(UsageError, match=r"tiny\.py: model\.cls_head\.average_clips: median is not supported"):
        average(np.zeros((2, 2), np.float32), model)
