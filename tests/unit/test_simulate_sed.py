"""Spectra of simulated sources: dust, breaks, the intergalactic medium, lines and magnitudes."""

import numpy as np
import pytest
from pureparallel.core.lines import families
from pureparallel.simulate import instrument, sed

GALAXY = {
    "kind": "galaxy", "z": 1.0, "ebv": 0.2, "slope_uv": -1.9, "slope_optical": -1.2, "slope_nir": -1.7,
    "break_micron": 0.376, "break_ratio": 1.5, "flux_continuum": 3e-19, "sigma_kms": 80.0,
    **{family.column: 0.0 for family in sed.FAMILIES},
}  # fmt: skip
STAR = {"kind": "star", "teff": 5000.0, "flux_continuum": 1e-16}


def test_the_lines_are_those_that_are_fitted(root):
    from astropy.table import Table

    listed = {family.name: family for family in families(Table.read(root / "resources" / "lines.ecsv"))}
    for family in sed.FAMILIES:
        if family.name == "OIII":  # listed as a doublet at high resolution
            assert listed["OIII"].resolution == "high"
        assert listed[family.name].wavelengths == pytest.approx(family.wavelengths)
        assert listed[family.name].fractions == pytest.approx(family.shares, abs=1e-3)


def test_dust_is_calzettis():
    # k at Hβ, Hα and V, and R_V: Calzetti et al. 2000; also Domínguez et al. 2013, section 3
    assert sed.attenuation([0.4861, 0.6563]) == pytest.approx([4.60, 3.33], abs=0.01)
    assert sed.attenuation(0.55) == pytest.approx(4.05, abs=0.02)
    assert np.all(np.diff(sed.attenuation(np.linspace(0.1, 0.62, 100))) < 0)
    assert np.all(sed.attenuation(np.linspace(2, 5, 50)) >= 0)


def test_forest_of_lyman_alpha():
    # continuous where its parts meet, none redward of Lyα, and mean transmissions that are observed
    for edge in (2.2, 5.7):
        around = sed.igm_transmission(0.121567 * edge * (1 + np.array([-1e-6, 1e-6])), 8.0)
        assert np.ptp(around) < 1e-3 * around[0] + 1e-9
    assert np.all(sed.igm_transmission(0.1217 * 8 * np.linspace(1, 3, 50), 7.0) == 1)
    assert sed.igm_transmission(0.1200 * 4, 3.0) == pytest.approx(0.68, abs=0.05)  # Faucher-Giguère et al. 2008
    assert sed.igm_transmission(0.1200 * 7.5, 6.5) < 0.01
    assert sed.igm_transmission(0.0905 * 5, 4.0) == 0


@pytest.mark.parametrize("z", [6.0, 7.5])
def test_lyman_break(z):
    row = GALAXY | {"z": z, "ebv": 0.02}
    edge = 0.121567 * (1 + z)
    below, above = sed.spectrum(row, [edge * 0.97, edge * 1.01])
    assert below < 0.05 * above
    assert sed.magnitude(row, "F090W") > sed.magnitude(row, "F150W") + (0.3 if z == 6.0 else 4)
    assert sed.magnitude(row, "F200W") == pytest.approx(sed.magnitude(row, "F150W"), abs=0.5)


def test_balmer_break_and_slope():
    row = GALAXY | {"z": 2.0, "ebv": 0.0}
    before, behind = sed.spectrum(row, np.array([0.345, 0.41]) * 3)
    flat = (0.41 / 0.4) ** -1.2 / (0.345 / 0.4) ** -1.9
    assert behind / before / flat == pytest.approx(1.5, rel=0.02)
    low, high = sed.spectrum(row, np.array([0.28, 0.32]) * 3)
    assert np.log(high / low) / np.log(0.32 / 0.28) == pytest.approx(-1.9, abs=1e-3)


