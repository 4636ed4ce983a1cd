"""Ramps of known light: their noise, their steps and their shape are what was put in."""

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from pureparallel.provenance import Lineage
from pureparallel.simulate import effects as fx
from pureparallel.simulate import hits, ramp
from pureparallel.simulate.detector import Detector
from pureparallel.simulate.instrument import FILTERS, FRAME_TIME, Frame, Readout, seed_for

NONE = fx.Effects.none()
GAIN, BIAS, WELL, READ_NOISE, C2 = 1.6, 11000.0, 44000.0, 7.0, 1.5e-6


def make_detector(frame, **maps):
    """A detector of equal pixels, but for the `maps` given."""

    def even(value):
        return np.full(frame.shape, value, np.float32)

    none = np.zeros(frame.shape, bool)
    values = {
        "gain": even(GAIN), "read_noise": even(READ_NOISE), "bias": even(BIAS), "dark": even(0.0), "hot": none,
        "dead": none, "reference_pixel": none, "flat": {name: even(1.0) for name in FILTERS},
        "linearity": even(C2), "saturation": even(BIAS + WELL),
    }  # fmt: skip
    return Detector(frame=frame, **(values | maps))


def square(n):
    return Frame(769, 769, n, n)


def names(seed, exposure="a"):
    return lambda name: seed_for(seed, exposure, name)


def expose(rate, detector, readout, effects, seed=0, **options):
    light = np.full(detector.frame.shape, float(rate)) if np.isscalar(rate) else rate
    return ramp.expose(light, detector, readout, effects, names(seed), filter="F150W", **options)


def covariance(counts):
    return np.cov(counts.reshape(len(counts), -1).astype(float))


@pytest.mark.parametrize("pattern", ["NIS", "NISRAPID"])
def test_photon_noise_of_groups_has_the_covariance_of_the_reads(pattern):
    readout, rate = Readout(pattern, 4), 30.0
    exposure = expose(rate, make_detector(square(256)), readout, NONE.but({"photon_noise": True}))
    n = readout.nframes
    reads = np.arange(1, 4 * n + 1)
    # the charge at reads a and b shares what came until the earlier of them
    of_reads = rate * GAIN * FRAME_TIME * np.minimum.outer(reads, reads)
    of_groups = of_reads.reshape(4, n, 4, n).mean(axis=(1, 3)) / GAIN**2
    np.testing.assert_allclose(covariance(exposure.counts), of_groups, rtol=0.03)


@pytest.mark.parametrize("pattern", ["NIS", "NISRAPID"])
def test_read_noise_averages_over_frames_and_not_over_groups(pattern):
    readout = Readout(pattern, 3)
    found = covariance(expose(0, make_detector(square(256)), readout, NONE.but({"read_noise": True})).counts)
    expected = READ_NOISE**2 / readout.nframes + 1 / 12  # whole DN
    np.testing.assert_allclose(np.diag(found), expected, rtol=0.03)
    assert np.abs(found - np.diag(np.diag(found))).max() < 0.03 * expected


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_mean_slope_is_the_rate(seed):
    detector, readout = make_detector(square(256), dark=np.full((256, 256), 0.02, np.float32)), Readout("NIS", 6)
    quiet = fx.Effects().but({"cosmic_rays": False, "snowballs": False, "column_jumps": False})
    exposure = expose(20.0, detector, readout, quiet, seed)
    read = exposure.counts.mean(axis=(1, 2)) - BIAS
    slope = np.polyfit(readout.group_times(detector.frame), read + C2 * read**2, 1)[0]
    assert slope == pytest.approx(20.02, rel=1e-3)
    np.testing.assert_allclose(exposure.truth["rate"], 20.0)


def test_noiseless_ramp_is_straight_once_linearised():
    detector, readout = make_detector(square(8)), Readout("NISRAPID", 10)
    counts = expose(300.0, detector, readout, NONE.but({"nonlinearity": True})).counts
    x = counts[:, 3, 3] - BIAS
    straight = 300.0 * readout.group_times(detector.frame)
    assert np.max(straight - x) > 1000
    np.testing.assert_allclose(x + C2 * x**2, straight, atol=0.5 * (1 + 2 * C2 * x.max()) + 0.01)


