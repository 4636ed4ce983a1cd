import numpy as np
import pytest
from pureparallel.core import photoz
from pureparallel.core.redshift import log_grid


@pytest.fixture
def grid():
    return log_grid(0.05, 12, 0.01)


def peaks(grid, *parts):
    """P(z) of Gaussians in ln(1+z): (z, sigma, share)."""
    x = np.log1p(grid)
    density = sum(share / width * np.exp(-(((x - np.log1p(z)) / width) ** 2) / 2) for z, width, share in parts)
    total = density * np.gradient(x)
    return (total / total.sum())[None]


def test_bins_share_the_range_without_gaps(grid):
    assert photoz.widths(grid).sum() == pytest.approx(grid[-1] - grid[0])
    assert photoz.flat(grid).sum() == pytest.approx(1)
    inner = photoz.flat(grid)[1:-1]
    assert inner / photoz.widths(grid)[1:-1] == pytest.approx(1 / (grid[-1] - grid[0]))


def test_a_sharp_peak_is_its_own_summary(grid):
    found = photoz.summarise(grid, peaks(grid, (2.0, 0.02, 1)))
    assert found.z[0] == found.mode[0] == pytest.approx(2.0, abs=0.02)
    assert found.median[0] == pytest.approx(2.0, abs=0.02)
    assert (found.high[0] - found.low[0]) / 2 == pytest.approx(0.02 * 3 * 0.994, rel=0.05)
    assert found.risk[0] < 0.03


def test_the_best_redshift_follows_probability_and_not_the_highest_peak(grid):
    # a needle with a third of the probability stands higher than the hill with two thirds
    found = photoz.summarise(grid, peaks(grid, (4.0, 0.01, 1 / 3), (1.0, 0.06, 2 / 3)))
    assert found.mode[0] == pytest.approx(4.0, abs=0.05)
    assert found.z[0] == pytest.approx(1.0, abs=0.08)
    assert 0.3 < found.risk[0] < 0.5


def test_the_best_redshift_is_on_a_peak_where_the_median_is_between(grid):
    found = photoz.summarise(grid, peaks(grid, (0.5, 0.03, 0.49), (2.0, 0.3, 0.02), (5.0, 0.03, 0.49)))
    assert min(abs(found.z[0] - 0.5), abs(found.z[0] - 5.0)) < 0.05
    assert 0.7 < found.median[0] < 4.8


def test_knowing_nothing_is_a_risk(grid):
    found = photoz.summarise(grid, photoz.flat(grid)[None])
    assert found.risk[0] > 0.6
    assert found.low[0] == pytest.approx(0.05 + 0.16 * (12 - 0.05), rel=1e-3)


def test_a_draw_from_p_of_z_is_uniform_below(grid):
    rng = np.random.default_rng(1)
    pz = peaks(grid, (0.7, 0.05, 0.4), (3.0, 0.1, 0.6))
    x = np.where(rng.uniform(size=4000) < 0.4, rng.normal(np.log(1.7), 0.05, 4000), rng.normal(np.log(4), 0.1, 4000))
    below = photoz.below(grid, np.repeat(pz, 4000, axis=0), np.expm1(x))
    assert np.histogram(below, 10, (0, 1))[0] == pytest.approx(400, abs=80)
    assert np.mean((below > 0.16) & (below < 0.84)) == pytest.approx(0.68, abs=0.03)


def test_fainter_galaxies_are_expected_farther(grid):
    prior = photoz.magnitude_prior(grid, np.array([20.0, 22, 24, 26]))
    assert prior.sum(axis=1) == pytest.approx(1)
    median = photoz.percentiles(grid, prior, (0.5,))[:, 0]
    assert (np.diff(median) > 0.1).all()
    # VVDS found a median of about 0.75 at 22.5 < I < 24 (Le Fèvre et al. 2005)
    sharp = photoz.magnitude_prior(grid, np.array([23.3]), uniform=0)
    assert photoz.percentiles(grid, sharp, (0.5,))[0, 0] == pytest.approx(0.75, abs=0.15)


