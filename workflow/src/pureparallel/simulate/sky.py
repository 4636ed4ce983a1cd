"""The simulated sky: one table of galaxies and stars, drawn from published distributions, and its Gaia-like catalogue.

`galaxies` and `stars` draw what a source is like at its magnitude, `sed` makes its spectrum; here are counts,
positions, the guarantee of detectable lines, and the file of the truth.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import io
from ..provenance import Lineage
from . import galaxies, instrument, sed, stars
from .galaxies import Columns
from .stars import gaia_catalogue as gaia_catalogue

if TYPE_CHECKING:
    from astropy.table import Table

Array = NDArray[np.float64]

BRIGHTEST_GALAXY, BRIGHTEST_STAR = 17.0, 15.0
"""AB magnitudes in `sed.REFERENCE_FILTER` where the counts begin."""


@dataclass(frozen=True)
class Counts:
    """Differential number counts: log10 N is piecewise linear in magnitude.

    Attributes
    ----------
    magnitude, density : float
        Density [per arcmin2 per mag] at an AB magnitude.
    edges : tuple of float
        Magnitudes where the slope changes.
    slopes : tuple of float
        d log10 N / dm, one more than `edges`.
    """

    magnitude: float
    density: float
    edges: tuple[float, ...]
    slopes: tuple[float, ...]

    def __call__(self, magnitude: ArrayLike) -> Array:
        """Sources per arcmin2 per mag."""
        return self.density * 10 ** (self._log(magnitude) - self._log(self.magnitude))

    def _log(self, magnitude: ArrayLike) -> Array:
        m = np.asarray(magnitude, float)
        bounds = (-np.inf, *self.edges, np.inf)
        start = self.edges[0]
        return sum(
            (
                slope * (np.clip(m, low, high) - np.clip(start, low, high))
                for slope, low, high in zip(self.slopes, bounds[:-1], bounds[1:], strict=True)
            ),
            np.zeros(()),
        )

    def draw(self, area: float, bright: float, faint: float, rng: np.random.Generator) -> Array:
        """Magnitudes of a Poisson number of sources on `area` [arcmin2], brightest first."""
        grid = np.linspace(bright, faint, 2001)
        density = self(grid)
        cumulative = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
        count = rng.poisson(area * cumulative[-1])
        return np.sort(np.interp(rng.uniform(0, cumulative[-1], count), cumulative, grid))


GALAXY_COUNTS = Counts(magnitude=26.06, density=79.3, edges=(20.0, 26.06), slopes=(0.54, 0.31, 0.20))
"""Yan et al. (1998, ApJ 503, L19): slope 0.31, 4e5 per deg2 brighter than 24.75 in F160W (Vega; AB is 1.31 fainter).
Brighter than about 20, the slope of Cristóbal-Hornillos et al. (2003, ApJ 595, 71); beyond their depth it is taken as
0.20, as deep counts flatten."""

STAR_COUNTS = Counts(magnitude=20.0, density=0.30, edges=(20.0,), slopes=(0.10, 0.06))
"""Chosen for high galactic latitude: 0.9 per arcmin2 to 20 mag and 3.7 to 26. `star_scale` brings it towards the
plane, where pure parallels are also taken."""


@dataclass(frozen=True)
class Detectable:
    """A guarantee: so many galaxies have at least `lines` features above a flux in the filters.

    Blends at the grisms' resolution count once: [NII] with Hα, Pa gamma with HeI, a doublet as one.

    Attributes
    ----------
    galaxies : int
    filters : tuple of str
    flux_limit : float
        erg/s/cm2.
    lines : int
    """

    galaxies: int
    filters: tuple[str, ...]
    flux_limit: float
    lines: int = 2


def features(columns: Mapping[str, Any], wanted: Detectable) -> NDArray[np.int64]:
    """How many distinct features above the limit each galaxy has in the filters, shape (n,); 0 for stars."""
    z = np.nan_to_num(np.asarray(columns["z"], float), nan=-1.0)
    flux: dict[str, Array] = {}
    for family in sed.FAMILIES:
        waves = np.array(family.wavelengths) * (1 + z)[:, None] / 1e4
        seen = np.any([instrument.bandpass(name, waves) > 0.5 for name in wanted.filters], axis=0)
        through = np.sum(seen * family.shares, axis=1) * np.nan_to_num(np.asarray(columns[family.column], float))
        host = {"NII": "Ha", "PaG": "HeI-10833"}.get(family.name, family.name)
        flux[host] = flux.get(host, np.zeros(len(z))) + through
    return np.sum([values >= wanted.flux_limit for values in flux.values()], axis=0)


def _guarantee(columns: Columns, inside: NDArray[np.bool_], wanted: Detectable, seed: int) -> NDArray[np.bool_]:
    """Redraw the brightest galaxies inside, in place, until enough have lines; the others stay as they were.

    A galaxy keeps magnitude and position. Type, redshift, shape and lines are drawn again, from the same distributions
    at that magnitude, until two lines are seen: it is a galaxy that could have been there, only a less common one.

    Returns
    -------
    ndarray of bool, shape (n,)
        Which were redrawn.
    """
    have = features(columns, wanted) >= wanted.lines
    redrawn = np.zeros(len(have), bool)
    missing = wanted.galaxies - int(np.sum(have & inside))
    for i in np.flatnonzero(inside & ~have):  # brightest first
        if missing <= 0:
            break
        rng = instrument.seed_for(seed, "sky", "guarantee", str(i))
        for size in (250, 1000, 4000):
            drawn = galaxies.draw(np.full(size, columns["mag_ref"][i]), rng)
            good = np.flatnonzero(features(drawn, wanted) >= wanted.lines)
            if len(good):
                for name, values in drawn.items():
                    columns[name][i] = values[good[0]]
                redrawn[i] = True
                missing -= 1
                break
    if missing > 0:
        raise ValueError(
            f"only {wanted.galaxies - missing} of {wanted.galaxies} galaxies can have {wanted.lines} lines above "
            f"{wanted.flux_limit:g} erg/s/cm2 in {', '.join(wanted.filters)}; lower the flux limit or raise the density"
        )
    return redrawn


def make(
    centre: tuple[float, float],
    radius_arcmin: float,
    seed: int,
    depth_mag: float,
    density_scale: float = 1.0,
    *,
    margin_arcmin: float = 0.35,
    star_scale: float = 1.0,
    bright_star_mag: float | None = 17.5,
    epoch: float = 2024.5,
    detectable: Detectable | None = None,
) -> "Table":
    """Draw the sky around a pointing.

    Parameters
    ----------
    centre : (float, float)
        RA and Dec, degrees.
    radius_arcmin : float
        Of the field: what every exposure sees. Guarantees hold inside.
    seed : int
    depth_mag : float
        Faintest AB magnitude in `sed.REFERENCE_FILTER`.
    density_scale, star_scale : float
        Factors on the counts of galaxies and of stars.
    margin_arcmin : float
        Sources reach so far beyond the field: their traces, wings and dithers fall on it.
    bright_star_mag : float, optional
        Of one more star, between 0.3 and 0.8 of the radius: at 17.5 in F150W its core saturates in the first group
        of NIS, its first Airy ring some groups later.
    epoch : float
        Julian year of the positions.
    detectable : Detectable, optional
        A guarantee; without it, every source is as drawn.

    Returns
    -------
    Table
        One row per source, as `COLUMNS` describes; ``meta`` has the arguments.

    Raises
    ------
    ValueError
        If the guarantee cannot be met.
    """
    outer = radius_arcmin + margin_arcmin
    area = np.pi * outer**2
    rng = instrument.seed_for(seed, "sky", "galaxies")
    magnitude = GALAXY_COUNTS.draw(area * density_scale, BRIGHTEST_GALAXY, depth_mag, rng)
    galaxy = galaxies.draw(magnitude, rng)
    galaxy["offset"] = _disc(len(magnitude), outer, instrument.seed_for(seed, "sky", "galaxies", "positions"))
    inside = np.hypot(*galaxy["offset"].T) <= radius_arcmin
    galaxy["redrawn"] = _guarantee(galaxy, inside, detectable, seed) if detectable else np.zeros(len(inside), bool)

    rng = instrument.seed_for(seed, "sky", "stars")
    magnitude = STAR_COUNTS.draw(area * star_scale, BRIGHTEST_STAR, depth_mag, rng)
    offset = _disc(len(magnitude), outer, rng)
    if bright_star_mag is not None:
        far, angle = radius_arcmin * rng.uniform(0.3, 0.8), rng.uniform(0, 2 * np.pi)
        magnitude = np.append(magnitude, bright_star_mag)
        offset = np.vstack([offset, [far * np.cos(angle), far * np.sin(angle)]])
    star = stars.draw(magnitude, rng) | {"offset": offset}

    meta: dict[str, Any] = {
        "SEED": seed, "RA_CEN": centre[0], "DEC_CEN": centre[1], "RADIUS": radius_arcmin, "MARGIN": margin_arcmin,
        "DEPTH": depth_mag, "DENSITY": density_scale, "STARS": star_scale, "EPOCH": epoch,
    }  # fmt: skip
    if detectable:
        meta |= {"GUARANT": detectable.galaxies, "GLINES": detectable.lines, "GLIMIT": detectable.flux_limit}
        meta["GFILTERS"] = ",".join(detectable.filters)
    return _table(galaxy, star, centre, radius_arcmin, meta)


def _disc(count: int, radius: float, rng: np.random.Generator) -> Array:
    """Uniform offsets (count, 2) within a radius."""
    far, angle = radius * np.sqrt(rng.uniform(size=count)), rng.uniform(0, 2 * np.pi, count)
    return np.column_stack([far * np.cos(angle), far * np.sin(angle)])


def offset_position(centre: tuple[float, float], east: ArrayLike, north: ArrayLike) -> tuple[Array, Array]:
    """RA and Dec [degrees] at tangent-plane offsets [arcsec] from a centre (gnomonic projection)."""
    xi, eta = (np.deg2rad(np.asarray(offset, float) / 3600) for offset in (east, north))
    ra, dec = np.deg2rad(centre)
    down = np.cos(dec) - eta * np.sin(dec)
    north_ = np.arctan2(np.sin(dec) + eta * np.cos(dec), np.hypot(xi, down))
    return np.rad2deg(ra + np.arctan2(xi, down)) % 360, np.rad2deg(north_)


def _table(galaxy: Columns, star: Columns, centre: tuple[float, float], radius: float, meta: dict[str, Any]) -> "Table":
    """Both kinds in one table, with broadband magnitudes, units and descriptions."""
    from astropy.table import Table

    counts = len(galaxy["mag_ref"]), len(star["mag_ref"])
    offset = np.vstack([galaxy["offset"], star["offset"]])
    ra, dec = offset_position(centre, *(offset.T * 60))
    made: Columns = {
        "id": np.arange(1, sum(counts) + 1),
        "kind": np.repeat(["galaxy", "star"], counts),
        "ra": ra,
        "dec": dec,
        "inside": np.hypot(*offset.T) <= radius,
    }
    # what a kind does not have: no size, no lines, no proper motion; anything else is NaN
    zero = {"re_arcsec", "pmra", "pmdec", "ew_ha", "ebv"} | {family.column for family in sed.FAMILIES}
    table = Table(meta=meta)
    for name, (unit, description) in COLUMNS.items():
        if name.startswith("mag_F"):
            continue
        values = made.get(name)
        if values is None:
            other = {"sed_type": "star", "redrawn": False}.get(name, 0.0 if name in zero else np.nan)
            parts = [part.get(name, np.full(n, other)) for part, n in zip((galaxy, star), counts, strict=True)]
            values = np.concatenate(parts)
        table[name] = values
        table[name].unit, table[name].description = unit, description
    for filter in instrument.FILTERS:
        unit, description = COLUMNS[f"mag_{filter}"]
        table[f"mag_{filter}"] = [sed.magnitude(row, filter) for row in table]
        table[f"mag_{filter}"].unit, table[f"mag_{filter}"].description = unit, description
    return table


COLUMNS: dict[str, tuple[str | None, str]] = {
    "id": (None, "from 1"),
    "kind": (None, "galaxy or star"),
    "ra": ("deg", "ICRS, at EPOCH"),
    "dec": ("deg", "ICRS, at EPOCH"),
    "inside": (None, "within RADIUS of the centre"),
    "redrawn": (None, "drawn again so that its lines are detectable"),
    "mag_ref": ("mag", "AB in F150W, lines included"),
    "re_arcsec": ("arcsec", "semi-major half-light radius; 0 for a point"),
    "sersic_n": (None, "Sersic index"),
    "axis_ratio": (None, "minor over major axis"),
    "pa_deg": ("deg", "of the major axis, from north to east"),
    "sed_type": (None, "kind of spectrum"),
    "z": (None, "redshift"),
    "log_mass": (None, "log10 of the stellar mass in solar masses"),
    "abundance": (None, "12 + log(O/H)"),
    "ebv": ("mag", "E(B-V) of stars and gas, Calzetti et al. 2000"),
    "slope_uv": (None, "d ln f_lambda / d ln lambda below 0.4 micron, before dust"),
    "slope_optical": (None, "the same at 0.4-1 micron"),
    "slope_nir": (None, "the same at 1-1.6 micron"),
    "break_micron": ("um", "rest wavelength of the Balmer or 4000 A break"),
    "break_ratio": (None, "f_lambda behind over before the break"),
    "teff": ("K", "of a star"),
    "flux_continuum": ("erg / (s cm2 Angstrom)", "f_lambda of the continuum at 1.5 micron"),
    "ew_ha": ("Angstrom", "rest-frame equivalent width of Ha"),
    "sigma_kms": ("km / s", "velocity dispersion of the lines"),
    **{
        family.column: ("erg / (s cm2)", f"all lines of {family.name}, at {', '.join(map(str, family.wavelengths))} A")
        for family in sed.FAMILIES
    },
    **{f"mag_{name}": ("mag", f"AB in {name}, lines included") for name in instrument.FILTERS},
    "mag_gaia": ("mag", "G (Vega) of a star"),
    "pmra": ("mas / yr", "proper motion in RA times cos(Dec)"),
    "pmdec": ("mas / yr", "proper motion in Dec"),
}
"""Unit and description of each column of the table of sources."""


def write_truth(path: Path, table: "Table", inputs: Iterable[Path] = ()) -> None:
    """Write the table of sources as ``SOURCES``; its header says ``SIMULATD`` and holds the arguments of `make`.

    Parameters
    ----------
    path : Path
        ``{field}_truth.fits``.
    table : Table
    inputs : iterable of Path
        What the sky was configured by, for the lineage.
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    primary.header["SIMULATD"] = (True, "simulated: no photon of this sky is real")
    hdu = fits.table_to_hdu(table)
    hdu.name = "SOURCES"
    hdu.header["SIMULATD"] = (True, "simulated")
    for i, name in enumerate(table.colnames, start=1):
        hdu.header[f"TCOMM{i}"] = table[name].description
    for name, value in table.meta.items():
        primary.header[name] = (value, META.get(name, ""))
    options = {name.lower(): value for name, value in table.meta.items()}
    io.write_fits(path, fits.HDUList([primary, hdu]), Lineage.of("simulate_sky", inputs, **options))