def test_saturated_reads_stop_above_the_level_and_are_flagged():
    detector, readout = make_detector(square(8)), Readout("NIS", 6)
    rate = np.full((8, 8), 10.0)
    rate[2, 5] = 450.0  # the well is full after 98 s, between the first and the second frame of the third group
    rate[6, 1] = 175.0  # the last read alone is above the level, and below the plateau
    exposure = expose(rate, detector, readout, NONE.but({"saturation": True}))
    flagged = exposure.mask("saturated")
    assert flagged[:, 2, 5].tolist() == [False, False, True, True, True, True]
    assert flagged[:, 6, 1].tolist() == [False] * 5 + [True]
    assert flagged.sum() == 5
    plateau = BIAS + WELL * (1 + ramp.PLATEAU)
    assert exposure.counts[3:, 2, 5].tolist() == [plateau] * 3
    assert BIAS + WELL < exposure.counts[2, 2, 5] < plateau
    free = expose(rate, detector, readout, NONE)
    assert free.counts[3, 2, 5] > plateau
    assert not free.mask("saturated").any()


def time_series(noise):
    """One output's pixels in the order of their reading, 12 missing pixel times per column filled in."""
    columns = noise[::-1, ::-1].T
    gaps = np.linspace(columns[:, -1], np.roll(columns[:, 0], -1), 14)[1:-1].T
    return np.concatenate([columns, gaps], axis=1).ravel()


@pytest.mark.parametrize("slope", [0.5, 1.0, 1.5])
def test_flicker_has_the_power_spectrum_that_it_states(slope):
    effect, frame, power = fx.Flicker(own=2.0, common=1.0, slope=slope), square(128), []
    for seed in range(20):
        noise = fx.flicker(effect, frame, np.random.default_rng(seed))
        power.append(np.abs(np.fft.rfft(time_series(noise))) ** 2)
    mean = np.mean(power, axis=0)
    edges = np.unique(np.geomspace(3, 128 * 140 / 60, 12).astype(int))
    bands = [mean[a:b].mean() for a, b in pairwise(edges)]
    found = np.polyfit(np.log((edges[:-1] + edges[1:]) / 2), np.log(bands), 1)[0]
    assert found == pytest.approx(-slope, abs=0.1)
    total = np.sqrt(np.mean([p[1:].sum() for p in power]) * 2) / len(time_series(noise))
    assert total == pytest.approx(np.hypot(2, 1), rel=0.1)


def test_flicker_stays_in_its_amplifier_and_runs_along_the_columns():
    own = fx.flicker(fx.Flicker(own=1.0, common=0.0), Frame.full(), np.random.default_rng(0))
    stripes = own.reshape(4, 512, 2048).mean(axis=1)
    stripes -= stripes.mean(axis=1, keepdims=True)
    halves = own.reshape(8, 256, 2048).mean(axis=1)
    assert np.corrcoef(halves[0], halves[1])[0, 1] > 0.5
    between = np.corrcoef(np.diff(stripes, axis=1))  # neighbouring columns: slow drifts correlate by chance
    assert np.abs(between - np.eye(4)).max() < 0.1
    assert own.mean(axis=0).std() > 5 * own[:512].mean(axis=1).std()
    common = fx.flicker(fx.Flicker(own=0.0, common=1.0), Frame.full(), np.random.default_rng(0))
    np.testing.assert_array_equal(common[:512], common[512:1024])


def test_flicker_averages_over_frames():
    effect = NONE.but({"flicker": {"own": 20.0, "common": 0.0}})
    spread = [
        np.std([expose(0, make_detector(square(64)), Readout(p, 2), effect, s).counts for s in range(20)])
        for p in ("NISRAPID", "NIS")
    ]
    assert spread[0] == pytest.approx(20 / GAIN, rel=0.1)
    assert spread[0] / spread[1] == pytest.approx(2, rel=0.1)


