"""Afterglow follows from what came before, in whatever order that is told, and from the exposure's own data."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pureparallel import UserError, exposures
from pureparallel.core import persistence as model
from pureparallel.core.persistence import Earlier, Traps
from pureparallel.steps import persistence as step

SHAPE = (64, 64)
TRAPS = Traps((2e-3, 3e-3), (50.0, 500.0), 40000.0)
TIMES = 27.0 + 43.0 * np.arange(6)
SECONDS = 258.0


def predict(earlier, traps=TRAPS):
    return model.predict(earlier, 0.0, SECONDS, TIMES, traps)


def one_pixel(end, fluence):
    return Earlier(end, np.full((1, 1), float(fluence)))


def test_glow_is_what_exponentials_let_go():
    mean = predict([one_pixel(-100.0, 40000.0)]).mean[0, 0]
    filled = 40000 * (1 - np.exp(-1))
    expected = sum(
        f * filled * (np.exp(-100 / t) - np.exp(-(100 + SECONDS) / t)) / SECONDS
        for f, t in zip(TRAPS.fractions, TRAPS.times, strict=True)
    )
    assert mean == pytest.approx(expected)


def test_a_ramp_sees_less_than_the_mean_and_of_slow_traps_all():
    predicted = predict([one_pixel(-10.0, 1e6)])
    assert 0 < predicted.slope[0, 0] < predicted.mean[0, 0]
    slow = predict([one_pixel(-10.0, 1e6)], Traps((1e-3,), (1e7,), 40000.0))
    assert slow.slope[0, 0] == pytest.approx(slow.mean[0, 0], rel=1e-3)


def test_order_does_not_matter_and_traps_do_not_overflow():
    rng = np.random.default_rng(1)
    earlier = [Earlier(-float(t), rng.uniform(0, 2e5, SHAPE)) for t in (900, 600, 300, 20)]
    forward, backward = predict(earlier), predict(earlier[::-1])
    np.testing.assert_allclose(forward.mean, backward.mean)
    np.testing.assert_array_equal(forward.origin, 3 - backward.origin)
    full = predict([one_pixel(0.0, 1e9)]).mean
    again = predict([one_pixel(-1.0, 1e9), one_pixel(0.0, 1e9)]).mean
    np.testing.assert_allclose(again, full)
    assert predict([one_pixel(-800.0, 1e5), one_pixel(-20.0, 1e5)]).mean > predict([one_pixel(-20.0, 1e5)]).mean


def test_origin_is_the_exposure_that_left_most():
    fluence = np.zeros((2, 1, 2))
    fluence[0, 0, 0], fluence[1, 0, 1], fluence[1, 0, 0] = 1e6, 1e5, 10.0
    predicted = predict([Earlier(-300.0, fluence[0]), Earlier(-20.0, fluence[1])])
    assert predicted.origin.tolist() == [[0, 1]]


def test_fluence_of_full_pixels():
    rate = np.full((9, 9), 1.0)
    rate[2, 2], rate[2, 3], rate[6, 6] = np.nan, 500.0, np.nan
    saturated = np.zeros((9, 9), bool)
    saturated[1:4, 1:5] = saturated[6, 6] = saturated[6, 7] = True
    collected, hit = model.fluence(rate, saturated, 200.0, 40000.0)
    assert collected[0, 0] == 200
    assert collected[2, 3] == 1e5  # as the first groups tell
    assert collected[2, 2] == 120000  # they do not
    assert not hit[1:4, 1:5].any()
    assert collected[1, 1] == 200  # flagged because its neighbour is full
    assert hit[6, 6]
    assert hit[6, 7]
    assert collected[6, 7] == 120000


def glowing(seed, factor, traps=TRAPS, sources=12):
    """An exposure after one with bright sources, whose afterglow is `factor` times what the model expects."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(SHAPE)
    fluence = np.zeros(SHAPE)
    for cx, cy in rng.uniform(5, 59, (sources, 2)):
        fluence += 3e5 * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / 1.5)
    predicted = predict([Earlier(-40.0, fluence)], traps)
    error = np.full(SHAPE, 0.03)
    truth = factor * predicted.slope
    return predicted, truth, truth + rng.normal(0, error), error


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_amplitude_is_measured_in_the_data(seed, factor):
    predicted, truth, residual, error = glowing(seed, factor)
    good = np.ones(SHAPE, bool)
    glow = model.check(predicted, np.zeros(SHAPE, bool), residual, error, good)
    one = glow.amplitudes[0, "light"]
    assert one.reason == ""
    assert one.scale == pytest.approx(factor, abs=2.5 * one.error)
    np.testing.assert_allclose(glow.slope, one.applied * predicted.slope)
    lit = truth > error
    assert (glow.mask & lit).sum() >= 0.95 * lit.sum()
    assert (glow.mask & (truth < 0.2 * error)).sum() < 0.1 * lit.sum()


