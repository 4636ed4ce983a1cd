"""Images of isolated stars with a known truth, for the step mosaic; run in environment jwst.

``mosaic_scene.py <pixels> <seed> <exposures>`` writes, in the working folder: ``images/``, ``clean/`` (the same without
cosmic rays), ``light/`` (without noise and bad pixels either), ``solution.fits`` (true pointings; the images' own are
wrong) and ``truth.json``. ``mosaic_scene.py measure`` compares with it the mosaics ``images``, ``clean``, ``light`` and
``unjudged`` (clean, without rejection), into ``measured.json``.
"""

import json
import sys
from pathlib import Path

FOLDER = Path.cwd()
CENTRE, FILTER = (150.1, 2.2), "F115W"
"""The filter that NIRISS undersamples most."""
ROLLS = (37.0, 97.0)
APERTURE = 0.8
"""Arcsec, radius."""
SKY, READ = 0.35, 0.0135
"""Zodiacal light and read noise, DN/s, as for 300 s."""


def scene(pixels: int, seed: int, exposures: int) -> None:
    """Write the images."""
    import numpy as np
    from astropy.io import fits
    from astropy.table import Table
    from pureparallel import calibration, io
    from pureparallel.provenance import Lineage
    from pureparallel.simulate import header, observe, pointing, references, render
    from pureparallel.simulate.instrument import FILTERS, PIXAR_SR, Frame, Readout

    first = 1025 - pixels // 2
    frame, readout = Frame(first, first, pixels, pixels), Readout("NIS", 7)
    references.build(FOLDER / "crds", frame, seed, [FILTER])
    calibration.configure(FOLDER / "crds", "jwst_0001.pmap")
    calibration.ready(["jwst.assign_wcs", "stdatamodels.jwst.datamodels"])
    from stdatamodels.jwst.datamodels import ImageModel

    rng = np.random.default_rng(seed)
    stars = lattice(rng, pixels)
    rows, truth = [], {"stars": [], "hits": {}, "photmjsr": FILTERS[FILTER].photmjsr}
    truth["stars"] = [{"ra": ra, "dec": dec, "mag": mag} for ra, dec, mag in stars]
    pointings = [
        pointing.dithered(observe.on_frame(CENTRE, ROLLS[i % 2], frame), *rng.uniform(-1.2, 1.2, 2))
        for i in range(exposures)
    ]
    for i, truly in enumerate(pointings):
        name = f"jw09999001001_02101_{i + 1:05d}_nis"
        x, y = pointing.to_pixel(*np.array(stars).T[:2], truly, frame)
        sources = [
            render.Source(float(a), float(b), lambda wave, m=m: spectrum(wave, m))
            for a, b, (_, _, m) in zip(x, y, stars, strict=True)
        ]
        light = render.direct_image(sources, FILTER, frame.shape)
        error = np.sqrt(READ**2 + (light + SKY) / 1.61 / 300)
        noisy = light + rng.normal(0, error)
        bad = rng.uniform(size=frame.shape) < 0.005
        rays = hits(rng, frame.shape, error)
        hit = np.argwhere((rays > 8 * error) & ~bad)
        ra, dec = pointing.to_sky(hit[:, 1], hit[:, 0], truly, frame)
        others = [pointing.to_pixel(ra, dec, other, frame) for other in pointings if other is not truly]
        seen = [
            (np.abs(x - pixels / 2) < pixels / 2 - 2) & (np.abs(y - pixels / 2) < pixels / 2 - 2) for x, y in others
        ]
        truth["hits"][name] = hit[np.any(seen, axis=0)].tolist()  # one exposure alone cannot tell
        wrong = pointing.Pointing(truly.ra + 1.2e-4, truly.dec - 0.8e-4, truly.roll + 0.02)
        meta = header.level1b(
            exposure=name, start="2024-07-01T06:00:00", filter=FILTER, grism=None, frame=frame, readout=readout,
            header_pointing=wrong, guide_star=header.GuideStar("S1", 150.2, 2.3, 15.0),
        )  # fmt: skip
        for folder, rate, mask in (
            ("images", noisy + rays, bad), ("clean", noisy, bad), ("light", light, np.zeros_like(bad))
        ):  # fmt: skip
            model = ImageModel(frame.shape)
            for key, value in meta.items():
                model[key] = value
            scale = np.float32(truth["photmjsr"])
            model.data = np.where(mask, np.nan, rate).astype(np.float32) * scale
            model.err = error.astype(np.float32) * scale
            model.var_rnoise = np.full(frame.shape, (READ * scale) ** 2, np.float32)
            model.dq = mask.astype(np.uint32)
            model.meta.photometry.pixelarea_steradians = PIXAR_SR
            model.meta.bunit_data = "MJy/sr"
            model = calibration.Chain("image2pipeline").run("jwst.assign_wcs", "AssignWcsStep", model)
            (FOLDER / folder).mkdir(exist_ok=True)
            calibration.save(FOLDER / folder / f"{name}_bkgsub.fits", model, Lineage.of("simulate", [], seed=seed))
        edge = np.array([-0.5, pixels - 0.5])
        corners = np.stack(pointing.to_sky(edge[[0, 1, 1, 0]], edge[[0, 0, 1, 1]], truly, frame), axis=-1)
        rows.append((name, truly.ra, truly.dec, truly.roll, "gaia", corners))
    table = fits.table_to_hdu(Table(rows=rows, names=["exposure", "ra", "dec", "roll", "part", "corners"]))
    table.name = "EXPOSURES"
    io.write_fits(FOLDER / "solution.fits", fits.HDUList([fits.PrimaryHDU(), table]), Lineage.of("align", []))
    (FOLDER / "truth.json").write_text(json.dumps(truth))


