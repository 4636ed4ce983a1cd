"""The grid agrees with FITS's own projection, and positions between nodes with those that were computed."""

import numpy as np
import pytest
from astropy.io.fits import Header
from astropy.wcs import WCS
from pureparallel.core import grid
from pureparallel.core.grid import Grid, PixelMap
from pureparallel.simulate import pointing
from pureparallel.simulate.instrument import PIXAR_SR, Frame

CENTRE = (150.1, 2.2)


def exposure(size, roll=37.0):
    """Sky positions of a simulated exposure's pixels, and its map."""
    frame = Frame(1025 - size // 2, 1025 - size // 2, size, size)
    truly = pointing.Pointing(*CENTRE, roll)

    def to_sky(x, y):
        return pointing.to_sky(x, y, truly, frame)

    return to_sky, PixelMap.of(to_sky, (size, size))


@pytest.mark.parametrize("centre", [(150.1, 2.2), (0.0, -27.8), (10.0, 89.9)])
def test_projection_is_that_of_the_header(centre):
    plane = Grid(*centre, 0.04, (3000, 2500), (1200.0, 1500.0))
    header = Header(plane.keywords())
    header["NAXIS1"], header["NAXIS2"] = 2500, 3000
    x, y = np.random.default_rng(1).uniform(0, 2500, (2, 100))
    ra, dec = WCS(header).wcs_pix2world(x, y, 0)
    own = plane.to_sky(x, y)
    np.testing.assert_allclose((own[0] - ra + 180) % 360 - 180, 0, atol=1e-9)
    np.testing.assert_allclose(own[1], dec, atol=1e-9)
    np.testing.assert_allclose(plane.to_pixel(ra, dec), [x, y], atol=2e-4)
    assert Grid.of(header) == plane


def test_north_is_up_and_east_to_the_left():
    plane = Grid(150.1, 2.2, 0.05, (100, 100), (50.0, 50.0))
    assert plane.to_pixel(150.1, 2.2 + 1 / 3600) == pytest.approx((50, 70), abs=1e-3)
    x, y = plane.to_pixel(150.1 + 1 / 3600 / np.cos(np.deg2rad(2.2)), 2.2)
    assert (x, y) == pytest.approx((30, 50), abs=1e-3)
    assert np.isnan(plane.to_pixel(330.1, -2.2)).all()


def test_grid_holds_all_positions_and_little_more():
    positions = np.array([[359.999, -10.0], [0.003, -10.002], [0.001, -9.996]])
    plane = Grid.around(positions, 0.04, margin=1.0)
    x, y = plane.to_pixel(*positions.T)
    assert x.min() == pytest.approx(25, abs=1) and y.min() == pytest.approx(25, abs=1)
    assert plane.shape[1] - 1 - x.max() == pytest.approx(25, abs=1)
    assert plane.shape[0] - 1 - y.max() == pytest.approx(25, abs=1)
    assert plane.origin == (round(plane.origin[0]), round(plane.origin[1]))
    # one exposure that moves a little does not move the pixels
    moved = Grid.around(positions + np.array([[0, 0], [2e-5, 0], [0, 0]]), 0.04)
    assert (moved.ra, moved.dec) == (plane.ra, plane.dec)
    assert Grid.around(positions, 0.04, centre=(0.5, -9.5)).ra == 0.5


def test_coarser_grid_covers_the_same_sky():
    plane = Grid(150.1, 2.2, 0.04, (901, 777), (300.0, 450.0))
    coarse = plane.scaled(0.0656)
    corners = plane.to_sky([-0.5, 776.5, 776.5, -0.5], [-0.5, -0.5, 900.5, 900.5])
    x, y = coarse.to_pixel(*corners)
    assert x.min() >= -0.5 and y.min() >= -0.5
    assert x.max() <= coarse.shape[1] - 0.5 and y.max() <= coarse.shape[0] - 0.5
    assert coarse.shape[0] * coarse.shape[1] < 1.05 * 901 * 777 * (0.04 / 0.0656) ** 2


@pytest.mark.parametrize("size", [64, 500, 2048])
def test_interpolated_positions_are_right(size):
    to_sky, positions = exposure(size)
    plane = Grid(*CENTRE, 0.04, (10, 10), (5.0, 5.0))
    found = positions.on(plane)
    y, x = np.random.default_rng(2).integers(0, size, (2, 2000))
    true = np.stack(plane.to_pixel(*to_sky(x, y)), axis=-1)
    assert np.abs(found[y, x] - true).max() < 1e-3  # NIRISS's distortion; 0.005 is what a mosaic needs


def test_a_map_knows_its_area_corners_and_box():
    to_sky, positions = exposure(512)
    assert positions.pixel_area() == pytest.approx(PIXAR_SR, rel=1e-3)
    corners = np.column_stack(to_sky(np.array([-0.5, 511.5, 511.5, -0.5]), np.array([-0.5, -0.5, 511.5, 511.5])))
    np.testing.assert_allclose(positions.corners(), corners, atol=1e-10)
    plane = Grid.around(corners, 0.04)
    rows, columns = positions.box(plane, margin=0)
    at = positions.on(plane)
    for part, axis in ((rows, 1), (columns, 0)):
        low, high = at[..., axis].min(), at[..., axis].max()
        assert part.start <= low - 0.5 and low < part.start + 3
        assert part.stop - 4 < high and high + 0.5 <= part.stop
    far = Grid(151.0, 2.2, 0.04, (100, 100), (50.0, 50.0))
    assert grid.overlap(positions.box(far), (slice(0, 100), slice(0, 100))) is None


def test_strips_cover_the_grid_once_and_fit_into_memory():
    plane = Grid(*CENTRE, 0.04, (1000, 3000), (0.0, 0.0))
    for layers in (2, 30):
        rows = grid.rows_per_strip(plane, layers, 20)
        assert layers * rows * 3000 * 4 <= 20 * 2**20
        seen = np.zeros(plane.shape, int)
        for strip in grid.strips(plane, rows):
            seen[strip] += 1
        assert (seen == 1).all()


def test_boxes_overlap_and_lie_in_each_other():
    one, other = (slice(0, 10), slice(5, 20)), (slice(8, 30), slice(0, 7))
    part = grid.overlap(one, other)
    assert part == (slice(8, 10), slice(5, 7))
    assert grid.inside(part, other) == (slice(0, 2), slice(5, 7))
    assert grid.overlap(one, (slice(10, 12), slice(5, 7))) is None