def test_a_prior_rules_nothing_out_and_one_without_magnitude_is_flat(grid):
    prior = photoz.magnitude_prior(grid, np.array([15.0, 20.0, 40.0, 27.0, np.nan]))
    assert (prior >= 0.1999 * photoz.flat(grid)).all()
    assert prior[0] == pytest.approx(prior[1])
    assert prior[2] == pytest.approx(prior[3])
    assert prior[4] == pytest.approx(photoz.flat(grid))


def test_the_magnitude_is_that_of_the_filter_nearest_to_the_prior_s():
    wave = np.array([1.15, 1.5, 2.0])
    flux = np.array([[1.0, 10.0, 1.0], [1.0, np.nan, 10.0], [1.0, -5.0, 1.0], [np.nan] * 3])
    found = photoz.i_magnitude(flux, np.full((4, 3), 0.1), wave)
    faint = 23.9 - 2.5 * np.log10(0.2)  # of twice the error
    assert found[:3] == pytest.approx([21.4 + 0.8, 23.9 + 0.5, faint + 0.8])
    assert np.isnan(found[3])


def test_errors_that_grow_with_redshift_do_not_make_a_redshift_likely():
    # chi2 falls where the templates' errors grow; the logarithm of the variance weighs that up
    rng = np.random.default_rng(2)
    relative = np.array([[0.1] * 4, [0.5] * 4])
    true, error = np.full((200000, 4), 10.0), np.full((200000, 4), 0.1)
    spread = relative[rng.integers(0, 2, 200000)]
    flux = true * (1 + spread * rng.normal(size=true.shape))
    chi2 = np.stack([((flux - true) ** 2 / (error**2 + (one * true) ** 2)).sum(axis=1) for one in relative], axis=1)
    fixed = photoz.log_variance(true, error, relative)
    probability = photoz.probability(-(chi2 + fixed) / 2, np.full(2, 0.5))
    for low in (0.0, 0.4, 0.8):
        some = (probability[:, 0] >= low) & (probability[:, 0] < low + 0.2)
        assert np.mean(spread[some, 0] == 0.1) == pytest.approx(probability[some, 0].mean(), abs=0.05)


def test_what_is_no_measurement_counts_for_nothing():
    flux, error = np.array([[1.0, 5.0, np.nan, 7.0]]), np.array([[0.1, np.nan, 0.1, 0.0]])
    assert photoz.usable(flux, error).tolist() == [[True, False, False, False]]
    total = photoz.log_variance(flux, error, np.array([[0.0, 9, 9, 9]]))
    assert total[0, 0] == pytest.approx(np.log(0.01))


def test_a_floor_is_of_positive_flux_only():
    assert photoz.with_floor(np.array([10.0, -10.0]), np.array([0.3, 0.3]), 0.04) == pytest.approx([0.5, 0.3])


def test_templates_are_known_best_in_the_optical():
    error = photoz.template_error(np.array([0.12, 0.2, 0.55, 0.9, 2.0, 5.0]))
    assert error[2] == error[3] == error.min()
    assert error[1] == pytest.approx(2 * error[2])
    assert (np.diff(error[:3]) < 0).all()
    assert (np.diff(error[3:]) > 0).all()


def test_scores_see_bias_scatter_and_outliers():
    rng = np.random.default_rng(3)
    true = rng.uniform(0.5, 3, 5000)
    z = true + (1 + true) * rng.normal(0.01, 0.02, 5000)
    z[:500] = true[:500] + 3
    found = photoz.score(z, true)
    assert found["bias"] == pytest.approx(0.013, abs=0.004)  # a tenth of outliers on one side draws the median
    assert found["nmad"] == pytest.approx(0.023, abs=0.003)
    assert found["outliers"] == pytest.approx(0.1, abs=0.001)
    assert np.isnan(photoz.score(z[:0], true[:0])["nmad"])