def read_truth(path: Path) -> "Table":
    """Read what `write_truth` wrote, with its units, descriptions and ``meta``."""
    from astropy.table import Table

    hdus = io.open_fits(path, extensions=("SOURCES",))
    table = Table.read(hdus["SOURCES"], mask_invalid=False)
    table.convert_bytestring_to_unicode()
    for i, name in enumerate(table.colnames, start=1):
        table[name].description = hdus["SOURCES"].header[f"TCOMM{i}"]
    header = hdus[0].header
    table.meta = {name: header[name] for name in META if name in header}
    return table


META = {
    "SEED": "of the simulation",
    "RA_CEN": "[deg] centre",
    "DEC_CEN": "[deg] centre",
    "RADIUS": "[arcmin] of the field",
    "MARGIN": "[arcmin] of sources around it",
    "DEPTH": "[mag] faintest AB in F150W",
    "DENSITY": "factor on the counts of galaxies",
    "STARS": "factor on the counts of stars",
    "EPOCH": "[yr] of the positions",
    "GUARANT": "galaxies guaranteed to have detectable lines",
    "GLINES": "features that each of them has at least",
    "GLIMIT": "[erg/s/cm2] flux of a detectable line",
    "GFILTERS": "filters that the lines are in",
}
"""Keywords of the truth table."""