def table_of(exposure, cause):
    table = exposure.truth["deposits"]
    return table[table["cause"] == cause.encode()]


def test_cosmic_rays_of_the_truth_are_the_steps_of_the_ramp():
    detector, readout = make_detector(square(128)), Readout("NIS", 5)
    exposure = expose(0, detector, readout, NONE.but({"cosmic_rays": {"rate": 30.0}}))
    table = table_of(exposure, "cosmic_ray")
    assert len(table) > 500
    frames = np.zeros((20, 128, 128))
    np.add.at(frames, (table["frame"], table["y"], table["x"]), table["electrons"])
    groups = np.cumsum(frames, axis=0).reshape(5, 4, 128, 128).mean(axis=1)
    np.testing.assert_allclose(exposure.counts, BIAS + groups / GAIN, atol=0.51)
    flagged = exposure.mask("cosmic_ray")
    np.testing.assert_array_equal(flagged, (frames >= fx.TRACE).reshape(5, 4, 128, 128).any(axis=1))
    # where no group is flagged, nothing happened that could be seen
    quiet = ~flagged.any(axis=0)
    assert np.ptp(exposure.counts[:, quiet].astype(int), axis=0).max() < 2 * fx.TRACE / GAIN


def test_cosmic_rays_are_as_many_as_large_and_as_strong_as_in_flight():
    effect, shape, seconds = fx.CosmicRays(), (1024, 1024), 20 * FRAME_TIME
    rays = hits.cosmic_rays(effect, shape, 20, FRAME_TIME, np.random.default_rng(3))
    count = effect.rate * np.prod(shape) * fx.PIXEL_PITCH**2 * seconds
    assert (rays.electrons > 20).sum() / count == pytest.approx(7.1, abs=0.7)
    # one at a time: what the median ion leaves
    charges, shape = [], (200, 200)
    each = 1 / (effect.rate * np.prod(shape) * fx.PIXEL_PITCH**2)
    for seed in range(1000):
        one = hits.cosmic_rays(effect, shape, 1000, each / 1000, np.random.default_rng(seed))
        charges += [one.electrons[one.frame == f].sum() for f in np.unique(one.frame)]
    assert len(charges) == pytest.approx(1000, rel=0.1)
    assert np.median(charges) == pytest.approx(5200, rel=0.08)


def test_snowballs_have_saturated_cores_and_halos():
    shape = (512, 512)
    core, halo = hits.snowballs(fx.Snowballs(), shape, 400, FRAME_TIME, np.random.default_rng(5))
    frames = np.unique(core.frame)
    assert len(frames) == pytest.approx(400 * FRAME_TIME / 20 / 16, abs=10)
    assert core.electrons.min() / GAIN > WELL
    assert fx.TRACE <= halo.electrons.min() < halo.electrons.max() < 1.5 * fx.Snowballs().halo
    for frame in frames[:5]:
        mine, around = core.frame == frame, halo.frame == frame
        cy, cx = core.y[mine].mean(), core.x[mine].mean()
        reach = np.hypot(core.y[mine] - cy, core.x[mine] - cx).max()
        assert np.hypot(halo.y[around] - cy, halo.x[around] - cx).max() > 2 * reach
    exposure = expose(0, make_detector(square(512)), Readout("NISRAPID", 40), NONE.but(
        {"saturation": True, "snowballs": {"rate": 1.0}}))  # fmt: skip
    first = exposure.mask("snowball_core").argmax(axis=0)[exposure.mask("snowball_core").any(axis=0)]
    last = exposure.mask("saturated")[-1][exposure.mask("snowball_core").any(axis=0)]
    assert last.all()
    assert first.max() > 0


