import numpy as np
import pytest
from pureparallel.core import completeness, matching
from pureparallel.core import matching_scores as scores
from pureparallel.core.matching_scores import Found, Truth


def points(*xy):
    return np.array(xy, float)


def test_a_chain_of_blends_is_one_source_where_its_light_is():
    xy = points((0, 0), (5, 5), (0.15, 0), (0.3, 0))
    light = np.array([3.0, 1.0, 1.0, 1.0])
    numbers = matching.blends(xy, 0.2)
    assert numbers[0] == numbers[2] == numbers[3] != numbers[1]
    assert matching.brightest(numbers, light).tolist() == [0, 1]
    assert matching.centroids(xy, numbers, light) == pytest.approx(points((0.45 / 5, 0), (5, 5)))
    assert len(set(matching.blends(xy, 0.0))) == 4


def test_matches_are_one_to_one_and_near():
    true = points((0, 0), (1, 0), (3, 0))
    found = points((0.02, 0), (0.05, 0), (1.4, 0), (3.0, 0.19))
    flux = np.ones(4)
    partner = matching.match(found, true, np.full(3, 0.2), flux, np.ones(3))
    assert partner.tolist() == [0, -1, -1, 2]
    assert matching.match(found[:0], true, np.full(3, 0.2), flux[:0], np.ones(3)).tolist() == []


def test_a_faint_source_nearer_by_chance_does_not_take_the_bright_one_s_place():
    true, found = points((0.1, 0), (0.0, 0)), points((0.02, 0))
    light = np.array([100.0, 0.5])
    assert matching.match(found, true, np.full(2, 0.2), np.array([90.0]), light).tolist() == [0]
    assert matching.match(found, true, np.full(2, 0.2), np.array([0.6]), light).tolist() == [1]
    assert matching.match(found, true, np.full(2, 0.2), np.array([np.nan]), light).tolist() == [1]


def test_a_field_off_as_a_whole_is_recognised_by_its_pattern():
    rng = np.random.default_rng(1)
    true = rng.uniform(-30, 30, (150, 2))
    seen = rng.choice(150, 60, replace=False)
    found = np.concatenate([true[seen] + [-0.4, 1.1] + rng.normal(0, 0.02, (60, 2)), rng.uniform(-30, 30, (20, 2))])
    assert matching.frame_shift(found, true) == pytest.approx([-0.4, 1.1], abs=0.02)
    assert matching.frame_shift(true, found) == pytest.approx([0.4, -1.1], abs=0.02)


def test_a_field_without_a_pattern_stays_where_it_is():
    rng = np.random.default_rng(2)
    assert matching.frame_shift(*rng.uniform(-30, 30, (2, 60, 2))).tolist() == [0, 0]
    assert matching.frame_shift(np.zeros((0, 2)), np.zeros((5, 2))).tolist() == [0, 0]


def test_light_of_neighbours_counts_in_every_filter():
    xy = points((0, 0), (1, 0), (10, 0), (11, 0))
    light = np.array([[100.0, 100], [0.5, 2.0], [100.0, 100], [0.5, 0.5]])
    assert matching.isolated(xy, light, 1.5, 0.01).tolist() == [False, False, True, False]


def test_wings_of_bright_stars_reach_far():
    xy = points((0, 0), (3, 0), (8, 0), (30, 0))
    light = np.array([[1000.0], [1.0], [1.0], [1.0]])
    # a thousandth of a thousand at 1.5 is an eighth at 3 and less than a hundredth at 8
    assert matching.isolated(xy, light, 1.5, 0.01).tolist() == [True, False, True, True]
    assert matching.isolated(xy, light, 1.5, 0.13).tolist() == [True, True, True, True]


