"""Stars that a mosaic does not show: their light by their wings, and what is left of sources beside them."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from pureparallel import scenes
from pureparallel.core import psf_model, star_wings
from pureparallel.core.dispersed import SAMPLES, Mosaic, Stamp
from pureparallel.core.grid import Grid

SCALE, FLUX = 0.04, 250.0


def light(x, y):
    """Wings that fall off as the cube of the distance, and spikes along the axes."""
    away = np.hypot(x, y) + 0.05
    return 1e-5 / away**3 * (1 + 2 * np.exp(-((np.minimum(np.abs(x), np.abs(y)) / away / 0.15) ** 2)))


def image(*, hole=0.3, size=161):
    """A star whose middle is missing."""
    offset = (np.arange(size) - size // 2) * SCALE
    found = FLUX * light(offset, offset[:, None])
    found[np.hypot(offset, offset[:, None]) < hole] = np.nan
    return found.astype(np.float32)


def test_light_of_a_star_is_told_by_its_wings():
    middle = (80.0, 80.0)
    assert star_wings.measure(image(), middle, SCALE, light) == pytest.approx(FLUX, rel=0.02)
    with_source = image()
    offset = (np.arange(161) - 80) * SCALE
    with_source += 30 * FLUX * light(0.7, 0.0) * np.exp(-((offset - 0.6) ** 2 + (offset[:, None] - 0.4) ** 2) / 0.02)
    assert star_wings.measure(with_source, middle, SCALE, light) == pytest.approx(FLUX, rel=0.05)
    # at an edge of the mosaic half of a ring will do; without opposite quarters nothing is known
    half, quarters = image(), image()
    half[:, 80:] = np.nan
    quarters[:80, :80] = quarters[80:, 80:] = np.nan
    assert star_wings.measure(half, middle, SCALE, light) == pytest.approx(FLUX, rel=0.08)
    assert np.isnan(star_wings.measure(quarters, middle, SCALE, light))
    assert np.isnan(star_wings.measure(image(hole=0.6), middle, SCALE, light))
    assert np.isnan(star_wings.measure(image(), (-400.0, 80.0), SCALE, light))


def test_stars_are_found_by_their_holes_in_a_field_on_its_pointing():
    """Three stars of five saturate; a hole elsewhere, single pixels, and what lies beyond the edge say nothing."""
    dice = np.random.default_rng(1)
    stars, off = dice.uniform(60, 540, (5, 2)), np.array([12.0, -21.0])
    stars[4] = -30, 100  # beside the mosaic
    y, x = np.mgrid[:600, :600]
    picture = dice.normal(size=(600, 600)).astype(np.float32)
    for (a, b), radius in [*zip(stars[:3] + off, (6, 9, 14), strict=True), (stars[3] - 30, 7)]:
        picture[np.hypot(x - a, y - b) < radius] = np.nan
    picture[dice.random(picture.shape) < 0.001] = np.nan
    picture[:, :20] = np.nan
    assert star_wings.displacement([picture, picture], stars, SCALE) == pytest.approx(off, abs=0.3)
    assert star_wings.displacement([picture], stars[:1], SCALE) == pytest.approx(off, abs=0.3)
    assert star_wings.displacement([picture], stars[4:], SCALE).tolist() == [0, 0]
    assert star_wings.displacement([np.ones_like(picture)], stars, SCALE).tolist() == [0, 0]


def test_sources_lose_the_glare_and_nothing_else():
    offset = np.arange(41) / SAMPLES - 10
    own = 0.02 * np.exp(-(offset**2 + offset[:, None] ** 2) / 18)
    sx, sy = ((first + np.arange(41) / SAMPLES - at) * SCALE for first, at in ((40, 30.0), (35, 40.0)))
    glare = FLUX * light(sx, sy[:, None])
    mine = np.hypot(offset, offset[:, None]) < 8
    given = Stamp(1, 50.0, 45.0, 40, 35, np.where(mine, own + glare, 0).astype(np.float32))
    assert glare[mine].max() > own.max() / 2
    left = star_wings.without_glare(given, (30.0, 40.0), FLUX, light, SCALE)
    np.testing.assert_allclose(left.light, np.where(mine, own, 0), atol=1e-4)
    # too much of it leaves nothing, rather than less
    assert (star_wings.without_glare(given, (30.0, 40.0), 9 * FLUX, light, SCALE).light >= 0).all()
    assert star_wings.without_glare(given, (400.0, 40.0), FLUX, light, SCALE) is given


def test_flux_is_that_of_the_star_on_the_mosaic():
    grid = Grid(10.0, 0.0, SCALE, (161, 161), (80.0, 80.0))
    offset = (np.arange(161) - 80) * SCALE
    part = psf_model.star("F150W", SCALE).on(offset, offset[:, None]) * FLUX / (grid.pixel_area * 1e12)
    hollow = np.where(np.hypot(offset, offset[:, None]) < 0.2, np.nan, part).astype(np.float32)
    mosaic = Mosaic(hollow, np.zeros(grid.shape, int), grid)
    assert scenes.by_wings(mosaic, "F150W", 10.0, 0.0) == pytest.approx(FLUX, rel=0.03)
    assert np.isnan(scenes.by_wings(mosaic, "F150W", 10.1, 0.0))


@pytest.mark.parametrize(("frame", "moved"), [("pointing", (10.0, 5.0)), ("gaia", (0.0, 0.0))])
def test_stars_move_with_a_field_that_is_on_its_pointing(tmp_path, frame, moved):
    """A star 0.45" beside the hole that it leaves, in a field on its pointing, and in one that is not."""
    grid = Grid(10.0, 0.0, SCALE, (161, 161), (80.0, 80.0))
    ra, dec = (float(v[0]) for v in grid.to_sky(np.array([70.0]), np.array([75.0])))
    sci, ones = fits.ImageHDU(image(), name="SCI"), np.ones((161, 161), np.float32)
    sci.header.update(grid.keywords())
    hdus = fits.HDUList([fits.PrimaryHDU(), sci, fits.ImageHDU(ones, name="ERR")])
    hdus[0].header.update({"FILTER": "F150W", "PIXFRAC": 1.0, "KERNEL": "square", "FRAME": frame})
    hdus.writeto(tmp_path / "mosaic.fits", checksum=True)
    segments = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(ones.astype(np.int32), name="SCI")])
    segments.writeto(tmp_path / "segm.fits", checksum=True)
    Table({"label": [1], "ra": [10.0], "dec": [0.0]}).write(tmp_path / "cat.ecsv")
    Table({"ra": [ra], "dec": [dec], "phot_g_mean_mag": [18.0]}).write(tmp_path / "gaia.ecsv")
    files = (tmp_path / name for name in ("cat.ecsv", "segm.fits"))
    found = scenes.read_sources(*files, [tmp_path / "mosaic.fits"], [tmp_path / "gaia.ecsv"], 2016.0)
    x, y = grid.to_pixel(found.star_ra, found.star_dec)
    assert (x[0] - 70, y[0] - 75) == pytest.approx(moved, abs=0.05)