def test_the_continuum_is_the_columns_at_its_wavelength_and_keeps_shapes():
    for row in (GALAXY, STAR):
        assert sed.spectrum(row, sed.REFERENCE_WAVE) == pytest.approx(row["flux_continuum"], rel=1e-12)
        wave = np.linspace(0.8, 2.2, 12).reshape(3, 4)
        assert sed.spectrum(row, wave).shape == (3, 4)
        assert sed.spectrum(row, wave)[1, 2] == pytest.approx(float(sed.spectrum(row, wave[1, 2])), rel=1e-12)


def test_a_star_is_a_black_body_and_a_cool_one_has_water():
    wave = np.array([0.9, 2.1])
    flux = sed.spectrum(STAR, wave)
    photon = 6.62607015e-34 * 2.99792458e8 / (wave * 1e-6 * 1.380649e-23 * 5000)
    assert flux[0] / flux[1] == pytest.approx((0.9 / 2.1) ** -5 * np.expm1(photon[1]) / np.expm1(photon[0]), rel=1e-6)
    cool = sed.spectrum(STAR | {"teff": 2700.0}, [1.25, 1.42, 1.65])
    assert cool[1] < 0.75 * np.sqrt(cool[0] * cool[2])
    assert sed.lines(STAR) == []


def test_lines_are_where_and_as_strong_as_the_table_says():
    row = GALAXY | {"flux_OIII": 1.336e-16, "flux_Ha": 3e-16}
    found = {line.name: line for line in sed.lines(row)}
    assert set(found) == {"OIII-5008", "OIII-4960", "Ha"}
    assert found["OIII-5008"].wave_micron == pytest.approx(1.001648)
    assert found["OIII-5008"].flux == pytest.approx(1e-16)
    assert found["OIII-5008"].flux / found["OIII-4960"].flux == pytest.approx(2.98, abs=0.01)
    assert found["Ha"].sigma_kms == 80.0


@pytest.mark.parametrize("name", list(instrument.FILTERS))
def test_a_flat_spectrum_has_its_magnitude(name):
    wave, _ = sed.filter_grid(name)
    flat = 3.6308e-20 * 10 ** (-0.4 * 23) * sed.LIGHT_SPEED / (wave * 1e4) ** 2
    assert sed.ab(sed.mean_fnu(name, flat, np.zeros(0), np.zeros(0))) == pytest.approx(23, abs=1e-4)


def test_a_line_adds_what_its_equivalent_width_says():
    row = GALAXY | {"z": 1.3, "ebv": 0.0}
    plain = sed.magnitude(row, "F115W")
    level = float(sed.spectrum(row, 0.50 * 2.3))
    brighter = plain - sed.magnitude(row | {"flux_OIII": level * 500}, "F115W")
    band = instrument.FILTERS["F115W"]
    width = (band.wave_max - band.wave_min) * 1e4
    assert brighter == pytest.approx(2.5 * np.log10(1 + 500 / width), rel=0.1)
    # Hα, at 1.51 micron, is outside
    assert sed.magnitude(row | {"flux_Ha": level * 500}, "F115W") == plain


def test_line_ratios_follow_abundance():
    ratios = sed.line_ratios(np.array([7.8, 8.4, 8.7]))
    assert ratios["Hb"] == pytest.approx(1 / 2.86)
    assert ratios["PaB"] / ratios["Hb"] == pytest.approx(0.163)
    assert np.all(np.diff(ratios["NII"]) > 0)
    assert np.all(np.diff(ratios["OIII"] / ratios["OII"]) < 0)
    # Bian et al. 2018 at 12 + log(O/H) = 8.4: log R23 = 0.847, log O32 = 0.237, N2 = -0.857
    hb = ratios["Hb"][1]
    assert np.log10((ratios["OII"][1] + ratios["OIII"][1]) / hb) == pytest.approx(0.847, abs=0.002)
    assert np.log10(ratios["OIII"][1] / ratios["OII"][1]) == pytest.approx(0.237, abs=0.002)
    assert np.log10(ratios["NII"][1] / 1.338) == pytest.approx(-0.857, abs=0.002)
