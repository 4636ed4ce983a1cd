"""The simulated sky against what its distributions were measured to be."""

import numpy as np
import pytest
from pureparallel import io
from pureparallel.simulate import galaxies, instrument, sed, sky

CENTRE = (53.1, -27.8)
DEMO = {"radius_arcmin": 0.28, "depth_mag": 26.0}


def rng(name):
    return instrument.seed_for(5, name)


@pytest.fixture(scope="module")
def field():
    """A field of some 500 sources."""
    return sky.make(CENTRE, 0.9, 3, 26.0)


@pytest.fixture(scope="module")
def sample():
    """Many galaxies between magnitudes 21 and 25.5."""
    generator = rng("sample")
    return galaxies.draw(generator.uniform(21, 25.5, 10000), generator)


def test_counts_rise_as_observed():
    magnitude = sky.GALAXY_COUNTS.draw(400.0, 17.0, 27.0, rng("counts"))
    # Yan et al. 1998: 4e5 per deg2 brighter than H = 24.75 (26.06 AB), slope 0.31 over the six magnitudes before
    assert np.sum(magnitude < 26.06) / 400 == pytest.approx(4e5 / 3600, rel=0.03)
    edges = np.arange(21, 26.01, 0.5)
    number = np.histogram(magnitude, edges)[0]
    slope = np.polyfit(edges[:-1] + 0.25, np.log10(number), 1, w=np.sqrt(number))[0]
    assert slope == pytest.approx(0.31, abs=0.01)
    bright = np.histogram(magnitude, [18, 19, 20])[0]
    assert np.log10(bright[1] / bright[0]) > 0.4
    faint = np.histogram(magnitude, [26.1, 26.5, 26.9])[0]
    assert np.log10(faint[1] / faint[0]) / 0.4 == pytest.approx(0.20, abs=0.05)


def test_a_field_has_the_counts_on_its_area(field):
    galaxy = field[field["kind"] == "galaxy"]
    expected = 79.3 * 10 ** (0.31 * (26.0 - 26.06)) / (0.31 * np.log(10)) * np.pi * (0.9 + 0.35) ** 2
    assert len(galaxy) == pytest.approx(expected, abs=4 * np.sqrt(expected))
    share = np.mean(galaxy["inside"])
    assert share == pytest.approx((0.9 / 1.25) ** 2, abs=4 * 0.5 / np.sqrt(len(galaxy)))
    doubled = sky.make(CENTRE, 0.9, 3, 26.0, density_scale=2.0)
    count = np.sum(doubled["kind"] == "galaxy")
    assert count == pytest.approx(2 * expected, abs=4 * np.sqrt(2 * expected))


def test_positions_lie_around_the_centre(field):
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    away = SkyCoord(field["ra"], field["dec"]).separation(SkyCoord(*CENTRE, unit="deg")).to_value(u.arcmin)
    assert np.all(away < 1.25 + 1e-6)
    assert np.array_equal(away <= 0.9, field["inside"])
    assert np.max(away) > 1.2
    ra, dec = sky.offset_position((359.9999, 60.0), [3.6, 0.0], [0.0, -7.2])
    assert ra == pytest.approx([0.0019, 359.9999], abs=1e-7)
    assert dec == pytest.approx([60.0, 59.998], abs=1e-7)


def test_faint_galaxies_are_farther():
    drawn = {m: galaxies.draw(np.full(2000, float(m)), rng(f"z{m}"))["z"] for m in (20, 22, 24, 26)}
    medians = [np.median(z) for z in drawn.values()]
    assert np.all(np.diff(medians) > 0.1)
    assert 0.3 < medians[0] < 0.8
    assert 0.9 < medians[2] < 1.8
    everything = np.concatenate(list(drawn.values()))
    assert everything.min() >= 0.1 and everything.max() <= 8
    assert 0.002 < np.mean(drawn[26] > 6) < 0.05
    assert np.mean(drawn[20] > 3) < 0.01


def test_types(sample):
    share = {name: np.mean(sample["sed_type"] == name) for name in galaxies.TYPES}
    assert sum(share.values()) == pytest.approx(1)
    assert all(value > 0.02 for value in share.values())
    bright = galaxies.draw(np.full(2000, 20.0), rng("types"))["sed_type"]
    assert np.mean(bright == "quiescent") > 2 * share["quiescent"]
    assert np.mean(bright == "young") < share["young"]


