"""Light in apertures, totals of galaxies, and the noise of empty sky; measured where photutils is installed."""

import json

import numpy as np
import pytest

SCRIPT = """
import json
import numpy as np
from pureparallel.core import apertures, fluxes, profiles
from pureparallel.core.apertures import Ellipse
from scipy.ndimage import gaussian_filter, shift
from scipy.signal import fftconvolve
from scipy.special import gammaincinv

rng, found = np.random.default_rng(1), {}
size = 61
v, u = np.mgrid[-size : size + 1, -size : size + 1].astype(float)
psf = np.exp(-0.5 * (u**2 + v**2) / 1.8**2)
psf = 0.9 * psf / psf.sum()
wide = np.exp(-0.5 * (u**2 + v**2) / 9**2)
psf += 0.1 * wide / wide.sum()

found["area"] = [float(Ellipse(5.0, 2.0, 30).cover(0.3, -0.2, 8).sum() / (np.pi * 10))]
cover = Ellipse(6.0, 2.0, 30).cover(0.0, 0.0, 8)
x, y = (one[53:70, 53:70] for one in (u, v))
tilt = np.arctan2(2 * (cover * x * y).sum(), (cover * (x**2 - y**2)).sum()) / 2
found["axis"] = float(np.rad2deg(tilt))
gaussian = np.exp(-0.5 * (u**2 + v**2) / 16) / (2 * np.pi * 16)
found["growth"] = (apertures.growth(gaussian, [4, 8, 12]) - (1 - np.exp(-0.5 * np.array([1, 4, 9])))).tolist()

# a galaxy on its own, a quarter of it behind a neighbour, and one whose middle is missing
def galaxy(index, size, ratio=1.0, angle=0.0, fine=5):
    n = (2 * 61 + 1) * fine
    y, x = ((np.mgrid[:n, :n] + 0.5) / fine - (61 + 0.5))
    a = np.deg2rad(angle)
    r = np.hypot(np.cos(a) * x + np.sin(a) * y, (-np.sin(a) * x + np.cos(a) * y) / ratio)
    r = np.hypot(r, 0.35 / fine)  # the peak of a pixel is not its mean
    b = gammaincinv(2 * index, 0.5)
    light = np.exp(-b * (r / size) ** (1 / index)) * np.clip(profiles.REACH + 0.5 - r / size, 0, 1.5) / 1.5
    image = light.reshape(n // fine, fine, n // fine, fine).sum(axis=(1, 3))
    return fftconvolve(image / image.sum(), psf, mode="same")

library = profiles.library(psf, 40.0)
found["within"] = []
sizes = np.geomspace(0.3, 40.0, 40)
for index, row in ((0.8, 19), (1.2, 15), (1.8, 22)):
    image, near = galaxy(index, sizes[row]), profiles.INDICES.index(index) * 40 + row
    expected = apertures.growth(image, [4, 10, 20])
    found["within"].append((library.inside([4, 10, 20])[near] / expected - 1).tolist())

def measured(image, segments, weight, noise, theta=0.0, a=12.0, b=12.0, points=False):
    unit = apertures.Noise(np.array([4.0]), np.array([99.0]), np.array([1.0]), np.array([0.0]), noise, 0.5)
    source = fluxes.Shape(1, 61.0, 61.0, Ellipse(a, b, theta))
    sums = fluxes.measure(fluxes.Image(image, weight, np.zeros_like(image), unit), segments, [source], [3.0, 6.0], 5.0)
    within = float(apertures.growth(psf, [5.0])[0])
    total = fluxes.totals([sums], [source], np.array([points]), library, 5.0, within)
    return sums, total

plain, weight = np.ones((123, 123), np.int32), np.ones((123, 123))
found["totals"], found["pulls"] = {}, []
for index in (0.6, 1.0, 2.0, 3.5):
    for ratio in (1.0, 0.4):
        image = galaxy(index, 5.0, ratio, 40.0)
        kron = 18.0 if index <= 1 else 24.0
        sums, total = measured(100 * image, plain, weight, 1e-4, 40.0, kron, max(kron * ratio, 8.0))
        found["totals"][f"{index} {ratio}"] = float(sums.colour[0][0] * total.scale[0] / 100)
        found.setdefault("raw", []).append(float(sums.total[0][0] / 100))
point = 100 * psf
sums, total = measured(point, plain, weight, 1e-4, points=True)
found["point"] = [float(sums.colour[0][0] * total.scale[0] / 100), float(total.scale_error[0])]
sums, total = measured(100 * galaxy(1.0, 5.0), plain, weight, 1e-4, a=18.0, b=18.0, points=True)
found["not a point"] = float(sums.colour[0][0] * total.scale[0] / 100)
found["faint"], base = [], galaxy(1.0, 3.0) * 100
for _ in range(150):
    sums, total = measured(base + rng.normal(0, 0.25, (123, 123)), plain, weight, 0.25)
    light, error = sums.colour
    flux = light[0] * total.scale[0]
    found["faint"].append([float(flux / 100), float(np.hypot(error[0] / light[0], total.scale_error[0]))])

segments = plain.copy()
segments[:, 66:] = 2
covered = point + np.where(segments == 2, 50.0, 0)
sums, _ = measured(covered, segments, weight, 1e-4)
alone, _ = measured(point, plain, weight, 1e-4)
found["hidden"] = [float(sums.total[0][0] / alone.total[0][0]), int(sums.flags[0]), int(alone.flags[0])]
holes = weight.copy()
holes[55:58, 64:67] = 0
sums, _ = measured(np.where(holes > 0, point, 0), plain, holes, 1e-4)
found["missing"] = [float(sums.total[0][0] / alone.total[0][0]), int(sums.flags[0])]
holes = weight.copy()
holes[60:63, 60:63] = 0.3
found["hollow"] = int(measured(point, plain, holes, 1e-4)[0].flags[0])
holes[61, 61] = 0
sums, total = measured(point, plain, holes, 1e-4)
found["gone"] = [int(sums.flags[0]), bool(np.isnan(sums.light).all() and np.isnan(total.scale).all())]
holes = weight.copy()
holes[:, 70:] = 0
found["edge"] = int(measured(point, plain, holes, 1e-4)[0].flags[0])

x, y, flux = np.array([61.0, 69.0, 500.0]), np.array([61.0, 61.0, 61.0]), np.array([100.0, 40.0, np.nan])
expected = (shift(psf, (0, 8), order=3) * apertures.circle(5.0).cover(0, 0, 61)).sum()
wings = fluxes.wings(x, y, flux, psf, 5.0)
found["wings"] = [float(wings[0] / (40 * expected)), float(wings[1] / (100 * expected)), float(wings[2])]

# noise: white, shared by neighbours, on a sky that is not zero, with weights that differ
white = rng.normal(0, 1.0, (700, 700))
weights = np.ones((700, 700))
weights[:, 350:] = 4.0
radii = [2.0, 3.0, 5.0, 8.0]
blocked = np.zeros((700, 700), bool)
blocked[100:120, 100:120] = True
sky = white / np.sqrt(weights)
sky[100:120, 100:120] += 100.0
noise = apertures.empty(sky, weights, blocked, radii)
found["white"] = [noise.factor, noise.power, float(noise.of(100, 4.0)), float(np.abs(noise.offset / noise.sigma).max())]
smooth = gaussian_filter(white, 1.5)
noise = apertures.empty(smooth + 0.02, np.ones((700, 700)), np.zeros((700, 700), bool), radii)
sums = [smooth[i : i + 14, j : j + 14].sum() for i in range(0, 686, 14) for j in range(0, 686, 14)]
found["shared"] = [noise.power, float(noise.of(196, 1.0) / np.std(sums)), float(noise.offset[-1] / (0.02 * np.pi * 64))]
none = apertures.empty(sky, weights, np.ones_like(blocked), radii)
found["none"] = [len(none.radius), none.factor, none.power]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(run_in, tmp_path_factory):
    """What the script measures."""
    return json.loads(run_in("jwst", "python", "-c", SCRIPT, cwd=tmp_path_factory.mktemp("apertures")).stdout)


def test_ellipses_have_their_area_and_direction(found):
    np.testing.assert_allclose(found["area"], 1, atol=1e-6)
    assert found["axis"] == pytest.approx(30, abs=1)
    np.testing.assert_allclose(found["growth"], 0, atol=2e-3)


def test_growth_curves_of_galaxies_are_those_of_their_images(found):
    np.testing.assert_allclose(found["within"], 0, atol=0.01)


def test_totals_of_galaxies_are_all_of_their_light(found):
    raw = np.array(found["raw"])
    assert raw.min() < 0.92 and raw.max() < 0.98  # what apertures alone would say
    for kind, total in found["totals"].items():
        assert total == pytest.approx(1, abs=0.03 if float(kind.split()[0]) > 2 else 0.015), kind


def test_points_have_a_stars_total_and_others_do_not(found):
    total, error = found["point"]
    assert total == pytest.approx(1, abs=1e-3) and error == 0
    assert found["not a point"] == pytest.approx(1, abs=0.012)


def test_errors_of_totals_are_those_of_their_scatter(found):
    flux, error = np.array(found["faint"]).T
    assert np.mean(flux) == pytest.approx(1, abs=0.02)
    assert np.std((flux - np.mean(flux)) / error / flux) == pytest.approx(1, abs=0.2)


def test_pixels_of_neighbours_and_holes_are_replaced_and_told(found):
    ratio, flags, alone = found["hidden"]
    assert ratio == pytest.approx(1, abs=1e-6) and flags == 4 and alone == 0
    ratio, flags = found["missing"]
    assert ratio == pytest.approx(1, abs=1e-6) and flags == 1
    assert found["hollow"] == 8
    assert found["gone"][0] & 16 and found["gone"][1]
    assert found["edge"] & 2


def test_light_of_neighbours_is_a_stars(found):
    np.testing.assert_allclose(found["wings"], [1, 1, 0], atol=0.02)


def test_empty_apertures_know_the_noise(found):
    factor, power, sigma, offset = found["white"]
    assert 0.49 < power < 0.56  # small circles hold parts of pixels, which share no noise with themselves
    assert sigma == pytest.approx(10 / 2, rel=0.04)
    assert factor == pytest.approx(1, rel=0.2)
    assert offset < 0.1
    power, ratio, offset = found["shared"]
    assert power > 0.6
    assert ratio == pytest.approx(1, abs=0.12)
    assert offset == pytest.approx(1, abs=0.5)
    assert found["none"] == [0, 1.0, 0.5]