def test_column_jumps_are_rows_of_the_image_and_last():
    reference = np.zeros((64, 64), bool)
    reference[:, :4] = True
    detector = make_detector(square(64), reference_pixel=reference)
    exposure = expose(0, detector, Readout("NISRAPID", 8), NONE.but({"column_jumps": {"rate": 2e-3}}))
    flagged = exposure.mask("column_jump")
    assert flagged.any()
    steps = np.diff(exposure.counts.astype(int), axis=0)
    np.testing.assert_array_equal(steps != 0, flagged[1:])
    assert np.abs(steps[steps != 0]).min() >= 5
    assert np.all(steps == steps[:, :, :1])


def test_satellite_trail_crosses_in_one_frame():
    exposure = expose(0, make_detector(square(64)), Readout("NIS", 4), NONE.but({"trail": True}))
    table = table_of(exposure, "trail")
    assert len(np.unique(table["frame"])) == 1
    assert table["frame"][0] >= 1
    assert table["electrons"].max() == pytest.approx(fx.Trail().peak, rel=0.1)
    y, x = np.nonzero(exposure.mask("trail").any(axis=0))
    assert max(np.ptp(x), np.ptp(y)) == 63
    # along a line: the second moment across it is that of a strip of its width
    across = np.linalg.eigvalsh(np.cov(x, y))[0]
    assert across < (4 * fx.Trail().sigma) ** 2 / 3


def test_ghosts_lie_opposite_and_carry_their_share_of_the_light():
    gx, gy = fx.ghost_position(1000.0, 900.0, "F200W")
    assert (gx, gy) == pytest.approx((2 * 1155.9 - 1000, 2 * 943.3 - 900))
    assert fx.ghost_position(gx, gy, "F200W") == pytest.approx((1000, 900))
    assert fx.ghost_position(1000.0, 900.0, "F200W", grism=True) != (gx, gy)
    frame = Frame(1001, 801, 300, 300)
    x, y = 140.0, 120.0
    light = fx.ghosts(fx.Ghost(), frame, [(x, y, 5e4)], "F150W")
    assert light.sum() == pytest.approx(500, rel=0.01)
    rows, columns = np.indices(frame.shape)
    centre = (light * columns).sum() / light.sum() + 1000, (light * rows).sum() / light.sum() + 800
    assert centre == pytest.approx(fx.ghost_position(x + 1000, y + 800, "F150W"), abs=0.05)
    exposure = expose(1.0, make_detector(frame), Readout("NIS", 2), NONE.but({"ghost": True}), bright=[(x, y, 5e4)])
    assert exposure.mask("ghost").sum() == np.count_nonzero(light * GAIN * 8 * FRAME_TIME >= fx.TRACE)
    np.testing.assert_allclose(exposure.truth["rate"], 1 + light, rtol=1e-5)


def test_persistence_decays_fills_up_and_reaches_the_ramp():
    def let_go(fluence, start, stop, delay=30.0):
        return float(fx.persistence(fluence, delay, start, stop, WELL))

    assert let_go(1e5, 0, 100) > 2 * let_go(1e5, 100, 200) > 0
    assert let_go(1e5, 0, 200) == pytest.approx(let_go(1e5, 0, 100) + let_go(1e5, 100, 200))
    assert let_go(1e5, 50, 100, delay=30) == pytest.approx(let_go(1e5, 0, 50, delay=80))
    assert let_go(1e9, 0, 1e6, delay=0) == pytest.approx(WELL * sum(fx.Persistence().fractions))
    assert let_go(2e5, 0, 100) < 2 * let_go(1e5, 0, 100)

    fluence = np.zeros((16, 16))
    fluence[4, 7] = 1e6
    readout = Readout("NISRAPID", 10)
    exposure = expose(0, make_detector(square(16)), readout, NONE.but({"persistence": True}),
                      previous=ramp.Previous(fluence, 30.0))  # fmt: skip
    expected = [let_go(1e6, 0, t) for t in readout.group_times(square(16))]
    np.testing.assert_allclose(exposure.counts[:, 4, 7] - BIAS, expected, atol=0.51)
    assert np.argwhere(exposure.mask("persistence")).tolist() == [[4, 7]]