def kiloparsec(arcsec, z):
    """Proper size, by a distance integrated here (flat, H0 of 70, matter 0.3)."""
    grid = np.linspace(0, 8.1, 8101)
    rate = 1 / np.sqrt(0.3 * (1 + grid) ** 3 + 0.7)
    comoving = 299792.458 / 70 * np.concatenate([[0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(grid))])
    return arcsec / 206264.806 * np.interp(z, grid, comoving) / (1 + z) * 1e3


def test_sizes_shrink_with_redshift(sample):
    z, log_mass = sample["z"], sample["log_mass"]
    log_size = np.log10(kiloparsec(sample["re_arcsec"], z))
    late = np.isin(sample["sed_type"], ["star-forming", "young"])
    design = np.column_stack([np.log10(1 + z), log_mass - np.log10(5e10), np.ones(len(z))])[late]
    fitted, *_ = np.linalg.lstsq(design, log_size[late])
    # van der Wel et al. 2014: 8.9 kpc (1+z)^-0.75 M^0.22, 0.16-0.19 dex
    assert fitted == pytest.approx([-0.75, 0.22, np.log10(8.9)], abs=0.04)
    assert np.std(log_size[late] - design @ fitted) == pytest.approx(0.18, abs=0.01)
    massive = (log_mass > 10.3) & (z > 1) & (z < 2)
    early = sample["sed_type"] == "quiescent"
    assert np.median(log_size[massive & early]) < np.median(log_size[massive & late]) - 0.15
    # on the sky too: this is what an image shows
    bright = late & (sample["mag_ref"] < 24)
    near, far = np.median(sample["re_arcsec"][bright & (z < 0.6)]), np.median(sample["re_arcsec"][bright & (z > 2)])
    assert 0.1 < far < 0.7 * near


def test_shapes(sample):
    early = sample["sed_type"] == "quiescent"
    assert np.median(sample["sersic_n"][early]) == pytest.approx(3.5, abs=0.2)
    assert np.median(sample["sersic_n"][sample["sed_type"] == "young"]) == pytest.approx(1.0, abs=0.1)
    assert np.all((sample["axis_ratio"] > 0.1) & (sample["axis_ratio"] <= 1))
    assert np.mean(sample["axis_ratio"][early]) > np.mean(sample["axis_ratio"][~early]) + 0.1
    assert np.histogram(sample["pa_deg"], [0, 45, 90, 135, 180])[0] / len(early) == pytest.approx([0.25] * 4, abs=0.02)


def test_balmer_decrement_is_that_of_the_dust(sample):
    measured = sample["flux_Ha"] / sample["flux_Hb"]
    assert np.all(measured >= 2.86 * 0.999)
    # k(Hβ) - k(Hα) of Calzetti et al. 2000 is 1.27
    assert np.log10(measured / 2.86) == pytest.approx(0.4 * 1.27 * sample["ebv"], abs=0.01)
    assert np.median(sample["ebv"][sample["sed_type"] == "dusty"]) == pytest.approx(0.5, abs=0.03)


def test_line_ratios_are_physical(sample):
    forming = sample["sed_type"] != "quiescent"
    oiii = np.log10(sample["flux_OIII"] / 1.336 / sample["flux_Hb"])[forming]
    nii = np.log10(sample["flux_NII"] / 1.338 / sample["flux_Ha"])[forming]
    # below the line of maximum starburst of Kewley et al. 2001, but for scatter
    maximum = 0.61 / (np.minimum(nii, 0.4) - 0.47) + 1.19
    assert np.mean(oiii < maximum + 0.2) > 0.95
    assert np.corrcoef(oiii, nii)[0, 1] < -0.5
    assert 0.02 < np.median(sample["flux_PaB"] / sample["flux_Ha"]) < 0.2
    assert 0.7 < np.median(sample["flux_SIII"] / sample["flux_SII"]) < 5


def test_equivalent_widths_grow_with_redshift(sample):
    z, forming = sample["z"], sample["sed_type"] == "star-forming"
    typical = np.log10(sample["ew_ha"]) + 0.25 * (np.maximum(sample["log_mass"], 9) - 10)
    used = forming & (z < 2)
    slope, today = np.polyfit(np.log10(1 + z[used]), typical[used], 1)
    assert slope == pytest.approx(1.8, abs=0.2)
    assert today == pytest.approx(np.log10(20), abs=0.06)
    assert np.std(typical[used] - slope * np.log10(1 + z[used])) == pytest.approx(0.3, abs=0.02)
    assert np.median(sample["ew_ha"][sample["sed_type"] == "quiescent"]) < 5
    assert np.all((sample["sigma_kms"] >= 20) & (sample["sigma_kms"] <= 350))


