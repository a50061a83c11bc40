"""The figures against values known by construction."""

import numpy as np
import pytest

from omnisync_core.evaluation import figures
from omnisync_core.evaluation.figures import LAGS, clip_figures, pooled

RNG = np.random.default_rng(0)
TRUE, OTHER, NOISE = RNG.normal(size=(3, 400))


def test_correlation_by_hand():
    assert figures.correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert figures.correlation([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)
    assert figures.correlation([1, 1, 1], [1, 3, 2]) == 0


def test_leak_sees_the_source_through_the_truth():
    source = 0.7 * TRUE + OTHER
    assert abs(figures.partial(TRUE + 0.3 * NOISE, source, TRUE)) < 0.1
    assert figures.partial(source, source, TRUE) == pytest.approx(1)
    assert figures.partial(TRUE + 0.5 * OTHER, source, TRUE) > 0.95


@pytest.mark.parametrize("late", [-3, 0, 5])
def test_lag_is_positive_where_the_result_is_late(late):
    curve = np.convolve(TRUE, np.ones(5) / 5, "same")
    r = figures.lagged(np.roll(curve, late), curve)
    assert LAGS[int(np.argmax(r))] == late
    assert max(r) > 0.98


def test_fisher_mean_by_hand():
    assert figures.fisher_mean([0.5, 0.5]) == pytest.approx(0.5)
    assert figures.fisher_mean([0.0, 0.8]) == pytest.approx(np.tanh(np.arctanh(0.8) / 2))


def test_bootstrap_covers_the_mean_as_theory_says():
    sample = RNG.normal(3, 1, 100)
    figure = figures.bootstrap(lambda rows: sample[rows].mean(), 100)
    assert figure.value == pytest.approx(sample.mean())
    assert figure.high - figure.low == pytest.approx(2 * 1.96 * sample.std() / 10, rel=0.1)


def _clip(blend: float, late: int = 0, outside: float = 0.0):
    """A result that is `blend` of the way from source to truth."""
    rng = np.random.default_rng(1)
    source, truth = rng.uniform(40, 200, (2, 30, 12, 12, 3))
    result = source + blend * (truth - source)
    opening = {"source": OTHER[:30], "truth": TRUE[:30]}
    opening["result"] = np.roll(OTHER[:30] + blend * (TRUE[:30] - OTHER[:30]), late)
    frames = {"result": result, "source": source, "truth": truth}
    frames = {name: np.rint(value).astype(np.uint8) for name, value in frames.items()}
    box = np.tile([2, 3, 9, 11], (30, 1))
    return clip_figures("clip", "person/bob", False, frames, opening, box, outside)


def test_truth_and_source_are_the_ends_of_the_scale():
    truth, source = _clip(1.0), _clip(0.0)
    assert truth.share == 1
    assert truth.sync_r == pytest.approx(1)
    assert truth.motion_squared_error == 0
    assert source.share == 0
    assert source.leak == pytest.approx(1)
    assert truth.count == 30 * 7 * 8 * 3
    assert truth.motion_count == 29 * 7 * 8 * 3


def test_half_way_recovers_three_quarters():
    assert _clip(0.5).share == pytest.approx(0.75, abs=0.01)


def test_pooled_share_is_a_ratio_of_sums():
    clips = [_clip(1.0), _clip(0.0, outside=3.0)]
    pool = pooled(clips)
    assert pool["share"].value == pytest.approx(0.5)
    assert pool["share_median"].value == pytest.approx(0.5)
    assert pool["outside"] == 3
    assert pool["share"].low == 0
    assert pool["share"].high == 1
    assert pooled([_clip(1.0)] * 3)["lag"] == 0
    error = clips[1].squared_error / (2 * clips[1].count)
    assert pool["psnr_mouth"].value == pytest.approx(-10 * np.log10(error))