def test_scattered_light_is_broad_and_of_its_level():
    light = fx.scattered_light(fx.Scattered(level=25.0), (200, 300), np.random.default_rng(1))
    assert light.shape == (200, 300)
    assert light.mean() == pytest.approx(25)
    assert light.min() > 0
    assert np.abs(np.diff(light, axis=1)).max() < 0.05 * light.max()
    assert light.std() > 1


def scene():
    """A small corner of the detector in which every effect has something to do."""
    frame = Frame(1, 1, 48, 48)
    rng = np.random.default_rng(9)
    x, y = frame.coordinates()
    pixel = np.zeros(frame.shape, bool)
    hot, dead = pixel.copy(), pixel.copy()
    hot[20, 20], dead[30, 31] = True, True
    detector = make_detector(
        frame, hot=hot, dead=dead, reference_pixel=(x < 4) | (y < 4), dark=np.where(hot, 50, 0.2).astype(np.float32),
        bias=(BIAS + rng.normal(0, 40, frame.shape)).astype(np.float32),
        flat={name: (1 + 0.05 * rng.random(frame.shape)).astype(np.float32) for name in FILTERS},
    )  # fmt: skip
    rate = np.full(frame.shape, 5.0)
    rate[40, 40] = 2000
    gx, gy = fx.ghost_position(25.0, 25.0, "F150W")
    options = {"bright": [(gx, gy, 1e5)], "previous": ramp.Previous(np.full(frame.shape, 5e4), 10.0)}
    return rate, detector, Readout("NIS", 5), options


STRONG = {
    "cosmic_rays": {"rate": 200.0}, "snowballs": {"rate": 10.0}, "column_jumps": {"rate": 1e-3}, "trail": True,
    "scattered": True,
}  # fmt: skip


@pytest.mark.parametrize("name", [f.name for f in fields(fx.Effects)])
def test_every_switch_switches_its_effect_and_no_other(name):
    rate, detector, readout, options = scene()
    off = NONE.but({"dark": True}) if name == "hot_pixels" else NONE
    without = expose(rate, detector, readout, off, **options)
    with_it = expose(rate, detector, readout, off.but({name: STRONG.get(name, True)}), **options)
    again = expose(rate, detector, readout, off.but({name: False}), **options)
    np.testing.assert_array_equal(without.counts, again.counts)
    assert np.any(with_it.counts != without.counts)
    assert getattr(off.but({name: True}), name)
    assert {f.name for f in fields(fx.Effects) if getattr(off, f.name) != getattr(off.but({name: True}), f.name)} == {
        name
    }


def test_switching_one_effect_leaves_the_random_numbers_of_the_others_alone():
    rate, detector, readout, options = scene()
    everything = fx.Effects().but(STRONG).but({"cosmic_rays": {"rate": 3.0}, "persistence": False})
    full = expose(rate, detector, readout, everything, **options)
    part = expose(rate, detector, readout, everything.but({"cosmic_rays": False}), **options)
    hit = np.zeros(rate.shape, bool)
    table = table_of(full, "cosmic_ray")
    hit[table["y"], table["x"]] = True
    assert 0 < hit.mean() < 0.5
    np.testing.assert_array_equal(full.counts[:, ~hit], part.counts[:, ~hit])


@pytest.mark.parametrize(("name", "sigma"), [("read_noise", READ_NOISE), ("flicker", np.hypot(1, 3) / GAIN)])
def test_noises_draw_from_generators_of_their_own(name, sigma):
    detector, readout = make_detector(square(128)), Readout("NISRAPID", 4)
    others = fx.Effects().but({"cosmic_rays": False, "snowballs": False, "column_jumps": False})
    on, off = (
        expose(100.0, detector, readout, others.but({name: state})).counts.astype(int) for state in (True, False)
    )
    # the photons are the same ones, so that this noise alone is left; photon noise is 26 to 52 DN
    assert np.std(on - off) == pytest.approx(np.sqrt(sigma**2 + 1 / 6), rel=0.15)