def test_the_ha_flux_is_equivalent_width_times_continuum(field):
    for row in field[field["kind"] == "galaxy"][::10]:
        level = float(sed.spectrum(row, 0.656461 * (1 + row["z"])))
        assert row["flux_Ha"] == pytest.approx(row["ew_ha"] * (1 + row["z"]) * level, rel=1e-9)


def direct_magnitude(row, name):
    """AB by sums over fine pixels in which lines are Gaussians, apart from the code under test."""
    band = instrument.FILTERS[name]
    wave = np.arange(band.wave_min - 0.05, band.wave_max + 0.05, 2e-5)
    flux = sed.spectrum(row, wave)
    for line in sed.lines(row):
        sigma = line.wave_micron * max(line.sigma_kms, 30) / 299792.458
        flux = flux + line.flux / (sigma * 1e4 * np.sqrt(2 * np.pi)) * np.exp(
            -0.5 * ((wave - line.wave_micron) / sigma) ** 2
        )
    weight = instrument.bandpass(name, wave)
    fnu = np.sum(flux * weight * wave) / np.sum(weight / wave) * 1e8 / 2.99792458e18
    return -2.5 * np.log10(fnu) - 48.6


def test_magnitudes_close_to_the_table(field):
    rows = [*field[field["kind"] == "galaxy"][::12], *field[field["kind"] == "star"][:3]]
    for row in rows:
        assert sed.magnitude(row, "F150W") == pytest.approx(row["mag_ref"], abs=1e-9)
        assert direct_magnitude(row, "F150W") == pytest.approx(row["mag_ref"], abs=1e-4)
        for name in ("F115W", "F200W"):
            edges = np.array([instrument.FILTERS[name].wave_min, instrument.FILTERS[name].wave_max])
            if all(np.min(np.abs(line.wave_micron / edges - 1)) > 0.01 for line in sed.lines(row)):
                assert direct_magnitude(row, name) == pytest.approx(row[f"mag_{name}"], abs=1e-3)


def test_colours_of_the_types(field):
    galaxy = field[(field["kind"] == "galaxy") & (np.abs(field["z"] - 1.5) < 1)]
    colour = galaxy["mag_F090W"] - galaxy["mag_F200W"]
    median = {name: np.median(colour[galaxy["sed_type"] == name]) for name in galaxies.TYPES}
    assert median["young"] < median["star-forming"] < median["dusty"]
    assert median["star-forming"] + 0.5 < median["quiescent"]


def test_same_seed_same_sky_another_seed_another():
    first, again, other = (sky.make(CENTRE, **DEMO, seed=seed) for seed in (1, 1, 2))
    for name in first.colnames:
        assert np.array_equal(first[name], again[name], equal_nan=first[name].dtype.kind == "f"), name
    assert not np.isin(first["ra"], other["ra"]).any()
    assert not np.isin(first["mag_ref"][first["mag_ref"] != 17.5], other["mag_ref"]).any()


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
@pytest.mark.parametrize("limit", [2e-17, 4e-17])
def test_enough_galaxies_have_two_lines_and_the_rest_are_untouched(seed, limit):
    wanted = sky.Detectable(galaxies=12, filters=("F115W", "F150W", "F200W"), flux_limit=limit)
    plain = sky.make(CENTRE, **DEMO, seed=seed)
    table = sky.make(CENTRE, **DEMO, seed=seed, detectable=wanted)

    detectable = 0  # counted here anew, from single lines
    for row in table[table["inside"]]:
        bands = [instrument.FILTERS[name] for name in wanted.filters]
        seen = [
            line.wave_micron
            for line in sed.lines(row)
            if line.flux >= limit * 0.55 and any(b.wave_min < line.wave_micron < b.wave_max for b in bands)
        ]
        apart = sum(np.diff(np.log(sorted(seen))) > 0.008) + 1 if seen else 0
        detectable += apart >= 2
    assert detectable >= 12
    assert np.sum(sky.features(table, wanted)[table["inside"]] >= 2) >= 12

    kept = ~table["redrawn"]
    assert 0 < np.sum(~kept) <= 12
    for name in table.colnames:
        equal_nan = table[name].dtype.kind == "f"
        assert np.array_equal(table[name][kept], plain[name][kept], equal_nan=equal_nan), name
    for name in ("ra", "dec", "mag_ref"):
        assert np.array_equal(table[name], plain[name])
    # the brightest that had too few lines, and none with lines of their own
    before = sky.features(plain, wanted)
    assert np.all(before[table["redrawn"]] < 2)
    assert np.all(table["inside"][table["redrawn"]])


