"""Raw exposures pass as Level 1b in the pipeline's own data models; the pointing agrees with pysiaf."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pureparallel.simulate import header, pointing
from pureparallel.simulate.instrument import NIS_CEN, Frame, Readout
from pureparallel.simulate.pointing import Pointing

NAME = "jw09999002003_03201_00004_nis"
SAID = Pointing(53.15, -27.80, 37.0)
SMALL = Frame(769, 801, 48, 40)
KEYWORDS = {
    "filter": "F150W", "grism": "GR150R", "frame": SMALL, "readout": Readout("NIS", 6), "start": "2023-07-01T23:59:00",
    "header_pointing": SAID, "guide_star": header.GuideStar("S3HP000123", 53.2, -27.7, 15.5), "fwcpos": 354.3,
}  # fmt: skip

WRITE = """
import sys, warnings
from pathlib import Path
import stdatamodels.jwst.datamodels as datamodels
warnings.simplefilter("error")
import numpy as np
from pureparallel.simulate import header
from pureparallel.simulate.instrument import Frame, Readout
from pureparallel.simulate.pointing import Pointing

def keywords(grism, frame, **others):
    star = header.GuideStar("S3HP000123", 53.2, -27.7, 15.5)
    return header.level1b(exposure="jw09999002003_03201_00004_nis", filter="F150W", grism=grism, frame=frame,
                          readout=Readout("NIS", 6), start="2023-07-01T23:59:00", guide_star=star,
                          header_pointing=Pointing(53.15, -27.80, 37.0), **others)

frame = Frame(769, 801, 48, 40)
counts = np.arange(6 * 40 * 48, dtype=np.uint16).reshape(6, 40, 48) + 40000
for folder, grism, others in (("wfss", "GR150R", {"fwcpos": 354.3, "target": (0.0, 0.0)}), ("image", None, {})):
    path = Path(folder) / "jw09999002003_03201_00004_nis_uncal.fits"
    header.save(path, counts, keywords(grism, frame, **others))
    with datamodels.open(path, strict_validation=True) as model:
        assert type(model) is datamodels.Level1bModel, type(model)
        model.validate()
        assert np.array_equal(model.data, counts[None])
        assert [h for h in model.extra_fits.PRIMARY.header if h[0] == "SIMULATD"][0][1] is True
try:
    header.save(Path("bad") / "x_uncal.fits", counts, keywords(None, frame) | {"meta.instrument.pupil": "F999W"})
except Exception as error:
    assert "F999W" in str(error)
    assert not list(Path("bad").iterdir())
else:
    raise AssertionError("a pupil that does not exist was written")
"""


@pytest.fixture(scope="module")
def written(run_in, tmp_path_factory):
    """Folder with one dispersed and one direct exposure, written and read back in the pipeline's environment."""
    folder = tmp_path_factory.mktemp("level1b")
    (folder / "write.py").write_text(WRITE)
    run_in("jwst", "python", "write.py", cwd=folder)
    return folder


def opened(folder, kind):
    with fits.open(folder / kind / f"{NAME}_uncal.fits") as hdus:
        return [(hdu.name, hdu.header.copy(), None if hdu.data is None else np.array(hdu.data)) for hdu in hdus]


def test_dispersed_exposure_has_the_keywords_of_a_pure_parallel(written):
    (_, primary, _), (_, science, data), *tables = opened(written, "wfss")
    expected = {
        "TELESCOP": "JWST", "INSTRUME": "NIRISS", "DETECTOR": "NIS", "EXP_TYPE": "NIS_WFSS", "FILTER": "GR150R",
        "PUPIL": "F150W", "FWCPOS": 354.3, "VISITYPE": "PARALLEL_PURE", "EXPRIPAR": "PARALLEL_PURE",
        "PROGRAM": "09999", "OBSERVTN": "002", "VISIT": "003", "VISITGRP": "03", "SEQ_ID": "2", "ACT_ID": "01",
        "VISIT_ID": "09999002003", "OBS_ID": "V09999002003P0000000003201", "EXPOSURE": "4",
        "FILENAME": f"{NAME}_uncal.fits", "READPATT": "NIS", "NGROUPS": 6, "NFRAMES": 4, "GROUPGAP": 0, "NINTS": 1,
        "SUBARRAY": "GENERIC", "SUBSTRT1": 769, "SUBSTRT2": 801, "SUBSIZE1": 48, "SUBSIZE2": 40, "FASTAXIS": -2,
        "SLOWAXIS": -1, "TARG_RA": 0.0, "TARG_DEC": 0.0, "PATTTYPE": "NONE", "GDSTARID": "S3HP000123",
        "PCS_MODE": "FINEGUIDE", "TSOVISIT": False, "SIMULATD": True, "DATE-OBS": "2023-07-01", "APERNAME": "NIS_CEN",
    }  # fmt: skip
    assert {key: primary.get(key) for key in expected} == expected
    assert "SIMULATED" in primary["TITLE"]
    assert primary["EXPMID"] == pytest.approx((primary["EXPSTART"] + primary["EXPEND"]) / 2, abs=1e-9)
    assert (primary["EXPEND"] - primary["EXPSTART"]) * 86400 == pytest.approx(primary["EFFINTTM"], abs=1e-3)
    assert primary["EFFINTTM"] == pytest.approx(6 * primary["TGROUP"])
    assert data.shape == (1, 6, 40, 48)
    assert [name for name, *_ in tables] == ["GROUP", "INT_TIMES", "ASDF"]
    assert tables[0][2]["group_end_time"][-1].startswith(b"2023-07-02T00:03:17")
    assert (science["RA_REF"], science["DEC_REF"], science["ROLL_REF"]) == (SAID.ra, SAID.dec, SAID.roll)
    numbers = [float(word) for word in science["S_REGION"].split()[2:]]
    np.testing.assert_allclose(np.reshape(numbers, (4, 2)), pointing.corners(SAID, SMALL), atol=1e-8)


