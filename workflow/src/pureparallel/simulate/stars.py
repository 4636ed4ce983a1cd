"""Stars of the simulated sky, and what a Gaia-like catalogue says of them."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import instrument, sed
from .galaxies import Columns

if TYPE_CHECKING:
    from astropy.table import Table

Array = NDArray[np.float64]

GAIA_EPOCH, GAIA_LIMIT = 2016.0, 21.0
"""Reference epoch of Gaia DR3, and the G magnitude where it ends."""


def draw(magnitude: Array, rng: np.random.Generator) -> Columns:
    """Everything but the positions of stars of given F150W magnitudes.

    Faint stars are cool dwarfs, bright ones mostly like the Sun; proper motions fall with magnitude (distance) about
    the drift that the Sun's motion gives. Typical of high latitude, not a model of the Galaxy.
    """
    count = len(magnitude)
    teff = np.interp(magnitude, [15, 18, 21, 24], [5600, 4900, 3800, 3200]) * 10 ** rng.normal(0, 0.06, count)
    teff = np.clip(teff, 2400, 9000)
    spread = 9 * 10 ** (-0.05 * (magnitude - 16))
    column = teff[:, None]
    level = sed.star_shape(sed.filter_grid(sed.REFERENCE_FILTER)[0], teff=column)
    level = level / sed.star_shape(np.array([sed.REFERENCE_WAVE]), teff=column)
    nothing = np.zeros((count, 1))
    fnu = sed.mean_fnu(sed.REFERENCE_FILTER, level, nothing + sed.REFERENCE_WAVE, nothing)
    continuum = 10 ** (-0.4 * (magnitude + 48.6)) / fnu
    return {
        "mag_ref": magnitude,
        "teff": teff,
        "flux_continuum": continuum,
        "mag_gaia": _gaia_magnitude(continuum, column),
        "pmra": rng.normal(-2, spread, count),
        "pmdec": rng.normal(-4, spread, count),
    }


def _gaia_magnitude(continuum: Array, teff: Array) -> Array:
    """G (Vega) through a top hat of 0.40-0.86 micron, near Gaia's G; AB minus 0.106 (Gaia EDR3's zero points)."""
    wave = np.linspace(0.40, 0.86, 200)
    shape = sed.star_shape(wave, teff=teff) / sed.star_shape(np.array([sed.REFERENCE_WAVE]), teff=teff)
    angstrom = wave * 1e4
    photons = np.trapezoid(shape * angstrom, angstrom, axis=-1)
    return sed.ab(continuum * photons / np.trapezoid(sed.LIGHT_SPEED / angstrom, angstrom)) - 0.106


def gaia_catalogue(table: "Table", epoch: float = GAIA_EPOCH) -> "Table":
    """What Gaia would list of this sky: stars to G = 21, measured with its errors, propagated to an epoch.

    Median errors of positions at 2016.0 and of proper motions by magnitude: Gaia EDR3 (Gaia Collaboration 2021,
    A&A 649, A1). The catalogue's motions are the measured ones, so that its positions degrade away from 2016.

    Parameters
    ----------
    table : Table
        From `make`.
    epoch : float
        Julian year of the positions given.

    Returns
    -------
    Table
        With Gaia's column names, units and ``ref_epoch``.
    """
    from astropy.table import Table

    stars = table[(table["kind"] == "star") & (np.nan_to_num(table["mag_gaia"], nan=99) <= GAIA_LIMIT)]
    grid = [15.0, 17.0, 20.0, 21.0]
    g = np.asarray(stars["mag_gaia"], float)
    place = np.exp(np.interp(g, grid, np.log([0.02, 0.05, 0.4, 1.0])))
    motion = np.exp(np.interp(g, grid, np.log([0.02, 0.07, 0.5, 1.4])))
    unit = instrument.seed_for(int(table.meta["SEED"]), "sky", "gaia").normal(size=(4, len(stars)))
    pmra, pmdec = stars["pmra"] + unit[2] * motion, stars["pmdec"] + unit[3] * motion
    # truth from the sky's epoch to 2016.0, then as measured from there to the one asked for
    back, onward = GAIA_EPOCH - float(table.meta["EPOCH"]), epoch - GAIA_EPOCH
    east = stars["pmra"] * back + unit[0] * place + pmra * onward
    north = stars["pmdec"] * back + unit[1] * place + pmdec * onward
    ra, dec = moved(stars["ra"], stars["dec"], east, north)
    error = np.hypot(place, motion * onward)
    columns = {
        "source_id": (stars["id"], None), "ref_epoch": (np.full(len(stars), epoch), "yr"),
        "ra": (ra, "deg"), "ra_error": (error, "mas"), "dec": (dec, "deg"), "dec_error": (error, "mas"),
        "pmra": (pmra, "mas / yr"), "pmra_error": (motion, "mas / yr"),
        "pmdec": (pmdec, "mas / yr"), "pmdec_error": (motion, "mas / yr"), "phot_g_mean_mag": (g, "mag"),
    }  # fmt: skip
    catalogue = Table({name: np.asarray(values) for name, (values, _) in columns.items()})
    for name, (_, of) in columns.items():
        catalogue[name].unit = of
    catalogue.meta |= {"SIMULATD": True, "SEED": table.meta["SEED"], "EPOCH": epoch}
    return catalogue


def moved(ra: ArrayLike, dec: ArrayLike, east_mas: ArrayLike, north_mas: ArrayLike) -> tuple[Array, Array]:
    """RA and Dec [degrees] after small displacements on the sky [mas]."""
    dec = np.asarray(dec, float)
    east = np.asarray(east_mas, float) / 3.6e6 / np.cos(np.deg2rad(dec))
    return (np.asarray(ra, float) + east) % 360, dec + np.asarray(north_mas, float) / 3.6e6