def test_an_impossible_guarantee_says_so():
    wanted = sky.Detectable(galaxies=12, filters=("F150W",), flux_limit=1e-13)
    with pytest.raises(ValueError, match=r"of 12 galaxies can have 2 lines above 1e-13"):
        sky.make(CENTRE, 0.1, 1, 22.0, detectable=wanted)


def test_features_count_blends_once():
    none = {family.column: np.zeros(2) for family in sed.FAMILIES}
    wanted = sky.Detectable(galaxies=1, filters=("F150W",), flux_limit=1e-16)
    columns = none | {"z": np.array([1.2, np.nan]), "flux_Ha": np.array([9e-17, 0]), "flux_NII": np.array([2e-17, 0])}
    assert sky.features(columns, wanted).tolist() == [1, 0]  # Hα and [NII] together pass the limit
    assert sky.features(columns | {"flux_SII": np.array([2e-16, 0])}, wanted).tolist() == [2, 0]
    assert sky.features(columns | {"flux_OIII": np.array([2e-16, 0])}, wanted).tolist() == [1, 0]  # at 1.1 micron


def test_one_star_saturates():
    table = sky.make(CENTRE, **DEMO, seed=4)
    star = table[(table["kind"] == "star") & table["inside"]]
    brightest = star[np.argmin(star["mag_ref"])]
    rate = 10 ** (-0.4 * (brightest["mag_F150W"] - 8.9)) / (instrument.FILTERS["F150W"].photmjsr * 1e6)
    rate /= instrument.PIXAR_SR  # DN/s in all
    group = instrument.Readout("NIS", 6).group_time(instrument.Frame.full())
    assert 0.1 * rate * group * 3 > 65535  # with a tenth of its light in one pixel, before the third group
    assert brightest["re_arcsec"] == 0
    assert not np.any(sky.make(CENTRE, **DEMO, seed=4, bright_star_mag=None)["mag_ref"] == 17.5)


@pytest.mark.parametrize("epoch", [2016.0, 2026.0])
def test_gaia_lists_the_stars_where_they_were(epoch):
    table = sky.make(CENTRE, 1.0, 7, 22.0, star_scale=100)
    catalogue = sky.gaia_catalogue(table, epoch)
    assert np.all(catalogue["phot_g_mean_mag"] <= 21)
    assert len(catalogue) == np.sum(table["mag_gaia"][table["kind"] == "star"] <= 21) > 100
    truth = table[catalogue["source_id"] - 1]
    assert np.all(truth["kind"] == "star")
    years = epoch - table.meta["EPOCH"]
    cosine = np.cos(np.deg2rad(truth["dec"]))
    east = ((catalogue["ra"] - truth["ra"]) * cosine * 3.6e6 - truth["pmra"] * years) / catalogue["ra_error"]
    north = ((catalogue["dec"] - truth["dec"]) * 3.6e6 - truth["pmdec"] * years) / catalogue["dec_error"]
    motion = (catalogue["pmra"] - truth["pmra"]) / catalogue["pmra_error"]
    for pull in (east, north, motion):
        pull = np.asarray(pull)
        assert np.mean(pull) == pytest.approx(0, abs=4 / np.sqrt(len(pull)))
        assert np.std(pull) == pytest.approx(1, abs=4 / np.sqrt(2 * len(pull)))
    assert np.std(truth["pmra"]) > 3  # far more than its error: who ignores it misses by tens of mas
    faint = catalogue["phot_g_mean_mag"] > 20
    assert np.median(catalogue["ra_error"][faint]) > 5 * np.median(catalogue["ra_error"][~faint])
    assert catalogue.meta["SIMULATD"] is True


def test_the_truth_is_written_and_read(tmp_path):
    wanted = sky.Detectable(galaxies=12, filters=("F150W", "F200W"), flux_limit=1e-17)
    table = sky.make(CENTRE, **DEMO, seed=1, detectable=wanted)
    path = tmp_path / "sim-niriss_truth.fits"
    sky.write_truth(path, table)
    header = io.open_fits(path)[0].header
    assert header["SIMULATD"] is True
    assert (header["SEED"], header["GUARANT"], header["PPSTEP"]) == (1, 12, "simulate_sky")
    assert path.with_suffix(".prov.json").is_file()
    back = sky.read_truth(path)
    assert back.meta == table.meta
    for name in table.colnames:
        assert np.array_equal(back[name], table[name], equal_nan=table[name].dtype.kind == "f"), name
        assert back[name].unit == table[name].unit
        assert back[name].description == table[name].description
    assert [sed.magnitude(row, "F200W") for row in back[:3]] == [sed.magnitude(row, "F200W") for row in table[:3]]
    assert all(table[name].description for name in table.colnames)
