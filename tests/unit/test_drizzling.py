"""Drizzled exposures keep their flux, and their noise is known."""

import json

import numpy as np
import pytest
from pureparallel.core import drizzling, plot_mosaic
from pureparallel.core.drizzling import Sums
from scipy.ndimage import gaussian_filter, uniform_filter

SCRIPT = """
import json
import numpy as np
from drizzle.resample import Drizzle
from pureparallel.core import drizzling
from pureparallel.core.drizzling import Sums

rng = np.random.default_rng(1)
n, shape, found = 50, (120, 130), {}
y, x = np.mgrid[:n, :n].astype(float)

def positions(angle, dx, dy):
    u, v = x - 24.5, y - 24.5
    u, v = u + 1e-4 * u * v, v + 1e-4 * u**2  # distorted
    c, s = 1.6 * np.cos(angle), 1.6 * np.sin(angle)
    return np.stack([64 + dx + c * u - s * v, 60 + dy + s * u + c * v], axis=-1)

def area(at):
    a, b = np.gradient(at, axis=1), np.gradient(at, axis=0)
    return np.abs(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])

whole = slice(0, 120), slice(0, 130)
for pixfrac in (1.0, 0.8):
    ratios = []
    for angle in (0.0, 0.3, 0.9):
        at = positions(angle, *rng.uniform(0, 1, 2))
        data = np.zeros((n, n))
        data[25, 23:26] = 1.0, 20.0, 3.0
        image, weight, _ = drizzling.drizzle_one(data, np.full((n, n), 7.0), None, at, whole, pixfrac=pixfrac)
        ratios.append(float(image.sum() / (data * area(at)).sum()))
    found[f"flux {pixfrac}"] = ratios
found["weight"] = float(weight.sum() / (7.0 * n * n))

# a part of the grid holds what the whole does
part = slice(40, 70), slice(50, 90)
data = rng.normal(size=(n, n))
image, weight, _ = drizzling.drizzle_one(data, np.full((n, n), 7.0), None, at, whole, pixfrac=0.8)
small, small_weight, _ = drizzling.drizzle_one(data, np.full((n, n), 7.0), None, at, part, pixfrac=0.8)
found["part"] = float(max(np.abs(small - image[part]).max(), np.abs(small_weight - weight[part]).max()))

# exposures one by one, against the library's own sum; and errors against what noise does
maps = [positions(a, *rng.uniform(-2, 2, 2)) for a in (0.1, 0.1, 1.2)]
sigma = [1.0, 0.7, 1.5]
weights = [np.where(rng.uniform(size=(n, n)) < 0.02, 0, 1 / s**2) for s in sigma]
library = Drizzle(out_shape=shape, fillval="0", disable_ctx=True)
draws = []
for draw in range(200):
    sums = Sums.empty(shape)
    for at, s, w in zip(maps, sigma, weights):
        noise = rng.normal(0, s, (n, n)).astype(np.float32)
        image, weight, variance = drizzling.drizzle_one(noise, w, np.full((n, n), s**2), at, whole, pixfrac=1.0)
        sums.add(whole, image, weight, variance, 100.0)
        if draw == 0:
            library.add_image(noise, 1.0, at, weight_map=w.astype(np.float32), pixfrac=1.0)
    image, error, weight, seconds = sums.finish()
    if draw == 0:
        covered = weight > 0
        found["library"] = float(np.abs(image - library.out_img)[covered].max())
        found["holes"] = bool(np.isnan(image[~covered]).all() and (seconds[~covered] == 0).all())
        found["seconds"] = sorted(set(seconds[covered].tolist()))
    draws.append(image)
middle = np.s_[50:72, 54:76]
draws = np.array(draws)
found["error"] = float(np.sqrt(np.mean((draws / error)[(slice(None), *middle)] ** 2)))
sums = draws[(slice(None), *middle)].sum(axis=(1, 2))
factor = drizzling.correlation(error, weight)
found["aperture"] = float(sums.std() / (np.sqrt((error[middle] ** 2).sum()) * factor))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(run_in, tmp_path_factory):
    """What the script measures, where the library is installed."""
    return json.loads(run_in("jwst", "python", "-c", SCRIPT, cwd=tmp_path_factory.mktemp("drizzle")).stdout)


def test_full_drops_keep_the_flux_of_a_single_pixel_whatever_the_angle(found):
    np.testing.assert_allclose(found["flux 1.0"], 1, atol=2e-3)
    # the reason for the default: one exposure in smaller drops does not
    assert np.abs(np.array(found["flux 0.8"]) - 1).max() > 0.01
    assert found["weight"] == pytest.approx(1, abs=1e-4)


def test_a_part_of_the_grid_is_that_of_the_whole(found):
    assert found["part"] < 1e-5


def test_exposures_one_by_one_are_all_at_once(found):
    assert found["library"] < 1e-4
    assert found["holes"]
    assert found["seconds"] == [100.0, 200.0, 300.0]


def test_errors_are_those_of_the_noise_in_pixels_and_in_apertures(found):
    assert found["error"] == pytest.approx(1, abs=0.03)
    assert found["aperture"] == pytest.approx(1, abs=0.15)  # of 200 draws, and 22 pixels are not infinitely many


def test_weights_do_not_know_the_sources():
    rng = np.random.default_rng(1)
    read = np.full((50, 50), 0.04)
    variance = read + 0.02
    variance[20:25, 20:25] += 5.0  # a bright source
    good = rng.uniform(size=(50, 50)) > 0.01
    sky = drizzling.sky_variance(variance, read, good)
    np.testing.assert_allclose(sky, 0.06, rtol=1e-6)
    noisy = read.copy()
    noisy[3, 3] = 1.0
    assert drizzling.sky_variance(noisy + 0.02, noisy, good)[3, 3] == pytest.approx(1.02)
    assert np.isnan(drizzling.sky_variance(variance, read, np.zeros_like(good))).all()


def test_sums_do_not_depend_on_the_order():
    rng = np.random.default_rng(2)
    box = slice(1, 5), slice(0, 6)
    parts = [[rng.uniform(0, 1, (4, 6)).astype(np.float32) for _ in range(3)] for _ in range(3)]
    parts[0][1][:] = 0
    results = []
    for order in ([0, 1, 2], [2, 0, 1]):
        sums = Sums.empty((7, 8))
        for i in order:
            sums.add(box, *parts[i], 10.0 * (i + 1))
        results.append(sums.finish())
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    data, error, weight, seconds = results[0]
    mean = sum(d * w for d, w, _ in parts) / sum(w for _, w, _ in parts)
    np.testing.assert_allclose(data[box], mean, rtol=1e-5)
    spread = np.sqrt(sum(v * w**2 for _, w, v in parts)) / sum(w for _, w, _ in parts)
    np.testing.assert_allclose(error[box], spread, rtol=1e-5)
    assert (seconds[box] == 50).all()
    assert np.isnan(data[0]).all() and np.isnan(error[6]).all() and weight[0, 0] == 0


def test_empty_apertures_measure_noise_and_not_sources():
    rng = np.random.default_rng(3)
    white = rng.normal(0, 2.0, (400, 400)).astype(np.float32)
    error = np.full_like(white, 2.0)
    found = drizzling.empty_apertures(white, error, 8, 1.0)
    assert found["pull"] == pytest.approx(1, abs=0.05)
    assert found["sigma"] == pytest.approx(16, rel=0.05)
    assert found["median"] == pytest.approx(0, abs=0.1)
    sources = white.copy()
    for y, x in rng.integers(20, 380, (30, 2)):
        sources[y - 4 : y + 5, x - 4 : x + 5] += 30
    sources[:, :40] = np.nan
    assert drizzling.empty_apertures(sources, error, 8, 1.0)["pull"] == pytest.approx(1, abs=0.1)
    # neighbours that share their noise: errors of pixels alone would be far too small
    smooth = gaussian_filter(white, 1.0)
    pixel = np.full_like(white, smooth.std())
    factor = 2.0 / smooth.std()
    shared = 1 - 2 / (np.sqrt(np.pi) * 8)  # of a Gaussian of 1 pixel, within an aperture of 8
    assert drizzling.empty_apertures(smooth, pixel, 8, factor)["pull"] == pytest.approx(shared, abs=0.05)
    assert drizzling.empty_apertures(smooth, pixel, 8, 1.0)["pull"] > 2
    assert np.isnan(drizzling.empty_apertures(np.full_like(white, np.nan), error, 8, 1.0)["pull"])


def test_the_middle_is_that_of_what_is_used():
    used = np.zeros(100, bool)
    used[20:61] = True
    assert drizzling.middle(used, 11) == slice(35, 46)
    assert drizzling.middle(used, 41) == drizzling.middle(used, 500) == slice(20, 61)


def test_correlation_is_what_conserved_weights_say():
    # drops of 2 x 2 pixels, evenly: a pixel has the variance of its drop, and a fourth of its weight
    drops = np.random.default_rng(4).normal(0, 3.0, (200, 200)).astype(np.float32)
    data = drops.repeat(2, axis=0).repeat(2, axis=1)
    error, weight = np.full_like(data, 3.0), np.full_like(data, 1 / 9 / 4)
    factor = drizzling.correlation(error, weight)
    assert factor == pytest.approx(2)
    sums = uniform_filter(data.astype(float), 20)[10::20, 10::20] * 400
    assert sums.std() == pytest.approx(20 * 3.0 * factor, rel=0.1)
    assert np.isnan(drizzling.correlation(error, np.zeros_like(weight)))


def test_pictures_keep_colours_and_show_where_nothing_is():
    rng = np.random.default_rng(5)
    bands = [rng.normal(0, 1, (40, 50)) for _ in range(3)]
    bands[2][10, 10] = 60.0  # reddest
    bands[0][20, 20] = 60.0
    for band in bands:
        band[30, 30] = 1e4
        band[:, :5] = np.nan
    bands[0][:, 45:] = np.nan
    picture = plot_mosaic.rgb(bands)
    assert picture.shape == (40, 50, 3) and picture.min() >= 0 and picture.max() <= 1
    red, blue, bright = picture[10, 10], picture[20, 20], picture[30, 30]
    assert red[0] > 3 * red[2] and blue[2] > 3 * blue[0]
    np.testing.assert_allclose(bright, bright[0], rtol=0.01)
    assert (picture[:, :5] == 1).all()
    assert np.isfinite(picture[:, 45:]).all() and picture[:, 45:].mean() < 0.5
    assert plot_mosaic.rgb(bands[:1]).shape == (40, 50, 3)


def test_means_ignore_what_is_missing():
    image = np.arange(12.0).reshape(3, 4)
    image[0, 0] = np.nan
    found = plot_mosaic.means(image, 2)
    np.testing.assert_allclose(found, [[(1 + 4 + 5) / 3, (2 + 3 + 6 + 7) / 4], [8.5, 10.5]])
    assert np.isnan(plot_mosaic.means(np.full((2, 2), np.nan), 2)).all()