def test_no_afterglow_in_the_data_takes_most_of_the_mask_away():
    predicted, _, residual, error = glowing(4, 0.0)
    assert (predicted.mean > error).sum() > 100
    glow = model.check(predicted, np.zeros(SHAPE, bool), residual, error, np.ones(SHAPE, bool))
    assert glow.mask.sum() < 0.3 * (predicted.mean > error).sum()


def test_sources_on_the_same_pixels_are_not_taken_for_afterglow():
    predicted, truth, residual, error = glowing(5, 1.0)
    glow = model.check(predicted, np.zeros(SHAPE, bool), residual + 100 * truth, error, np.ones(SHAPE, bool))
    one = glow.amplitudes[0, "light"]
    assert "sources" in one.reason
    assert one.applied == 1
    np.testing.assert_array_equal(glow.mask, predicted.mean * model.UNKNOWN > error)


def test_hits_have_an_amplitude_of_their_own():
    predicted, truth, residual, error = glowing(6, 1.0)
    hit = np.zeros(SHAPE, bool)
    hit[:, :32] = True
    residual -= np.where(hit, truth, 0)
    glow = model.check(predicted, hit, residual, error, np.ones(SHAPE, bool))
    assert glow.amplitudes[0, "light"].scale > 0.7
    assert glow.amplitudes[0, "hits"].scale < 0.2


def test_without_rescaling_the_model_is_taken_as_it_is():
    predicted, _, residual, error = glowing(7, 3.0)
    glow = model.check(predicted, np.zeros(SHAPE, bool), residual, error, np.ones(SHAPE, bool), rescale=False)
    assert glow.amplitudes == {}
    np.testing.assert_array_equal(glow.mean, predicted.mean)


@pytest.mark.parametrize("wrong", [{"times": (10.0,)}, {"times": (0.0, 1.0, 2.0)}, {"full_well": 0.0}, {"times": ()}])
def test_impossible_traps_are_refused(wrong):
    with pytest.raises(ValueError, match=r"family|positive"):
        Traps(**wrong)


def exposure(number, start, end, detector="NIS", corner=(1, 1)):
    keys = {"EXPSTART": start, "EXPEND": end, "DETECTOR": detector, "SUBSTRT1": corner[0], "SUBSTRT2": corner[1]}
    name = f"jw09999001001_02101_{number:05d}_nis"
    return exposures.Exposure(name, Path(f"{name}_rate.fits"), fits.Header(list(keys.items())))


def test_only_the_same_detector_within_the_window_and_before_counts():
    s = 1 / 86400
    this = exposure(1, 60000.0, 60000.0 + 250 * s)
    known = [
        this,
        exposure(2, 60000 - 400 * s, 60000 - 100 * s),
        exposure(3, 60000 - 900 * s, 60000 - 500 * s),
        exposure(4, 60000 - 9000 * s, 60000 - 8000 * s),  # long ago
        exposure(5, 60000 - 400 * s, 60000 - 100 * s, "NRCALONG"),
        exposure(6, 60000 + 300 * s, 60000 + 500 * s),  # later
    ]
    assert [other.name[14:25] for other in step.preceding(this, known, 7200.0)] == ["02101_00003", "02101_00002"]
    assert [other.name for other in step.preceding(this, known[::-1], 300.0)] == [known[1].name]


def test_subarrays_share_the_pixels_that_both_have():
    one, other = exposure(1, 0, 1, corner=(101, 201)), exposure(2, 0, 1, corner=(91, 221))
    detector = np.arange(300 * 300).reshape(300, 300)
    a, b = detector[200:240, 100:150], detector[220:280, 90:130]
    part, cut = step.overlap(one, a.shape, other, b.shape)
    np.testing.assert_array_equal(a[part], b[cut])
    assert a[part].shape == (20, 30)
    part, cut = step.overlap(one, (10, 10), exposure(2, 0, 1, corner=(1, 1)), (50, 50))
    assert np.zeros((10, 10))[part].size == np.zeros((50, 50))[cut].size == 0


def test_a_missing_keyword_is_named():
    lacking = exposures.Exposure("jw", Path("a_rate.fits"), fits.Header())
    with pytest.raises(UserError, match=r"a_rate\.fits: keyword EXPSTART is missing"):
        _ = lacking.start
