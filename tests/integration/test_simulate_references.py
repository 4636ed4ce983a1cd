"""The simulated references as the real client and the real pipeline read them."""

import json
import os
import re
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from pureparallel.simulate import crds_cache, instrument
from pureparallel.simulate.background import background_components
from pureparallel.simulate.detector import make_detector
from pureparallel.simulate.dispersion import Traces
from pureparallel.simulate.instrument import FILTERS, FWCPOS_REF, GRISMS, NIS_CEN, PIXAR_SR, Frame

pytestmark = pytest.mark.slow

FRAME = Frame(769, 769, 512, 512)
SMALL = Frame(1, 901, 96, 64)
BANDS = ("F115W", "F200W")

BUILD = """
import json, sys
from pathlib import Path
from pureparallel.simulate.instrument import Frame
from pureparallel.simulate.references import build
for cache, frame, seed, filters in json.loads(sys.argv[1]):
    build(Path(cache), Frame(*frame), seed, filters)
"""

HEADER = {
    "META.INSTRUMENT.NAME": "NIRISS",
    "META.INSTRUMENT.DETECTOR": "NIS",
    "META.EXPOSURE.READPATT": "NIS",
    "META.OBSERVATION.DATE": "2024-03-01",
    "META.OBSERVATION.TIME": "00:00:00",
    "META.INSTRUMENT.PUPIL": "F200W",
}
IMAGE = {"META.EXPOSURE.TYPE": "NIS_IMAGE", "META.INSTRUMENT.FILTER": "CLEAR"}
GRISM = {"META.EXPOSURE.TYPE": "NIS_WFSS", "META.INSTRUMENT.FILTER": "GR150C"}