def lattice(rng, pixels: int) -> list[tuple[float, float, float]]:
    """RA, Dec and AB magnitude of stars 75 pixels apart, wherever their light does not reach each other."""
    import numpy as np
    from pureparallel.simulate.sky import offset_position

    half = 0.0656 * (0.5 * pixels / np.sqrt(2) - 20)  # on every exposure, whatever its roll
    places = np.arange(-half, half + 0.1, 75 * 0.0656)
    east, north = (v.ravel() + rng.uniform(-0.3, 0.3, v.size) for v in np.meshgrid(places, places))
    ra, dec = offset_position(CENTRE, east, north)
    return list(zip(ra.tolist(), dec.tolist(), rng.uniform(20.5, 22, len(ra)).tolist(), strict=True))


def spectrum(wave, magnitude: float):
    """f_lambda in erg/s/cm2/A of constant f_nu, at wavelengths in micron."""
    return 10 ** (-0.4 * (magnitude + 48.60)) * 2.99792458e18 / (wave * 1e4) ** 2


def hits(rng, shape: tuple[int, int], error):
    """Charge of cosmic rays in DN/s: short tracks, log-uniform between 8 and 300 errors in their pixels."""
    import numpy as np

    charge = np.zeros(shape)
    for _ in range(shape[0] * shape[1] // 800):
        y, x = (int(rng.integers(n)) for n in shape)
        for _ in range(rng.integers(1, 4)):
            if 0 <= y < shape[0] and 0 <= x < shape[1]:
                charge[y, x] += error[y, x] * 10 ** rng.uniform(np.log10(8.5), np.log10(300))
            y, x = y + int(rng.integers(-1, 2)), x + int(rng.integers(-1, 2))
    return charge


def measure() -> None:
    """Compare the mosaics with the truth."""
    import numpy as np
    from astropy.io import fits
    from pureparallel.core.masks import read_mask
    from pureparallel.simulate.psf import encircled_energy

    truth = json.loads((FOLDER / "truth.json").read_text())
    seen = {what: photometry(FOLDER / f"{what}_mosaic.fits", truth["stars"]) for what in ("clean", "unjudged", "light")}
    radii, fractions = encircled_energy(FILTER)
    within = np.interp(APERTURE / 0.0656, radii, fractions)
    true = np.array([10 ** (-0.4 * (star["mag"] - 8.90)) * within for star in truth["stars"]])
    caught, false = [], []
    for name, pixels in truth["hits"].items():
        bits, _ = read_mask(FOLDER / "images_rejected" / f"{name}_outliers.fits")
        rows, columns = np.array(pixels).T
        caught += (bits[rows, columns] != 0).tolist()
        spared, _ = read_mask(FOLDER / "clean_rejected" / f"{name}_outliers.fits")
        false.append(float(np.mean(spared[fits.getdata(FOLDER / "clean" / f"{name}_bkgsub.fits", "DQ") & 1 == 0] != 0)))
    metrics = {key: json.loads((FOLDER / f"{key}_metrics.json").read_text()) for key in ("images", "clean")}
    found = {
        "stars": len(true), "hits": len(caught), "caught": float(np.mean(caught)), "false": max(false),
        "conserved": (seen["light"][0] / true - 1).tolist(),
        "eaten": (seen["clean"][0] / seen["unjudged"][0] - 1).tolist(),
        "offset_mas": (1000 * seen["light"][1]).tolist(),
        "pull": {key: one["noise"]["pull"] for key, one in metrics.items()},
        "correlation": metrics["clean"]["correlation"],
    }  # fmt: skip
    (FOLDER / "measured.json").write_text(json.dumps(found, indent=1))


def photometry(path: Path, stars: list[dict]):
    """Jy in an aperture around each star's true place, and arcsec from there to its centroid."""
    import numpy as np
    from astropy.io import fits
    from photutils.aperture import CircularAperture, aperture_photometry
    from pureparallel.core.grid import Grid

    with fits.open(path) as hdus:
        data, plane, unit = hdus["SCI"].data.astype(float), Grid.of(hdus["SCI"].header), hdus[0].header["PIXAR_SR"]
    x, y = plane.to_pixel([star["ra"] for star in stars], [star["dec"] for star in stars])
    data = np.nan_to_num(data)
    flux = aperture_photometry(data, CircularAperture(np.column_stack([x, y]), APERTURE / plane.scale))
    offsets, reach = [], 6
    for a, b in zip(x, y, strict=True):
        i, j = round(float(a)), round(float(b))
        cut = data[j - reach : j + reach + 1, i - reach : i + reach + 1]
        rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        total = cut.sum()
        offsets.append(np.hypot((cut * columns).sum() / total + i - a, (cut * rows).sum() / total + j - b))
    return np.array(flux["aperture_sum"]) * unit * 1e6, np.array(offsets) * plane.scale


if __name__ == "__main__":
    if sys.argv[1] == "measure":
        measure()
    else:
        scene(*map(int, sys.argv[1:4]))