def test_direct_exposure_differs_where_it_should(written):
    (_, primary, _), *_ = opened(written, "image")
    expected = {"EXP_TYPE": "NIS_IMAGE", "FILTER": "CLEAR", "PUPIL": "F150W", "TARG_RA": SAID.ra, "TARG_DEC": SAID.dec}
    assert {key: primary.get(key) for key in expected} == expected


def test_header_speaks_of_its_own_pointing_only():
    said = header.level1b(exposure=NAME, **KEYWORDS)
    moved = header.level1b(exposure=NAME, **(KEYWORDS | {"header_pointing": replace(SAID, ra=53.1503, roll=37.03)}))
    changed = {key for key in said if said[key] != moved[key]}
    assert {"meta.wcsinfo.ra_ref", "meta.wcsinfo.roll_ref", "meta.pointing.ra_v1", "meta.wcsinfo.s_region"} <= changed
    assert not {key for key in changed if key.split(".")[1] in ("exposure", "instrument", "subarray", "observation")}


def test_names_elements_and_shapes_that_cannot_be_are_refused(tmp_path):
    for wrong in ("jw09999002003_03201_00004_nrca1", "jw9999_x_nis"):
        with pytest.raises(ValueError, match="not the name"):
            header.level1b(exposure=wrong, **KEYWORDS)
    with pytest.raises(ValueError, match="not elements"):
        header.level1b(exposure=NAME, **(KEYWORDS | {"grism": "GRISMR"}))
    with pytest.raises(ValueError, match="shape"):
        header.save(tmp_path / "x.fits", np.zeros((5, 40, 48), np.uint16), header.level1b(exposure=NAME, **KEYWORDS))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("frame", [Frame.full(), SMALL])
@pytest.mark.parametrize("at", [SAID, Pointing(359.9999, 5.0, 0.0), Pointing(120.0, 88.0, 250.0)])
def test_pixels_to_sky_and_back(frame, at):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-0.5, frame.nx - 0.5, 200), rng.uniform(-0.5, frame.ny - 0.5, 200)
    back = pointing.to_pixel(*pointing.to_sky(x, y, at, frame), at, frame)
    np.testing.assert_allclose(back, (x, y), atol=1e-5)


def test_reference_point_dither_and_header_wcs():
    frame = Frame.full()
    assert pointing.to_sky(1023.5, 1023.5, SAID, frame) == pytest.approx((SAID.ra, SAID.dec), abs=1e-10)
    x, y = pointing.to_pixel(SAID.ra, SAID.dec, pointing.dithered(SAID, 1.0, -0.5), frame)
    assert NIS_CEN.to_ideal(x, y) == pytest.approx((-1.0, 0.5), abs=1e-4)
    keywords = {key.removeprefix("meta.wcsinfo."): value
                for key, value in header.level1b(exposure=NAME, **KEYWORDS).items() if "wcsinfo" in key}  # fmt: skip
    names = ("crpix1", "crpix2", "crval1", "crval2", "cdelt1", "cdelt2", "ctype1", "ctype2", "cunit1", "cunit2",
             "pc1_1", "pc1_2", "pc2_1", "pc2_2")  # fmt: skip
    wcs = WCS(fits.Header({name.upper(): keywords[name] for name in names}))
    # undistorted: within 2.5 pixels, 250 pixels from the reference point
    ra, dec = pointing.to_sky([0, 47], [0, 39], SAID, SMALL)
    np.testing.assert_allclose(wcs.all_world2pix(ra, dec, 0), [[0, 47], [0, 39]], atol=2.5)


PYSIAF = """
import json, sys
import numpy as np
import pysiaf
from pysiaf.utils import rotations
aperture = pysiaf.Siaf("NIRISS")["NIS_CEN"]
ra, dec, roll = json.loads(sys.argv[1])
attitude = rotations.attitude(aperture.V2Ref, aperture.V3Ref, ra, dec, roll)
x, y = np.array(json.loads(sys.argv[2]))
sky = rotations.pointing(attitude, *aperture.sci_to_tel(x + 1, y + 1))
v1 = rotations.pointing(attitude, 0, 0)
print(json.dumps([*map(list, sky), [*map(float, v1), float(rotations.posangle(attitude, 0, 0)) % 360]]))
"""


@pytest.mark.parametrize("at", [SAID, Pointing(0.001, -60.0, 321.0)])
def test_pointing_agrees_with_pysiaf(run_in, tmp_path, at):
    # pysiaf is installed beside msaexp, not beside the pipeline
    (tmp_path / "siaf.py").write_text(PYSIAF)
    x, y = ([0.0, 2047.0, 0.0, 2047.0, 1023.5, 300.25], [0.0, 0.0, 2047.0, 2047.0, 1023.5, 1700.75])
    arguments = json.dumps([at.ra, at.dec, at.roll]), json.dumps([x, y])
    answer = run_in("msaexp", "python", "siaf.py", *arguments, cwd=tmp_path).stdout
    ra, dec, boresight = json.loads(answer.strip().splitlines()[-1])
    np.testing.assert_allclose(pointing.to_pixel(ra, dec, at, Frame.full()), (x, y), atol=1e-3)
    np.testing.assert_allclose(pointing.boresight(at), boresight, atol=1e-7)
