"""Images of stars on mosaics, and what stars say of them; measured where drizzling is installed."""

import json

import numpy as np
import pytest

SCRIPT = """
import json
import numpy as np
from pureparallel.core import psf_model, psf_mosaic, psf_stars
from pureparallel.core.apertures import growth
from pureparallel.core.grid import Grid, PixelMap

rng, found = np.random.default_rng(1), {}
grid = Grid(150.0, 2.0, 0.04, (700, 700), (350.0, 350.0))

def exposure(roll, dx, dy, weight=1.0, shape=(320, 320)):
    c, s = np.cos(np.deg2rad(roll)), np.sin(np.deg2rad(roll))

    def to_sky(x, y):
        u, v = np.asarray(x) - 159.5, np.asarray(y) - 159.5
        u, v = u + 2e-5 * u * v, v + 2e-5 * u**2  # distorted
        u, v = 1.64 * (c * u - s * v), 1.64 * (s * u + c * v)
        return grid.to_sky(350 + dx + u, 350 + dy + v)

    return psf_mosaic.Exposure(PixelMap.of(to_sky, shape, 64), grid, weight)

exposures = [exposure(roll, *rng.uniform(-3, 3, 2), weight) for roll, weight in ((37, 1.0), (37, 2.0), (97, 1.5))]
one = psf_mosaic.Drizzling(exposures[:1], grid.scale, 1.0, "square")
all_of_them = psf_mosaic.Drizzling(exposures, grid.scale, 1.0, "square")
found["pixel"] = [e.pixel for e in exposures]
place = exposures[0].find(380.3, 410.7)
x, y, fall = exposures[0].around(place, 4)
nearest = np.unravel_index(np.hypot(fall[..., 0] - 380.3, fall[..., 1] - 410.7).argmin(), fall.shape[:2])
found["nearest"] = [float(np.hypot(x[nearest[1]], y[nearest[0]])), float(np.hypot(*(fall[4, 4] - [380.3, 410.7])))]
found["beside"] = exposures[0].find(-500.0, 350.0) is None

light = psf_model.star("F115W", exposures[0].pixel).on
image = psf_mosaic.image(light, all_of_them, 380.3, 410.7)
half = image.shape[0] // 2
v, u = np.mgrid[-half : half + 1, -half : half + 1]
core = np.hypot(u, v) < 12
moment = [float((image * core * w).sum() / (image * core).sum()) for w in (u, v)]
found["centre"] = [moment[0] - 0.3, moment[1] + 0.3]
found["light"] = float(image.sum())
detector = float(np.sum(light(*np.meshgrid(*[np.arange(-45, 46) * 0.0656] * 2))))
found["detector"] = detector
found["nowhere"] = psf_mosaic.image(light, all_of_them, -500.0, 350.0) is None

covered = np.zeros((700, 700), bool)
covered[200:500, 200:500] = True
places = psf_mosaic.lattice(covered, 16)
found["places"] = [len(places), bool(covered[places[:, 1], places[:, 0]].all())]
speck = np.zeros((50, 50), bool)
speck[7, 8] = True
found["speck"] = psf_mosaic.lattice(speck, 25).tolist()
sharp = psf_mosaic.everywhere(light, all_of_them, covered, 9).mean(axis=0)
point = psf_mosaic.Drizzling(exposures, grid.scale, 0.6, "square")
smaller = psf_mosaic.everywhere(light, point, covered, 9).mean(axis=0)
found["drops"] = [float(growth(one, [2.5])[0]) for one in (sharp, smaller)]

# stars of another blur and wavefront than usual, one of which is none
truth = psf_model.star("F115W", exposures[0].pixel, blur=0.034, wavefront=90.0).on
data, weight = rng.normal(0, 2e-4, (700, 700)), np.ones((700, 700))
segments, stars = np.zeros((700, 700), np.int32), []
where = (260.2, 270.4), (350.4, 280.0), (440.3, 300.5), (280.0, 400.1), (400.5, 420.3), (500.0, 350.0)
for i, (x, y) in enumerate(where):
    flux = (3.0, 2.0, 5.0, 1.0, 4.0, 2.0)[i]
    star = psf_mosaic.image(truth, all_of_them, x, y)
    if i == 4:
        star = 0.6 * star + 0.4 * np.roll(star, 4, axis=1)
    rows, columns = (slice(round(c) - half, round(c) + half + 1) for c in (y, x))
    data[rows, columns] += flux * star
    segments[round(y) - 10 : round(y) + 11, round(x) - 10 : round(x) + 11] = i + 1
    stars.append((x, y))
data[:, 500:502], weight[:, 500:502] = 0, 0
x, y = np.array(stars).T + rng.uniform(-0.5, 0.5, (2, 6))
stamps = psf_stars.find(
    data, np.full_like(data, 2e-4), weight, segments, x, y, np.ones(6, bool), scale=grid.scale, snr=50, most=12
)
found["stamps"] = [[one.row, one.x - stars[one.row][0], one.y - stars[one.row][1]] for one in stamps]
fit = psf_stars.compare("F115W", all_of_them, stamps)
found["fit"] = [fit.blur, fit.wavefront, *fit.errors, *map(bool, fit.used)]
prior = psf_stars.compare("F115W", all_of_them, [])
found["prior"] = [prior.blur, prior.wavefront, *prior.errors]

# what no blur and no wavefront can describe: a twentieth of the light in a halo of its own
halo = np.exp(-0.5 * (u**2 + v**2) / 5**2)
halo /= halo.sum()
odd = []
for one in stamps:
    if fit.used[[s.row for s in stamps].index(one.row)]:
        reach = one.data.shape[0] // 2
        part = halo[half - reach : half + reach + 1, half - reach : half + reach + 1]
        odd.append(psf_stars.Stamp(one.row, one.x, one.y, 0.95 * one.data + 0.05 * one.data.sum() * part, one.error))
extra = psf_stars.leftover(odd, np.ones(len(odd), bool), truth, all_of_them)
pad = half - extra.shape[0] // 2
true = psf_mosaic.everywhere(truth, all_of_them, covered, 9).mean(axis=0)
radii = [2.5, 5.0, 8.0, 14.0]
goal = 0.95 * growth(true, radii) + 0.05 * growth(halo, radii)
found["extra"] = [((growth(true + np.pad(extra, pad), radii) - goal)).tolist(), (growth(true, radii) - goal).tolist()]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(run_in, tmp_path_factory):
    """What the script measures."""
    return json.loads(run_in("jwst", "python", "-c", SCRIPT, cwd=tmp_path_factory.mktemp("stars")).stdout)


def test_places_on_exposures_are_found_through_distortion(found):
    np.testing.assert_allclose(found["pixel"], 0.0656, rtol=1e-3)
    offset, centre = found["nearest"]
    assert offset < 0.0656 * 0.8 and centre < 1.64 * 0.8
    assert found["beside"] and found["nowhere"]


def test_a_star_is_where_it_is_said_to_be_with_all_its_light(found):
    np.testing.assert_allclose(found["centre"], 0, atol=0.02)
    assert found["light"] == pytest.approx(found["detector"], abs=2e-3)


def test_smaller_drops_make_sharper_stars(found):
    large, small = found["drops"]
    assert small > 1.02 * large


def test_places_are_spread_over_what_is_covered(found):
    count, inside = found["places"]
    assert 9 <= count <= 25 and inside
    assert found["speck"] == [[8, 7]]


def test_whole_stars_are_found_where_they_are(found):
    rows = [row for row, *_ in found["stamps"]]
    assert rows[0] == 2  # the brightest first
    assert set(rows) == {0, 1, 2, 3, 4}  # of the last a column is missing
    for row, dx, dy in found["stamps"]:
        assert np.hypot(dx, dy) < (2.5 if row == 4 else 0.1)


def test_blur_and_wavefront_are_those_of_the_stars(found):
    blur, wavefront, blur_error, wavefront_error, *used = found["fit"]
    rows = [row for row, *_ in found["stamps"]]
    assert used == [row != 4 for row in rows]
    assert blur == pytest.approx(0.034, abs=0.003)
    assert wavefront == pytest.approx(90, abs=6)
    assert blur_error < 0.003 and wavefront_error < 8


def test_without_stars_what_is_known_stays(found):
    blur, wavefront, blur_error, wavefront_error = found["prior"]
    assert (blur, wavefront) == (pytest.approx(0.0202), pytest.approx(65))
    assert (blur_error, wavefront_error) == (pytest.approx(0.01), pytest.approx(20))


def test_what_stars_have_in_common_is_added(found):
    after, before = (np.abs(one) for one in found["extra"])
    assert before.max() > 0.02
    assert after.max() < 0.006