def test_pairs_are_alike_apart_and_undisturbed():
    xy = points((0, 0), (0.5, 0), (5, 0), (5.5, 0), (10, 0), (10.5, 0), (10.9, 0), (20, 0), (20.1, 0))
    light = np.array([2.0, 1.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    close = matching.pairs(xy, light, 0.2, 0.6, 4.0, 0.6)
    assert (close.first.tolist(), close.second.tolist()) == ([0], [1])
    assert close.separation == pytest.approx([0.5])
    assert len(matching.pairs(xy[:0], light[:0], 0.2, 0.6, 4.0, 0.6).first) == 0


def test_a_matched_filter_gathers_the_signal_to_noise_it_should():
    # against an image: a Gaussian source in white noise, weighted by its own profile
    pixel, radius, flux, noise = 0.04, 0.2, 7.0, 0.05
    sigma = np.hypot(completeness.PSF_SIGMA, radius / completeness.HALF_LIGHT) / pixel
    y, x = np.mgrid[-60:61, -60:61]
    profile = np.exp(-(x**2 + y**2) / 2 / sigma**2) / (2 * np.pi * sigma**2)
    expected = flux * np.sqrt((profile**2).sum()) / noise
    found = completeness.expected_snr(np.array([[flux, 3.0]]), np.array([[noise, np.nan]]), np.array([radius]), pixel)
    assert found == pytest.approx([expected], rel=1e-3)
    two = completeness.expected_snr(np.array([[flux, flux]]), np.array([[noise, noise]]), np.array([radius]), pixel)
    assert two == pytest.approx(np.sqrt(2) * found)


def test_limits_of_fractions_hold_what_they_promise():
    rng = np.random.default_rng(1)
    true = rng.uniform(0, 1, 20000)  # of any single one, counts being whole, they hold more or less
    least, most = completeness.wilson(rng.binomial(40, true), 40)
    assert np.mean((least <= true) & (true <= most)) == pytest.approx(0.68, abs=0.02)
    least, most = completeness.wilson([0, 5, 0], [5, 5, 0])
    assert least[0] == pytest.approx(0, abs=1e-12)
    assert most[1] == pytest.approx(1)
    assert (least[2], most[2]) == (0, 1)


def test_depth_is_where_the_fraction_falls_for_good():
    magnitude = np.repeat(np.arange(20.25, 28, 0.5), 10)
    seen = magnitude < 25.5
    seen[3] = False  # one bright one is lost
    rows = completeness.fractions(magnitude, seen, np.arange(20, 28.1, 0.5).tolist())
    assert [row["sources"] for row in rows] == [10] * 16
    assert rows[0]["fraction"] == 0.9
    assert completeness.depth(rows) == pytest.approx(25.5)
    assert np.isnan(completeness.depth(rows[:5]))


def catalogue(count=400, seed=1):
    """Truth on a grid of positions, and a catalogue that has all of it, rightly."""
    rng = np.random.default_rng(seed)
    side = int(np.sqrt(count))
    xy = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) * 4.0
    light = np.exp(rng.uniform(np.log(3), np.log(100), (len(xy), 1))) * np.ones((1, 2))
    z = rng.uniform(0.5, 4, len(xy))
    star = np.arange(len(xy)) % 4 == 0
    true = Truth(
        xy, light, light[:, 0] * 10, np.full(len(xy), 0.1), star, np.where(star, np.nan, z), np.ones(len(xy), bool),
        np.ones(len(xy), bool),
    )  # fmt: skip
    grid = np.linspace(0, 6, 601)
    estimate = z + rng.normal(0, 0.05, len(z))
    pz = np.exp(-((grid - estimate[:, None]) ** 2) / 2 / 0.05**2)
    error = np.full_like(light, 0.02)
    found = Found(
        xy + rng.normal(0, 0.004, xy.shape), light + error * rng.normal(size=light.shape), error, light[:, 0] * 10,
        np.ones(len(xy), bool), np.ones(light.shape, bool), estimate, np.full(len(z), 0.1), pz, grid,
    )  # fmt: skip
    return true, found


def test_scores_of_a_right_catalogue():
    true, found = catalogue()
    partner = scores.partners(found, true, 0)
    assert partner.tolist() == list(range(400))
    counted = scores.counts(found, true, partner, 0)
    assert counted["complete"]["fraction"] == counted["pure"]["fraction"] == 1
    assert counted["snr_over_expected"] == pytest.approx(1)
    off = scores.astrometry(found, true, partner, np.zeros(2))
    assert off["absolute_rms"] == pytest.approx(4, rel=0.1)
    flux = scores.photometric(found, true, partner, 1)
    assert flux["bias"] == pytest.approx(0, abs=1e-3)
    assert flux["pull_width"] == pytest.approx(1, abs=0.1)
    assert (flux["stars"]["sources"], flux["galaxies"]["sources"]) == (100, 300)
    z = scores.redshift_scores(found, true, partner)
    assert z["sources"] == 300  # stars have no redshift
    assert z["within_68"] == pytest.approx(0.68, abs=0.08)


def test_scores_see_what_is_wrong():
    from dataclasses import replace

    true, found = catalogue()
    rng = np.random.default_rng(2)
    kept = rng.uniform(size=400) < 0.8
    false = rng.uniform(0, 76, (40, 2)) + 0.7
    wrong = replace(
        found,
        xy=np.concatenate([found.xy[kept] + [0.03, -0.01], false]),
        flux=np.concatenate([found.flux[kept] * [1.05, 1.0], np.ones((40, 2))]),
        error=np.concatenate([found.error[kept] / 2, np.full((40, 2), 0.1)]),
        snr=np.concatenate([found.snr[kept], np.full(40, 10.0)]),
        clean=np.concatenate([np.ones(kept.sum(), bool), np.arange(40) >= 20]),
        whole=np.ones((kept.sum() + 40, 2), bool),
        z=np.concatenate([found.z[kept] + 1, np.full(40, 1.0)]),
        risk=np.full(kept.sum() + 40, 0.5),
        pz=np.concatenate([found.pz[kept], np.ones((40, 601))]),
    )
    partner = scores.partners(wrong, true, 0)
    counted = scores.counts(wrong, true, partner, 0)
    assert counted["complete"]["fraction"] == pytest.approx(kept.mean(), abs=0.005)
    assert counted["doubtful"] == 20
    assert counted["pure"]["fraction"] == pytest.approx(kept.sum() / (kept.sum() + 20), abs=0.01)
    off = scores.astrometry(wrong, true, partner, np.zeros(2))
    assert (off["mean_east"], off["mean_north"]) == pytest.approx((30, -10), abs=1)
    assert off["relative_rms"] == pytest.approx(4, rel=0.1)
    blue, red = (scores.photometric(wrong, true, partner, i) for i in (0, 1))
    assert blue["bias"] == pytest.approx(0.05, abs=3e-3)
    assert red["bias"] == pytest.approx(0, abs=3e-3)
    assert red["pull_width"] == pytest.approx(2, abs=0.3)
    z = scores.redshift_scores(wrong, true, partner)
    assert z["outliers"] > 0.9
    assert z["sure"]["sources"] == 0
    assert z["within_68"] == pytest.approx(0.68, abs=0.1)  # P(z) was left alone


def test_flagged_photometry_is_not_judged():
    true, found = catalogue()
    found.flux[:150, 0] *= 1.2
    found.whole[:150, 0] = False
    blue, red = (scores.photometric(found, true, scores.partners(found, true, 0), i) for i in (0, 1))
    assert (blue["sources"], red["sources"]) == (250, 400)
    assert blue["bias"] == pytest.approx(0, abs=2e-3)


def test_what_is_off_the_data_is_not_missed_and_what_lies_on_something_else_is_not_real():
    from dataclasses import replace

    true, found = catalogue()
    true = replace(true, covered=np.arange(400) < 390)
    part = {
        name: getattr(found, name)[:390] for name in ("xy", "flux", "error", "snr", "clean", "whole", "z", "risk", "pz")
    }
    found = replace(found, **part)
    found.flux[:10] *= 10  # the places are right, what is there is not
    partner = scores.partners(found, true, 0)
    counted = scores.counts(found, true, partner, 0)
    assert counted["true"] == 390
    assert counted["complete"]["fraction"] == pytest.approx(380 / 390)
    assert counted["pure"]["fraction"] == pytest.approx(380 / 390)


def test_pairs_need_a_source_for_each():
    from dataclasses import replace

    xy = points((0, 0), (0.5, 0), (10, 0), (10.5, 0), (20, 0), (20.7, 0))
    light = np.ones((6, 1))
    yes = np.ones(6, bool)
    members = Truth(xy, light, np.full(6, 50.0), np.zeros(6), ~yes, np.ones(6), yes, yes)
    _, found = catalogue(4)
    found = replace(found, xy=xy[[0, 1, 2, 4, 5]], flux=np.ones((5, 1)))
    rows = scores.deblended(found, members, 0)
    middle, far = (next(row for row in rows if row["low"] == low) for low in (0.4, 0.6))
    assert (middle["sources"], middle["fraction"]) == (2, 0.5)
    assert (far["sources"], far["fraction"]) == (1, 1.0)
    dim = replace(members, snr=np.full(6, 5.0))
    assert sum(row["sources"] for row in scores.deblended(found, dim, 0)) == 0
