"""Bits keep their meaning, in the file and in the pipeline's data quality."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pureparallel import UserError, exposures
from pureparallel.core import masks, plot_masks
from pureparallel.provenance import Lineage
from pureparallel.steps.mask_artifacts import applying

SHAPE = (6, 8)


def one(y, x):
    mask = np.zeros(SHAPE, bool)
    mask[y, x] = True
    return mask


def test_bits_are_those_of_the_causes():
    bits = masks.combine({"SNOWBALL": one(0, 0), "USER": one(0, 0) | one(5, 7)})
    assert bits.dtype == np.uint16
    assert bits[0, 0] == (1 << masks.BITS["SNOWBALL"]) | (1 << masks.BITS["USER"])
    assert bits[5, 7] == 1 << masks.BITS["USER"]
    assert np.count_nonzero(bits) == 2
    # files written before keep their meaning: causes are appended, never moved
    assert list(masks.BITS)[:9] == [
        "SNOWBALL", "PERSISTENCE", "TRAIL", "SATURATED", "SPIKE", "GHOST", "WISP", "CLAW", "USER"
    ]  # fmt: skip
    assert max(masks.BITS.values()) < 16
    with pytest.raises(ValueError, match="NOISE"):
        masks.combine({"NOISE": one(0, 0)})


def test_area_and_choice_are_by_cause():
    bits = masks.combine({"TRAIL": one(0, 0) | one(1, 1), "GHOST": one(1, 1)})
    assert masks.area(bits)["TRAIL"] == pytest.approx(2 / 48)
    assert masks.area(bits)["SPIKE"] == 0
    np.testing.assert_array_equal(masks.chosen(bits, ["GHOST"]), one(1, 1))
    np.testing.assert_array_equal(masks.chosen(bits, ["GHOST", "TRAIL"]), one(0, 0) | one(1, 1))
    with pytest.raises(ValueError, match="no such cause"):
        masks.chosen(bits, ["DUST"])


def test_merging_says_do_not_use_and_why_and_keeps_the_rest():
    dq = np.zeros(SHAPE, np.uint32)
    dq[1, 1] = 1 << 30
    before = dq.copy()
    bits = masks.combine({"PERSISTENCE": one(1, 1), "SPIKE": one(2, 2)})
    merged = masks.merge(dq, bits)
    assert merged.dtype == np.uint32
    assert merged[1, 1] == (1 << 30) | 1 | 32
    assert merged[2, 2] == 1 | 16
    assert np.count_nonzero(merged) == 2
    np.testing.assert_array_equal(dq, before)
    assert masks.merge(dq, bits, ["PERSISTENCE"])[2, 2] == 0
    with pytest.raises(ValueError, match="shape"):
        masks.merge(dq[:2], bits)


def test_files_tell_their_bits(tmp_path):
    path = tmp_path / "jw09999001001_02101_00001_nis_mask.fits"
    bits = masks.combine({"SNOWBALL": one(0, 1), "USER": one(3, 4)})
    masks.write_mask(path, bits, {"EXCLUDE": (True, "why not"), "EXCLWHY": "light " * 30}, Lineage.of("x", []))
    found, names = masks.read_mask(path)
    np.testing.assert_array_equal(found, bits)
    assert found.dtype == np.uint16
    assert names == masks.BITS
    header = fits.getheader(path)
    assert header["BIT0"] == "SNOWBALL"
    assert header["EXCLUDE"] is True
    assert header["EXCLWHY"].startswith("light light")
    assert header["PPSTEP"] == "x"


def test_files_of_other_bits_are_read_by_their_names(tmp_path):
    path = tmp_path / "mask.fits"
    primary = fits.PrimaryHDU()
    primary.header["BIT3"] = "GHOST"
    fits.HDUList([primary, fits.ImageHDU(one(2, 2).astype(np.uint16) << 3, name="MASK")]).writeto(path)
    bits, names = masks.read_mask(path)
    np.testing.assert_array_equal(masks.chosen(bits, ["GHOST"], names), one(2, 2))
    assert masks.merge(np.zeros(SHAPE, np.uint32), bits, ["GHOST"], names)[2, 2] == 17


@pytest.mark.parametrize("cards", [{}, {"BIT0": "SNOWBALL"}])
def test_masks_that_do_not_say_what_they_mean_are_refused(tmp_path, cards):
    path = tmp_path / "mask.fits"
    primary = fits.PrimaryHDU()
    primary.header.update(cards)
    fits.HDUList([primary, fits.ImageHDU(np.full(SHAPE, 2, np.uint16), name="MASK")]).writeto(path)
    with pytest.raises(UserError, match=r"mask\.fits.*make the mask again"):
        masks.read_mask(path)


def test_figure_names_what_is_masked_and_how_much(tmp_path):
    rng = np.random.default_rng(1)
    bits = np.zeros((1500, 1500), np.uint16)
    bits[700, 3] = 1 << masks.BITS["GHOST"]  # one pixel is seen although the figure is smaller than the image
    rate = rng.normal(1, 0.1, bits.shape)
    figure = plot_masks.mask_figure(rate, rate > 0.8, bits, masks.BITS, "an exposure", "why")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ghost 0.00 %"]
    picture = np.asarray(figure.axes[1].images[0].get_array())
    grey = np.ptp(picture, axis=-1) < 1e-9
    assert np.argwhere(~grey).tolist() == [[350, 1]]
    figure.savefig(tmp_path / "mask.png")


def test_region_files_are_for_whom_their_name_says():
    names = ("all.reg", "nis.reg", "nis_x.reg", "nisan.reg", "nrca3_wisp.reg", "nrcblong.reg",
             "jw09999001001_02101_00001_nis.reg", "jw09999001001_02101_00002_nis_star.reg")  # fmt: skip
    one = exposures.Exposure("jw09999001001_02101_00002_nis", Path("x"), fits.Header())
    chosen = [path.name for path in applying([Path(name) for name in names], one)]
    assert chosen == ["all.reg", "nis.reg", "nis_x.reg", "nisan.reg", "jw09999001001_02101_00002_nis_star.reg"]
