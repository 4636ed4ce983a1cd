"""Images in three filters of isolated stars and galaxies with a known truth; run in environment jwst.

``photometry_scene.py <pixels> <seed> <exposures>`` writes, in the working folder: ``images/``, ``solution.fits`` and
``truth.ecsv``. ``photometry_scene.py measure <name>`` compares ``<name>_photometry.fits`` with it, into
``<name>_measured.json``.
"""

import json
import sys
from pathlib import Path

FOLDER = Path.cwd()
CENTRE, FILTERS = (150.1, 2.2), ("F115W", "F150W", "F200W")
ROLLS = (37.0, 97.0)
SPACING = 3.8
"""Arcsec between sources: their light hardly reaches each other."""
RADII = (0.15, 0.2, 0.25, 0.35, 0.5, 0.7, 1.0)
"""Arcsec, at which images of stars are judged."""
SKY, READ, SECONDS = 0.35, 0.0135, 300
"""Zodiacal light and read noise, DN/s, and exposure time."""


def scene(pixels: int, seed: int, exposures: int) -> None:
    """Write the images of all filters."""
    import numpy as np
    from astropy.io import fits
    from astropy.table import Table
    from pureparallel import calibration, io
    from pureparallel.provenance import Lineage
    from pureparallel.simulate import header, observe, pointing, references, render
    from pureparallel.simulate import instrument as niriss

    first = 1025 - pixels // 2
    frame, readout = niriss.Frame(first, first, pixels, pixels), niriss.Readout("NIS", 7)
    references.build(FOLDER / "crds", frame, seed, list(FILTERS))
    calibration.configure(FOLDER / "crds", "jwst_0001.pmap")
    calibration.ready(["jwst.assign_wcs", "stdatamodels.jwst.datamodels"])
    from stdatamodels.jwst.datamodels import ImageModel

    rng = np.random.default_rng(seed)
    truth = lattice(rng, pixels)
    truth.write(FOLDER / "truth.ecsv", overwrite=True)
    (FOLDER / "images").mkdir(exist_ok=True)
    rows = []
    for i, filter in enumerate(FILTERS * exposures):
        name = f"jw09999001001_02101_{i + 1:05d}_nis"
        dither = rng.uniform(-1.2, 1.2, 2)
        truly = pointing.dithered(observe.on_frame(CENTRE, ROLLS[i // 3 % 2], frame), *dither)
        light = render.direct_image([source(row, truly, frame) for row in truth], filter, frame.shape)
        error = np.sqrt(READ**2 + (light + SKY) / 1.61 / SECONDS)
        bad = rng.uniform(size=frame.shape) < 0.005
        meta = header.level1b(
            exposure=name, start="2024-07-01T06:00:00", filter=filter, grism=None, frame=frame, readout=readout,
            header_pointing=truly, guide_star=header.GuideStar("S1", 150.2, 2.3, 15.0),
        )  # fmt: skip
        model = ImageModel(frame.shape)
        for key, value in meta.items():
            model[key] = value
        scale = np.float32(niriss.FILTERS[filter].photmjsr)
        model.data = np.where(bad, np.nan, light + rng.normal(0, error)).astype(np.float32) * scale
        model.err = error.astype(np.float32) * scale
        model.var_rnoise = np.full(frame.shape, (READ * scale) ** 2, np.float32)
        model.dq = bad.astype(np.uint32)
        model.meta.photometry.pixelarea_steradians = niriss.PIXAR_SR
        model.meta.bunit_data = "MJy/sr"
        model = calibration.Chain("image2pipeline").run("jwst.assign_wcs", "AssignWcsStep", model)
        calibration.save(FOLDER / "images" / f"{name}_bkgsub.fits", model, Lineage.of("simulate", [], seed=seed))
        edge = np.array([-0.5, pixels - 0.5])
        corners = np.stack(pointing.to_sky(edge[[0, 1, 1, 0]], edge[[0, 0, 1, 1]], truly, frame), axis=-1)
        rows.append((name, truly.ra, truly.dec, truly.roll, "1", corners))
    table = fits.table_to_hdu(Table(rows=rows, names=["exposure", "ra", "dec", "roll", "part", "corners"]))
    table.name = "EXPOSURES"
    io.write_fits(FOLDER / "solution.fits", fits.HDUList([fits.PrimaryHDU(), table]), Lineage.of("align", []))


def lattice(rng, pixels: int):
    """Sources on a lattice that exposures of either roll have most of: every third is a star."""
    import numpy as np
    from astropy.table import Table
    from pureparallel.simulate import render
    from pureparallel.simulate.sky import offset_position

    half = 0.0656 * 0.46 * pixels
    places = np.arange(-half, half + 0.1, SPACING)
    east, north = (v.ravel() + rng.uniform(-0.3, 0.3, v.size) for v in np.meshgrid(places, places))
    n = len(east)
    ra, dec = offset_position(CENTRE, east, north)
    star = np.arange(n) % 3 == 0
    table = Table({
        "id": np.arange(1, n + 1), "ra": ra, "dec": dec, "star": star, "mag": rng.uniform(20.5, 27, n),
        "slope": rng.uniform(-1, 1.5, n), "re": np.where(star, 0, 10 ** rng.uniform(-1, -0.3, n)),
        "n": rng.uniform(0.6, 4, n), "q": rng.uniform(0.25, 1, n), "angle": rng.uniform(0, 180, n),
    })  # fmt: skip
    for filter in FILTERS:
        rate = [render.count_rate(filter, render.Source(0, 0, spectrum(row))) for row in table]
        table[f"flux_{filter}"] = np.array(rate) * microjansky(filter)
    return table


def microjansky(filter: str) -> float:
    """Of a DN/s."""
    from pureparallel.simulate import instrument as niriss

    return niriss.FILTERS[filter].photmjsr * niriss.PIXAR_SR * 1e12


def spectrum(row):
    """f_lambda in erg/s/cm2/A at wavelengths in micron, of a power law in f_nu."""
    level = 10 ** (-0.4 * (row["mag"] + 48.60)) * 2.99792458e18
    return lambda wave: level / (wave * 1e4) ** 2 * (wave / 1.5) ** row["slope"]


def source(row, truly, frame):
    """A row of the truth on an exposure."""
    import numpy as np
    from pureparallel.simulate import pointing, render
    from pureparallel.simulate.sky import offset_position

    east, north = 0.1 * np.sin(np.deg2rad(row["angle"])), 0.1 * np.cos(np.deg2rad(row["angle"]))
    there = offset_position((row["ra"], row["dec"]), np.array([0, east]), np.array([0, north]))
    x, y = pointing.to_pixel(*there, truly, frame)
    angle = np.rad2deg(np.arctan2(y[1] - y[0], x[1] - x[0]))
    profile = None if row["star"] else render.Sersic(row["re"] / 0.0656, row["n"], row["q"], float(angle))
    return render.Source(float(x[0]), float(y[0]), spectrum(row), profile=profile)


def measure(name: str) -> None:
    """Compare fluxes, errors, colours and images of stars with the truth."""
    import numpy as np
    from astropy.coordinates import SkyCoord
    from astropy.table import Table

    truth, table = Table.read(FOLDER / "truth.ecsv"), Table.read(FOLDER / f"{name}_photometry.fits", "PHOTOMETRY")
    places = SkyCoord(table["ra"], table["dec"], unit="deg")
    nearest, apart, _ = SkyCoord(truth["ra"], truth["dec"], unit="deg").match_to_catalog_sky(places)
    close = apart.arcsec < 0.15
    truth, table = truth[close], table[nearest[close]]
    found: dict = {"sources": len(truth), "filters": {}}
    ratios, errors, clean = {}, {}, {}
    for filter in FILTERS:
        flux, error = np.array(table[f"flux_{filter}"]), np.array(table[f"flux_err_{filter}"])
        true, whole = np.array(truth[f"flux_{filter}"]), np.hypot(error, flux * table["scale_err"])
        ratios[filter], errors[filter] = flux / true, error / flux
        clean[filter] = (table[f"flags_{filter}"] == 0) & table["reliable"] & (flux > 20 * error)
        found["filters"][filter] = {
            kind: [*spread((flux / true - 1)[chosen]), *spread(((flux - true) / whole)[chosen]), int(chosen.sum())]
            for kind, chosen in (
                ("all", clean[filter]), ("stars", clean[filter] & truth["star"]),
                ("galaxies", clean[filter] & ~truth["star"]),
            )
        }  # fmt: skip
    for filter in FILTERS[:-1]:
        both = clean[filter] & clean[FILTERS[-1]]
        colour, error = ratios[filter] / ratios[FILTERS[-1]] - 1, np.hypot(errors[filter], errors[FILTERS[-1]])
        found["filters"][filter]["colour"] = [*spread(colour[both]), *spread((colour / error)[both]), int(both.sum())]
    found["within"] = {filter: growth(name, filter) for filter in FILTERS}
    (FOLDER / f"{name}_measured.json").write_text(json.dumps(found, indent=1))


def spread(values) -> tuple[float, float]:
    """Median, and 1.4826 times the median absolute deviation."""
    import numpy as np

    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(values - middle)))


def growth(name: str, filter: str) -> list[float]:
    """A star's light within `RADII` on the mosaic over that of the simulated telescope, less 1."""
    import numpy as np
    from astropy.io import fits
    from pureparallel import calibration
    from pureparallel.core import apertures, psf_mosaic
    from pureparallel.core.grid import Grid
    from pureparallel.frames import look, read_solution, survey
    from pureparallel.simulate import psf
    from pureparallel.simulate.instrument import PIXEL_SCALE
    from scipy.ndimage import map_coordinates, uniform_filter

    calibration.ready(["jwst.assign_wcs.pointing"])
    samples = 15
    fine = uniform_filter(psf.psf(filter, samples, 80), samples) * samples**2

    def light(x, y):
        y, x = np.broadcast_arrays(y, x)
        places = [one / PIXEL_SCALE * samples + fine.shape[0] // 2 for one in (y, x)]
        return map_coordinates(fine, places, order=1)

    with fits.open(FOLDER / f"scene_{filter}_mosaic.fits") as hdus:
        grid, covered, header = Grid.of(hdus["SCI"].header), hdus["WHT"].data > 0, hdus[0].header
        frames, _ = look(survey([FOLDER / "images"], filter)[0], read_solution(FOLDER / "solution.fits"))
        exposures = [psf_mosaic.Exposure(frame.positions, grid, frame.seconds) for frame in frames]
        drizzling = psf_mosaic.Drizzling(exposures, grid.scale, header["PIXFRAC"], header["KERNEL"])
    true = apertures.growth(
        psf_mosaic.everywhere(light, drizzling, covered, 9).mean(axis=0), np.array(RADII) / grid.scale
    )
    ours = apertures.growth(
        fits.getdata(FOLDER / f"{name}_photometry.fits", f"PSF_{filter}"), np.array(RADII) / grid.scale
    )
    return (ours / true - 1).tolist()


if __name__ == "__main__":
    if sys.argv[1] == "measure":
        measure(sys.argv[2])
    else:
        scene(*map(int, sys.argv[1:4]))
