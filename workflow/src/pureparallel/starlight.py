"""The image of a star on a mosaic: by the telescope's aperture, the exposures' places and the field's own stars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import UserError
from .core import psf_model, psf_mosaic, psf_stars
from .core.apertures import growth
from .core.grid import Grid
from .frames import Aligned, look, survey
from .mosaics import Band, Catalogue

Array = NDArray[np.float64]

PLACES = 25
"""Stars all over the mosaic that the image of a star is the mean of."""

MOST = 12
"""Stars that models are compared with, the brightest: enough for two numbers."""

ENOUGH = 3
"""Stars from which on what they have in common beyond the model is taken for the image of a star."""

CURVE = np.geomspace(0.04, psf_mosaic.RADIUS, 40)
"""Arcsec, radii of growth curves."""


@dataclass(frozen=True)
class Star:
    """The image of a star in one filter.

    Attributes
    ----------
    image : ndarray, shape (2 h + 1, 2 h + 1)
        Part of its light in each pixel, mean over the mosaic.
    spread : ndarray, shape (`CURVE`,)
        Rms from place to place of the light within radii.
    record : dict
        What it was made from.
    rows : list of dict
        Stars that models were compared with.
    """

    image: Array
    spread: Array
    record: dict[str, Any]
    rows: list[dict[str, Any]]


def given(image: Array) -> Star:
    """A user's image of a star."""
    return Star(image, np.zeros(len(CURVE)), {"psf": "file", "stars": 0}, [])


def half_light(image: Array) -> float:
    """Pixels, radius that holds half of an image's light."""
    radii = np.linspace(0.5, image.shape[0] // 2, 200)
    within = growth(image, radii)
    return float(np.interp(0.5 * image.sum(), within, radii))


def make(
    filter: str, band: Band, grid: Grid, sources: Catalogue, segments: NDArray, images: Sequence[Path],
    solution: Mapping[str, Aligned], options: Mapping[str, Any],
) -> Star:  # fmt: skip
    """The image of a star in a mosaic.

    Parameters
    ----------
    filter : str
    band : Band
    grid : Grid
    sources : Catalogue
    segments : ndarray of int, shape (ny, nx)
    images : sequence of Path
        Folders with those that the mosaic was made of.
    solution : mapping of str to Aligned
        Where they are.
    options : mapping
        ``psf`` and ``star_snr`` of photometry.
    """
    known, _ = survey(images, filter)
    frames, reasons = look({name: path for name, path in known.items() if name in band.exposures}, solution)
    if not frames:
        why = "; ".join(reasons.values()) or "they are not among photometry.images"
        raise UserError(f"{filter}: none of the mosaic's {len(band.exposures)} exposures can be read: {why}")
    exposures = [psf_mosaic.Exposure(frame.positions, grid, frame.seconds) for frame in frames]
    drizzling = psf_mosaic.Drizzling(exposures, grid.scale, band.pixfrac, band.kernel)
    stamps = []
    if options["psf"] != "model":
        x, y = sources.places.T
        stamps = psf_stars.find(
            band.data, band.error, band.weight, segments, x, y, sources.points & sources.reliable,
            scale=grid.scale, snr=options["star_snr"], most=MOST,
        )  # fmt: skip
        # exposures that cannot be read any more leave stars without a place to compare them at
        stamps = [one for one in stamps if any(e.find(one.x, one.y) is not None for e in exposures)]
    fit = psf_stars.compare(filter, drizzling, stamps)
    light = psf_model.star(filter, exposures[0].pixel, blur=fit.blur, wavefront=fit.wavefront).on
    found = psf_mosaic.everywhere(light, drizzling, band.weight > 0, PLACES)
    curves = np.array([growth(image, CURVE / grid.scale) for image in found])
    image, used = found.mean(axis=0), int(fit.used.sum())
    kind = "model, fitted to stars" if used else "model"
    if used >= (1 if options["psf"] == "stars" else ENOUGH):
        kind = "stars"
        extra = psf_stars.leftover(stamps, fit.used, light, drizzling)
        pad = (len(image) - len(extra)) // 2
        image += np.pad(extra, pad)
    record = {
        "psf": kind, "stars": used, "stars_refused": len(stamps) - used, "blur": fit.blur, "blur_error": fit.errors[0],
        "wavefront": fit.wavefront, "wavefront_error": fit.errors[1],
    }  # fmt: skip
    return Star(image, curves.std(axis=0), record, _rows(filter, sources, stamps, fit))


def _rows(
    filter: str, sources: Catalogue, stamps: Sequence[psf_stars.Stamp], fit: psf_stars.Fit
) -> list[dict[str, Any]]:
    """Stars that models were compared with."""
    return [
        {"filter": filter, "id": sources.shapes[one.row].label, "x": one.x, "y": one.y, "used": ok, "residual": off}
        for one, ok, off in zip(stamps, fit.used, fit.residuals, strict=True)
    ]