def test_same_names_same_arrays_whatever_the_order():
    rate, detector, readout, options = scene()
    effects = fx.Effects().but(STRONG)

    def run(exposure, rng_for):
        return ramp.expose(rate, detector, readout, effects, rng_for, filter="F150W", **options)

    first = [run(e, names(4, e)) for e in ("a", "b")]
    second = [run(e, names(4, e)) for e in ("b", "a")][::-1]
    order = ("trail", "snowballs", "scattered", "read_noise", "flicker", "column_jumps", "photon_noise", "cosmic_rays")
    drawn = {name: seed_for(4, "a", name) for name in order}
    ahead = run("a", drawn.__getitem__)
    for one, other in [*zip(first, second, strict=True), (first[0], ahead)]:
        np.testing.assert_array_equal(one.counts, other.counts)
        for key in one.truth:
            np.testing.assert_array_equal(one.truth[key], other.truth[key])
    assert np.any(first[0].counts != first[1].counts)
    assert np.any(first[0].counts != run("a", names(5, "a")).counts)


def test_pixels_without_response_show_bias_only():
    rate, detector, readout, options = scene()
    exposure = expose(rate, detector, readout, replace(fx.Effects().but(STRONG), read_noise=False, flicker=None,
                                                       column_jumps=None), **options)  # fmt: skip
    blind = detector.dead | detector.reference_pixel
    np.testing.assert_allclose(exposure.counts[:, blind], np.broadcast_to(detector.bias[blind], (5, blind.sum())),
                               atol=0.51)  # fmt: skip
    np.testing.assert_array_equal(exposure.mask("dead"), detector.dead)
    np.testing.assert_array_equal(exposure.mask("reference_pixel"), detector.reference_pixel)
    np.testing.assert_array_equal(exposure.mask("hot"), detector.hot)
    assert np.all(exposure.truth["rate"][blind] == 0)


def test_light_that_cannot_be_is_refused():
    detector = make_detector(square(8))
    for rate in (np.full((8, 8), -1.0), np.full((8, 8), np.nan)):
        with pytest.raises(ValueError, match="negative or not finite"):
            expose(rate, detector, Readout("NIS", 2), NONE)
    with pytest.raises(ValueError, match="shape"):
        expose(np.ones((8, 9)), detector, Readout("NIS", 2), NONE)


def test_misspelt_effects_and_numbers_are_named():
    with pytest.raises(ValueError, match=r"cosmic_ray'.*cosmic_rays"):
        NONE.but({"cosmic_ray": True})
    with pytest.raises(ValueError, match=r"Flicker has no rms; it has own, common, slope"):
        NONE.but({"flicker": {"rms": 3}})
    with pytest.raises(ValueError, match="no numbers"):
        NONE.but({"dark": {"rate": 1}})
    assert NONE.but({"snowballs": {"radius": [3, 4]}}).snowballs.radius == (3, 4)


def test_truth_is_written_and_read_back(tmp_path):
    rate, detector, readout, options = scene()
    exposure = expose(rate, detector, readout, fx.Effects().but(STRONG), **options)
    path = tmp_path / "a_truth.fits"
    ramp.write_truth(path, exposure, Lineage.of("simulate_exposure", []))
    from astropy.io import fits

    assert fits.getheader(path)["SIMULATD"] is True
    truth = ramp.read_truth(path)
    assert set(truth) == set(exposure.truth)
    for name in (*ramp.PER_GROUP, *ramp.PER_PIXEL):
        np.testing.assert_array_equal(truth[name], exposure.mask(name))
    np.testing.assert_array_equal(truth["rate"], exposure.truth["rate"])
    np.testing.assert_array_equal(truth["deposits"]["electrons"], exposure.truth["deposits"]["electrons"])
    assert truth["deposits"]["cause"][0] == b"cosmic_ray"
