"""Templates and priors of the slitless fit against what is known of galaxies."""

import numpy as np
import pytest
from pureparallel.core import lines, redshift_priors, templates


@pytest.fixture(scope="module")
def mixtures(root):
    from astropy.table import Table

    return templates.mixtures(lines.families(Table.read(root / "resources" / "lines.ecsv")))


def at(mixtures, wavelength):
    """Row of a line."""
    return int(np.argmin(np.abs(mixtures.wavelengths - wavelength)))


def test_forbidden_lines_come_with_hydrogen(mixtures):
    """No sum of templates has [OIII], [OII], CIII] or MgII without Hβ, or [NII] without Hα."""
    wavelengths = {
        "CIII": 1906.683, "MgII": 2796.352, "OII": 3729.875, "Hb": 4862.683, "OIII": 5008.24, "Ha": 6564.61,
        "NII": 6585.27,
    }  # fmt: skip
    ratios = {name: mixtures.ratios[at(mixtures, one)] for name, one in wavelengths.items()}
    with_gas = ratios["Hb"] > 0
    assert with_gas.sum() == len(templates.MIXTURES) + len(templates.REDDENED)
    assert np.all(ratios["OIII"] <= 17 * ratios["Hb"])
    assert np.all(ratios["OII"] <= 6 * ratios["Hb"])
    assert np.all(ratios["CIII"] <= 3 * ratios["Hb"])
    assert np.all(ratios["MgII"] <= 3 * ratios["Hb"])
    assert np.all(ratios["NII"] <= 1.0 * ratios["Ha"])
    assert np.all(ratios["Ha"][with_gas] >= 2.8 * ratios["Hb"][with_gas])


def test_doublets_have_their_fixed_ratios(mixtures):
    for strong, weak, ratio in ((5008.24, 4960.295, 2.98), (6585.27, 6549.86, 2.96), (9533.2, 9071.1, 2.47)):
        a, b = mixtures.ratios[at(mixtures, strong)], mixtures.ratios[at(mixtures, weak)]
        plain = [i for i, name in enumerate(mixtures.names) if "reddened" not in name and a[i] > 0]
        assert a[plain] / b[plain] == pytest.approx(ratio, rel=0.02)


def test_dust_is_calzettis():
    assert templates.attenuation(5500.0) == pytest.approx(4.05, abs=0.05)
    assert templates.attenuation([4862.7, 6564.6]) == pytest.approx([4.60, 3.33], abs=0.02)
    decrement = templates.reddening(6564.6, 0.5) / templates.reddening(4862.7, 0.5)
    assert decrement == pytest.approx(10 ** (0.4 * 0.5 * 1.27), rel=0.01)
    assert templates.attenuation(50000.0) == 0


def test_the_intergalactic_medium_absorbs_bluewards_of_lyman_alpha():
    below, above = templates.transmission([1150.0, 1300.0], 3.0)
    assert below == pytest.approx(0.68, abs=0.06)  # Inoue et al. (2014), figure 4
    assert above == 1
    assert templates.transmission(1150.0, 7.0) < 0.01
    assert templates.transmission(880.0, 3.0) < 1e-6
    blurred = templates.transmission([1205.0, 1215.67, 1226.0], 8.0, 0.01)
    assert blurred[1] == pytest.approx(0.5, abs=0.01)
    assert np.all(np.diff(blurred) > 0)


def test_continuum_templates_move_with_redshift(root):
    from astropy.table import Table

    table = Table.read(root / "resources" / "continuum.ecsv")
    found = templates.continuum(
        np.asarray(table["wavelength"]), {name: np.asarray(table[name]) for name in templates.STELLAR_DUST}
    )
    steps = np.diff(np.log(found.wavelength))
    assert np.allclose(steps, steps[0], rtol=0.02)
    assert np.all(found.flux >= 0)
    z = np.array([0.5, 2.0])
    rest = np.array([3600.0, 4200.0, 6000.0])
    first, second = (found.observed(rest * (1 + one), np.array([one]))[0] for one in z)
    assert np.allclose(first, second, rtol=1e-3)
    kinds = [name for name, dust in templates.STELLAR_DUST.items() for _ in dust]
    ratio = (
        found.flux[:, np.searchsorted(found.wavelength, 4050)] / found.flux[:, np.searchsorted(found.wavelength, 3850)]
    )
    assert ratio[kinds.index("cool")] > 1.5  # the break at 4000 Å
    assert ratio[kinds.index("hot")] < 1.0


def test_the_luminosity_prior_only_excludes_the_far_too_luminous():
    z = np.linspace(0.05, 9, 500)

    def odds(magnitude, a, b):
        prior = redshift_priors.luminosity(z, 10 ** (-0.4 * (magnitude + 48.6)))
        return np.interp(a, z, prior) - np.interp(b, z, prior)

    assert odds(21, 0.5, 6) > 20
    assert 0 < odds(24, 1, 6) < 6
    assert abs(odds(27, 1, 6)) < 2
    assert odds(25, 1, 0.06) > 1  # there is hardly any volume nearby


def test_the_volume_is_that_of_the_cosmology():
    """For sources far below L*, the prior is volume times a power of luminosity."""
    from astropy.cosmology import FlatLambdaCDM

    cosmology = FlatLambdaCDM(H0=70, Om0=0.3, Tcmb0=0)
    z = np.array([0.3, 1.0, 3.0, 7.0])
    prior = redshift_priors.luminosity(z, 1e-36)
    volume = cosmology.differential_comoving_volume(z).value
    luminosity = cosmology.luminosity_distance(z).value ** 2 / (1 + z)
    expected = np.log(volume) - 0.3 * np.log(luminosity)
    assert prior - prior[0] == pytest.approx(expected - expected[0], abs=0.01)


def test_a_photometric_prior_leaves_room_for_its_failures():
    z = np.linspace(0.1, 5, 300)
    grid = np.linspace(0, 6, 200)
    prior = redshift_priors.photometric(z, grid, np.exp(-0.5 * ((grid - 2) / 0.1) ** 2), 0.05)
    density = np.exp(prior)
    assert np.sum((density[1:] + density[:-1]) / 2 * np.diff(z)) == pytest.approx(1, rel=0.01)
    assert np.exp(prior[np.searchsorted(z, 4)]) == pytest.approx(0.05 / 4.9, rel=0.01)
    assert not redshift_priors.photometric(z, grid, np.zeros(200), 0.05).any()
