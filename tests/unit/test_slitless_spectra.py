"""The file between stack and fit_redshift: what is written is read, and what is wrong is said."""

import dataclasses

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from pureparallel import UserError, slitless_spectra
from pureparallel.provenance import Lineage
from pureparallel.slitless_spectra import Setup

SOURCES = Table(
    {"id": ["a1", "b2", "c3"], "ra": [1.0, 2.0, 3.0], "dec": [0.0, 0.0, 0.0], "reason": ["", "", "no trace"]}
)


def setup(grism, filter, rows, low=1.0, bins=20, samples=5):
    """Spectra of (source, roll) whose flux is their number."""
    rng = np.random.default_rng(len(rows))
    count = len(rows)
    return Setup(
        grism, filter, low + 0.005 * np.arange(bins), np.array([source for source, _ in rows]),
        np.array([roll for _, roll in rows], float), np.full(count, 47.0), rng.uniform(0.1, 1, (count, samples)),
        np.arange(count, dtype=float)[:, None] + np.zeros(bins), np.ones((count, bins)), np.zeros((count, bins)),
    )  # fmt: skip


@pytest.fixture
def setups():
    return [
        setup("GR150R", "F150W", [("a1", 37), ("a1", 97), ("b2", 37)], low=1.33),
        setup("GR150R", "F115W", [("a1", 37), ("b2", 37)]),
        setup("GR150C", "F115W", [("b2", 37)], samples=7),
    ]


@pytest.fixture
def path(tmp_path, setups):
    path = tmp_path / "spectra.fits"
    slitless_spectra.write(path, SOURCES, setups, Lineage.of("stack", []))
    return path


def test_what_is_written_is_read(path, setups):
    sources, found = slitless_spectra.read(path)
    assert list(sources["id"]) == ["a1", "b2", "c3"]
    assert sources["reason"][2] == "no trace"
    for a, b in zip(setups, found, strict=True):
        assert (a.grism, a.filter) == (b.grism, b.filter)
        assert list(a.source) == list(b.source)
        for name in ("wave", "roll", "dispersion", "profile", "flux", "err", "contamination"):
            assert getattr(b, name) == pytest.approx(getattr(a, name), rel=1e-6)
    with fits.open(path) as hdus:
        assert hdus["SPECTRA", 2].header["FILTER"] == "F115W"
        units = dict(zip(hdus["SPECTRA", 1].columns.names, hdus["SPECTRA", 1].columns.units, strict=True))
    assert units["flux"] == "10**-20 erg s-1 cm-2 Angstrom-1"
    assert units["dispersion"] == "Angstrom"


def test_a_source_takes_its_spectra_and_models_along(path, setups):
    models = [slitless_spectra.model_hdu(s, s.flux + 1, 0 * s.flux, i) for i, s in enumerate(setups, start=1)]
    with fits.open(path) as spectra:
        found = slitless_spectra.of_source(spectra, fits.HDUList([fits.PrimaryHDU(), *models]), "b2")
        assert slitless_spectra.of_source(spectra, fits.HDUList([fits.PrimaryHDU(), *models]), "c3") is None
    assert [(hdu.header["GRISM"], hdu.header["FILTER"], hdu.header["ROLL"]) for hdu in found[1:]] == [
        ("GR150R", "F150W", 37), ("GR150R", "F115W", 37), ("GR150C", "F115W", 37)
    ]  # fmt: skip
    assert found["SPECTRUM", 1].data["flux"] == pytest.approx(2)
    assert found["SPECTRUM", 1].data["model"] == pytest.approx(3)
    assert found["SPECTRUM", 2].data["wave"] == pytest.approx(setups[1].wave)


def test_spectra_on_one_grid_are_fitted_together(setups):
    gathered = slitless_spectra.gather(setups, ["a1", "b2", "c3"])
    assert [one.spectra.flux.shape for one in gathered] == [(3, 2, 20), (3, 2, 20)]
    blue, red = gathered
    assert blue.spectra.wave[0] == pytest.approx(10000)
    assert red.setup.tolist() == [[0, 0], [0, -1], [-1, -1]]
    assert blue.setup.tolist() == [[1, -1], [1, 2], [-1, -1]]
    assert blue.row[1].tolist() == [1, 0]
    assert not blue.spectra.err[2].any()
    # a profile of fewer samples stays centred
    assert blue.spectra.profile[1, 0, 1:-1] == pytest.approx(setups[1].profile[1])
    assert blue.spectra.profile[1, 1] == pytest.approx(setups[2].profile[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"wave": s.wave**2}, "not in equal, increasing steps"),
        (lambda s: {"wave": s.wave[::-1]}, "not in equal, increasing steps"),
        (lambda s: {"profile": s.profile[:, :4]}, "even number of samples"),
        (lambda s: {"dispersion": -s.dispersion}, "not positive"),
        (lambda s: {"profile": 0 * s.profile}, "not positive"),
        (lambda s: {"flux": s.flux[:, :9], "err": s.err[:, :9], "contamination": s.contamination[:, :9]}, "has 9 bins"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, setups, change, message):
    path = tmp_path / "spectra.fits"
    broken = dataclasses.replace(setups[0], **change(setups[0]))
    slitless_spectra.write(path, SOURCES, [broken], Lineage.of("stack", []))
    with pytest.raises(UserError, match=message) as error:
        slitless_spectra.read(path)
    assert str(path) in str(error.value)


def test_a_missing_column_is_named(tmp_path, path):
    hdus = fits.open(path)
    table = Table(hdus["SPECTRA", 1].data)
    table.remove_column("contamination")
    changed = fits.BinTableHDU(table, name="SPECTRA", ver=1)
    changed.header["GRISM"], changed.header["FILTER"] = "GR150R", "F150W"
    other = tmp_path / "other.fits"
    fits.HDUList([*hdus[:2], hdus["WAVE", 1], changed]).writeto(other, checksum=True)
    hdus.close()
    with pytest.raises(UserError, match="SPECTRA 1 has no column contamination"):
        slitless_spectra.read(other)
