"""What figures of slitless sources show: 2-D spectra with models, and direct images."""

import numpy as np
import pytest
from astropy.io import fits
from pureparallel import slitless_stacks
from pureparallel.core.grid import Grid
from pureparallel.provenance import Lineage
from pureparallel.redshift_figures import ROWS, SIDE, DirectImage, Images, centred

BINS = 30


@pytest.fixture
def images(tmp_path):
    """One source in two rolls of one grism: light of 3 and of 5 on a trace of one row, errors of 1 and of 2."""
    rows, pixels = [], []
    for roll, light, error, tall in ((37.0, 3.0, 1.0, 11), (97.0, 5.0, 2.0, 21)):
        sci = np.zeros((tall, BINS))
        sci[tall // 2] = light
        own = np.zeros((tall, BINS))
        own[tall // 2 - 1 : tall // 2 + 2] = 1
        pixels.append(np.array([sci, np.full_like(sci, error), own, 0 * sci], np.float32))
        row = dict.fromkeys(slitless_stacks.COLUMNS, 0.0)
        rows.append(row | {"source": "7", "grism": "GR150R", "filter": "F150W", "roll": roll})
    pixels[1][0, :, :5] = np.nan
    slitless_stacks.write(tmp_path / "stacks.fits", rows, pixels, Lineage.of("stack", []))
    return Images.read(tmp_path / "stacks.fits")


def test_two_dimensional_spectra_are_means_of_their_rolls(images):
    models = [(37.0, np.full(BINS, 6.0)), (97.0, np.full(BINS, 12.0))]
    found = images.of("7", "GR150R", "F150W", models)
    assert list(found) == ["GR150R", "GR150R model"]
    data, model = found.values()
    assert data.shape == model.shape == (ROWS, BINS)
    middle = ROWS // 2
    assert data[middle, 5:] == pytest.approx((3 + 5 / 4) / 1.25)
    assert data[middle, :5] == pytest.approx(3)  # the other roll has nothing there
    # the fitted spectrum is spread over the three rows of the source's light
    assert model[middle - 1 : middle + 2, 5:] == pytest.approx((6 + 12 / 4) / 1.25 / 3)
    assert np.nansum(np.abs(model[middle + 2 :])) == 0


def test_what_has_no_stack_has_no_picture(images):
    assert images.of("8", "GR150R", "F150W", [(37.0, np.ones(BINS))]) == {}
    assert images.of("7", "GR150R", "F150W", [(12.0, np.ones(BINS))]) == {}


@pytest.mark.parametrize("tall", [3, 8, ROWS, 40, 41])
def test_the_trace_stays_in_the_middle(tall):
    image = np.zeros((tall, 2))
    image[tall // 2] = 1
    assert np.nanargmax(centred(image)[:, 0]) == ROWS // 2
    assert len(centred(image)) == ROWS


def test_a_direct_image_is_cut_about_its_source(tmp_path):
    grid = Grid(150.0, 2.0, 0.05, (100, 120), (60.0, 50.0))
    picture, labels = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.uint32)
    picture[70, 10], labels[70, 10], labels[70, 11] = 9.0, 4, 5
    for name, values in (("image", picture), ("segm", labels)):
        hdu = fits.ImageHDU(values, name="SCI")
        hdu.header.update(grid.keywords())
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / f"{name}.fits")
    ra, dec = (float(one) for one in grid.to_sky(10.0, 70.0))
    with DirectImage(tmp_path / "image.fits", tmp_path / "segm.fits") as direct:
        found = direct.around("4", ra, dec)
    half = round(SIDE / 2 / 0.05)
    assert found.image.shape == (2 * half + 1, 2 * half + 1)
    assert found.image[half, half] == 9
    assert found.own.sum() == 1
    assert found.own[half, half]
    assert np.isnan(found.image[:, : half - 10]).all()  # beyond the edge
    assert found.size == pytest.approx((2 * half + 1) * 0.05)