@pytest.fixture(scope="module")
def caches(tmp_path_factory, run_in):
    """Built in one process: the demonstration's frame, and a small one twice from one seed, once from another."""
    folder = tmp_path_factory.mktemp("caches")
    jobs = {
        "main": (FRAME, 1, BANDS),
        "a": (SMALL, 1, BANDS[:1]),
        "b": (SMALL, 1, BANDS[:1]),
        "c": (SMALL, 2, BANDS[:1]),
    }
    arguments = [
        (str(folder / name), [f.xstart, f.ystart, f.nx, f.ny], seed, bands) for name, (f, seed, bands) in jobs.items()
    ]
    run_in("jwst", "python", "-W", "error::UserWarning:pureparallel", "-c", BUILD, json.dumps(arguments), cwd=folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(jobs)
    return folder


@pytest.fixture(scope="module")
def ask(run_in):
    """Run a script with a cache in the environment; it prints one line of JSON last."""

    def run(cache, script, *arguments):
        before = dict(os.environ)
        os.environ.update(crds_cache.environment(cache))
        try:
            done = run_in("jwst", "python", "-c", script, *map(json.dumps, arguments), cwd=cache.parent)
        finally:
            os.environ.clear()
            os.environ.update(before)
        return json.loads(done.stdout.splitlines()[-1])

    return run


def opened(cache, name):
    return fits.open(crds_cache.reference_folder(cache) / f"jwst_niriss_{name}_0001.fits", memmap=False)


def arrays(cache):
    """All arrays and tables of all FITS references, and the text of the others without what the clock says."""
    content = {}
    for path in sorted(crds_cache.reference_folder(cache).iterdir()):
        if path.suffix == ".fits":
            with fits.open(path, memmap=False) as hdus:
                content |= {(path.name, i): hdu.data.tobytes() for i, hdu in enumerate(hdus) if hdu.data is not None}
        else:
            content[path.name, 0] = re.sub(rb"\d{4}-\d\d-\d\d[T\s]+[\d:.]+", b"", path.read_bytes())
    return content


def test_the_same_seed_makes_the_same_arrays(caches):
    one, same, other = (arrays(caches / name) for name in "abc")
    assert len(one) > 40
    assert one == same
    differing = {name for (name, _), data in one.items() if other[name, _] != data}
    assert {"jwst_niriss_dark_nis_0001.fits", "jwst_niriss_flat_f115w_0001.fits"} <= differing
    assert not any("specwcs" in name or "distortion" in name for name in differing)


def test_references_are_the_detector_in_the_pipeline_s_units(caches):
    d = make_detector(FRAME, 1)
    with opened(caches / "main", "readnoise") as hdus:  # that of a difference of two frames
        assert np.allclose(hdus["SCI"].data, np.sqrt(2) * d.read_noise)
    with opened(caches / "main", "dark_nis") as hdus:
        assert (hdus[0].header["READPATT"], hdus[0].header["NFRAMES"], hdus[0].header["NGROUPS"]) == ("NIS", 4, 12)
        assert np.allclose(np.diff(hdus["SCI"].data, axis=0), d.dark * np.float32(4 * 10.73677), rtol=1e-3)
    with opened(caches / "main", "dark_nisrapid") as hdus:
        assert np.allclose(hdus["SCI"].data[0], d.dark * np.float32(10.73677), rtol=1e-5)
    with opened(caches / "main", "mask") as hdus:
        bits = {row["NAME"]: row["VALUE"] for row in hdus["DQ_DEF"].data}
        assert np.array_equal(hdus["DQ"].data & bits["DEAD"] > 0, d.dead)
        assert np.array_equal(hdus["DQ"].data & bits["DO_NOT_USE"] > 0, d.dead | d.hot)
        assert "SIMULATED" in hdus[0].header["DESCRIP"]
        assert [hdus[0].header[key] for key in ("SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2")] == [769, 769, 512, 512]
    with opened(caches / "main", "bkg_gr150r_f200w") as hdus:
        zodiacal = background_components("GR150R", "F200W", FRAME)["zodiacal"]
        assert np.allclose(hdus["SCI"].data, zodiacal * d.flat["F200W"], rtol=1e-5)


def test_spectral_calibration_inverts_the_sensitivity(caches):
    """Counts of a known spectrum come back as its flux density."""
    traces = Traces.read(instrument.GRISM_CONFIGURATION)
    with opened(caches / "main", "photom_wfss") as hdus:
        table, unit = hdus["PHOTOM"].data, hdus["PHOTOM"].header["PHOTUNIT"]
    assert unit == "MJy micron s / (DN sr)"
    for grism in GRISMS:
        for band in BANDS:
            row = table[(table["filter"] == grism) & (table["pupil"] == band) & (table["order"] == 1)][0]
            wave = np.linspace(FILTERS[band].wave_min * 1.01, FILTERS[band].wave_max * 0.99, 50)
            f_nu = 1e-29  # erg/s/cm2/Hz, which is 1 uJy
            f_lambda = f_nu * 2.99792458e18 / (wave * 1e4) ** 2
            dispersion = 0.0047  # um per pixel
            rate = f_lambda * traces.sensitivity(grism, band, 1, wave) * dispersion * 1e4
            response = row["photmjsr"] * np.interp(wave, row["wavelength"], row["relresponse"])
            assert rate * response / dispersion * PIXAR_SR * 1e12 == pytest.approx(1.0, rel=3e-3)


def test_aperture_corrections_are_those_of_the_psf(caches):
    from pureparallel.simulate.psf import encircled_energy

    with opened(caches / "main", "apcorr") as hdus:
        table = hdus["APCORR"].data
    for band in BANDS:
        rows = table[table["pupil"] == band]
        radii, fractions = encircled_energy(band)
        assert np.interp(rows["radius"], radii, fractions) == pytest.approx(rows["eefraction"], abs=2e-3)
        # a little more than the inverse fraction, because the sky's annulus holds light of the star
        excess = rows["apcorr"] * rows["eefraction"]
        assert np.all((excess >= 1) & (excess < 1.02))


def test_the_client_resolves_every_type(caches, ask):
    script = """
import json, os, sys
import crds
from pureparallel.acquire.references import types as declared
types = sorted(declared())
found = [crds.getreferences(h, types, observatory="jwst") for h in map(json.loads, sys.argv[1:])]
print(json.dumps([{k: os.path.basename(v) if os.path.isfile(v) else v for k, v in f.items()} for f in found]))
"""
    image, spectra = ask(
        caches / "main", script, HEADER | IMAGE, HEADER | GRISM | {"META.EXPOSURE.READPATT": "NISRAPID"}
    )
    both = {"mask", "gain", "readnoise", "saturation", "linearity", "superbias", "dark", "flat", "photom", "distortion"}
    both |= {"abvegaoffset", "pars-jumpstep"}
    for found, expected in (
        (image, both | {"apcorr", "filteroffset"}),
        (spectra, both | {"specwcs", "wavelengthrange", "bkg"}),
    ):
        files = {kind: name for kind, name in found.items() if name.startswith("jwst_niriss")}
        assert set(files) == expected
        assert {name for kind, name in found.items() if kind not in files} == {"NOT FOUND n/a"}
        assert {"ipc", "area", "extract1d", "pars-image2pipeline"} <= set(found)
    assert image["dark"] == "jwst_niriss_dark_nis_0001.fits"
    assert spectra["dark"] == "jwst_niriss_dark_nisrapid_0001.fits"
    assert spectra["specwcs"] == "jwst_niriss_specwcs_gr150c_f200w_0001.asdf"


ASSIGN = """
import json, sys
import numpy as np
from jwst.assign_wcs import AssignWcsStep
from stdatamodels.jwst.datamodels import ImageModel

points, offset, setups = map(json.loads, sys.argv[1:])
x, y = np.array(points).T
result = []
for kind, wheel, band, position, wave, order in setups:
    model = ImageModel(np.zeros((512, 512), np.float32))
    meta = model.meta
    meta.telescope, meta.exposure.type, meta.exposure.readpatt = "JWST", kind, "NIS"
    meta.instrument.name, meta.instrument.detector = "NIRISS", "NIS"
    meta.instrument.filter, meta.instrument.pupil, meta.instrument.filter_position = wheel, band, position
    meta.observation.date, meta.observation.time = "2024-03-01", "00:00:00"
    s = meta.subarray
    s.name, s.fastaxis, s.slowaxis = "GENERIC", -2, -1
    s.xstart, s.ystart, s.xsize, s.ysize = 769, 769, 512, 512
    w = meta.wcsinfo
    w.ra_ref, w.dec_ref, w.roll_ref = 53.15, -27.8, 37.0
    w.v2_ref, w.v3_ref, w.v3yangle, w.vparity, w.velosys = -291.141, -698.015, 0.56126717, -1, 0.0
    done = AssignWcsStep.call(model)
    assert done.meta.cal_step.assign_wcs == "COMPLETE"
    wcs = done.meta.wcs
    if kind == "NIS_IMAGE":
        forward = wcs.get_transform("detector", "v2v3")(x, y)
        back = wcs.get_transform("v2v3", "detector")(*forward)
        result.append([np.array(v).tolist() for v in (*forward, *back)])
    else:
        dispersed = wcs.get_transform("detector", "grism_detector")(x, y, np.full(len(x), wave), np.full(len(x), order))
        result.append([np.ravel(v).tolist() for v in dispersed[:2]])
print(json.dumps(result))
"""


def test_the_pipeline_s_geometry_is_the_aperture_and_the_traces(caches, ask):
    """In the subarray: distortion to SIAF's polynomials, traces of both grisms to the simulator's own."""
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 511, (6, 2))
    setups = [("NIS_IMAGE", "CLEAR", "F200W", 74.0, 0.0, 0)]
    for grism in GRISMS:
        for band in BANDS:
            for order in (1, 0, 2):
                for turn in (0.0, 0.15):
                    position = FWCPOS_REF[grism] + turn
                    setups.append(("NIS_WFSS", grism, band, position, FILTERS[band].pivot + 0.02, order))
    image, *spectra = ask(caches / "main", ASSIGN, points.tolist(), 0, setups)

    x, y = points.T
    v2, v3, back_x, back_y = np.array(image)
    assert np.allclose(NIS_CEN.to_telescope(x + 768, y + 768), [v2, v3], rtol=0, atol=1e-7)
    assert np.hypot(back_x - x, back_y - y).max() < 1e-3
    traces = Traces.read(instrument.GRISM_CONFIGURATION)
    for (_, grism, band, position, wave, order), (gx, gy) in zip(setups[1:], spectra, strict=True):
        dx, dy = traces.displace(grism, band, order, x, y, wave, position)
        distance = np.hypot(np.array(gx) - x - dx, np.array(gy) - y - dy)
        assert distance.max() < 0.01, (grism, band, position, order)
        assert np.hypot(dx, dy).min() > 10  # or the test could not fail


