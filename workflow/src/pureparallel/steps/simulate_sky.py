"""Simulate the sky of a field: a truth table of galaxies and stars, and a Gaia-like catalogue of it."""

from pathlib import Path

import numpy as np

from .. import UserError, io, log, names
from ..provenance import Lineage, sha256


def simulate_sky(
    *,
    field: str,
    truth: Path,
    gaia: Path,
    figure: Path,
    metrics: Path,
    seed: int,
    centre: tuple[float, float],
    radius: float,
    depth: float,
    filters: list[str],
    density: float = 1.0,
    stars: float = 1.0,
    bright_star: float = 17.5,
    line_galaxies: int = 0,
    line_flux: float = 2.5e-17,
) -> None:
    """Draw the sky from published distributions.

    Parameters
    ----------
    field : str
        Name of the field.
    truth : Path
        Output: FITS table of all sources, with what they are and how bright.
    gaia : Path
        Output: ECSV table of the stars as Gaia would list them.
    figure : Path
        Output: map, number counts, sizes and lines, PNG.
    metrics : Path
        Output: JSON.
    seed : int
        Of the sky.
    centre : tuple of float
        RA and Dec, ICRS degrees.
    radius : float
        Of the field, arcmin.
    depth : float
        Faintest source, AB magnitude in F150W.
    filters : list of str
        Filters that the detectable lines are in.
    density : float
        Factor on the number counts of galaxies.
    stars : float
        Factor on the number counts of stars.
    bright_star : float
        AB magnitude in F150W of one more star, inside the field.
    line_galaxies : int
        Galaxies in the field that have two lines or more above line_flux, at least.
    line_flux : float
        erg/s/cm².
    """
    from ..core.plot_simulation import sky_figure
    from ..simulate import sky

    logger = log.of("simulate_sky")
    wanted = sky.Detectable(line_galaxies, tuple(filters), line_flux)
    try:
        table = sky.make(
            centre, radius, seed, depth, density, star_scale=stars, bright_star_mag=bright_star,
            detectable=wanted if line_galaxies else None,
        )  # fmt: skip
    except ValueError as error:
        raise UserError(f"field {field}: simulate_sky: {error}") from error
    sky.write_truth(truth, table)
    catalogue = sky.gaia_catalogue(table)
    lineage = Lineage.of("simulate_sky", [truth], seed=seed)
    with io.atomic(gaia) as part:
        catalogue.write(part, format="ascii.ecsv", overwrite=True)
    io.write_json(names.sidecar(gaia), lineage.to_dict(product=gaia.name, digest=sha256(gaia)))
    io.write_figure(figure, sky_figure(table, catalogue, f"{field}: simulated sky, seed {seed}"))
    inside = np.asarray(table["inside"])
    galaxies = np.asarray(table["kind"]) == "galaxy"
    with_lines = sky.features(table, wanted) >= wanted.lines
    found = {
        "galaxies": int(np.sum(galaxies & inside)),
        "stars": int(np.sum(~galaxies & inside)),
        "galaxies_with_lines": int(np.sum(with_lines & inside)),
        "gaia": len(catalogue),
        "sources_with_margin": len(table),
    }
    io.write_json(metrics, {"field": field, "simulated": True, **found})
    logger.info("%s", ", ".join(f"{key}: {value}" for key, value in found.items()))