def test_the_inverse_distortion_holds_over_the_detector(run_in, tmp_path):
    script = """
import numpy as np
from pureparallel.simulate.instrument import NIS_CEN
from pureparallel.simulate.references import distortion
model = distortion(NIS_CEN)
x, y = np.meshgrid(np.linspace(0, 2047, 101), np.linspace(0, 2047, 101))
v2, v3 = model(x, y)
assert np.allclose([v2, v3], NIS_CEN.to_telescope(x, y), rtol=0, atol=1e-8)
print(np.hypot(*(np.array(model.inverse(v2, v3)) - [x, y])).max())
"""
    assert float(run_in("jwst", "python", "-c", script, cwd=tmp_path).stdout) < 1e-3


def test_the_aperture_is_siaf_s(run_in, tmp_path):
    """The numbers in `instrument` are those of pysiaf, which comes with another environment than the pipeline."""
    script = """
import json, pysiaf
a = pysiaf.Siaf("NIRISS")["NIS_CEN"]
powers = [(p, q) for p in range(a.Sci2IdlDeg + 1) for q in range(p + 1)]
coefficients = [[float(getattr(a, f"Sci2Idl{axis}{p}{q}")) for p, q in powers] for axis in "XY"]
place = [a.XSciRef, a.YSciRef, a.V2Ref, a.V3Ref, a.V3IdlYAngle, a.VIdlParity]
print(json.dumps([coefficients, place, [float(v) for v in a.sci_to_tel(1.0, 300.0)]]))
"""
    done = run_in("msaexp", "python", "-c", script, cwd=tmp_path)
    coefficients, place, corner = json.loads(done.stdout.splitlines()[-1])
    a = NIS_CEN
    assert np.allclose(coefficients, [a.x_coefficients, a.y_coefficients], rtol=1e-9, atol=1e-20)
    assert place == [a.x_ref, a.y_ref, a.v2_ref, a.v3_ref, a.v3_idl_y_angle, a.v_idl_parity]
    assert a.to_telescope(0.0, 299.0) == pytest.approx(corner, abs=1e-6)


def test_certify_finds_no_error_at_full_frame(run_in, tmp_path):
    """As CRDS does before it accepts references; with one filter, because every filter's are alike."""
    cache = tmp_path / "cache"
    full = [1, 1, 2048, 2048]
    run_in("jwst", "python", "-c", BUILD, json.dumps([(str(cache), full, 1, ["F200W"])]), cwd=tmp_path)
    files = sorted(crds_cache.mapping_folder(cache).iterdir()) + sorted(crds_cache.reference_folder(cache).iterdir())
    assert len(files) > 30
    before = dict(os.environ)
    os.environ.update(crds_cache.environment(cache))
    try:
        done: subprocess.CompletedProcess = run_in(
            "jwst", "python", "-m", "crds.certify", *files, cwd=tmp_path, check=False
        )
    finally:
        os.environ.clear()
        os.environ.update(before)
    log = done.stdout + done.stderr
    assert " 0 errors" in log, "\n".join(line for line in log.splitlines() if "ERROR" in line)
    assert done.returncode == 0
