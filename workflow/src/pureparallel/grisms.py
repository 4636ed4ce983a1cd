"""The geometry and sensitivity of dispersed exposures, from the pipeline's world coordinates and reference files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import UserError, calibration
from .core import astrometry, grism
from .core.grism import Optics
from .core.pointing import Pointing

STEPS = (("jwst.assign_wcs", "AssignWcsStep"), ("jwst.flatfield", "FlatFieldStep"))
"""Module and class of the pipeline's steps that a dispersed exposure goes through, in their order."""

MARGIN = 0.05
"""μm beyond the wavelengths of the response within which traces are followed."""


def open_dispersed(path: Path, pointing: Pointing, chain: calibration.Chain) -> Any:
    """A dispersed rate image with its world coordinates under a pointing.

    Parameters
    ----------
    path : Path
        Of a rate image.
    pointing : Pointing
        At the aperture's reference point.
    chain : Chain
        Of ``spec2pipeline``.

    Returns
    -------
    ImageModel
        To be closed by the caller.
    """
    from stdatamodels.jwst.datamodels import ImageModel

    model = ImageModel(str(path))
    if not str(model.meta.exposure.type).endswith("_WFSS"):
        raise UserError(f"{path}: not a dispersed image ({model.meta.exposure.type})")
    astrometry.apply_to_model(model, pointing)
    model = chain.run(*STEPS[0], model)
    if chain.record["assign_wcs"]["status"] != "COMPLETE":
        raise UserError(f"{path}: the context has no trace or distortion reference for it")
    return model


def optics(model: Any, orders: tuple[int, ...] | None = None) -> Optics:
    """The optics of a dispersed exposure.

    Parameters
    ----------
    model : ImageModel
        Of `open_dispersed`.
    orders : tuple of int, optional
        Those wanted, of those that the references have; all by default.

    Raises
    ------
    UserError
        If a reference is missing, or the polynomials cannot follow the pipeline's coordinates.
    """
    elements = model.meta.instrument.filter, model.meta.instrument.pupil
    name = str(model.meta.filename)
    responses, area = read_responses(reference(model, "photom"), *elements, name)
    ranges = read_ranges(reference(model, "wavelengthrange"))
    wcs, shape = model.meta.wcs, model.shape
    frames = wcs.available_frames
    backward, forward = wcs.get_transform(frames[1], frames[0]), wcs.get_transform(frames[1], frames[-1])

    def to_grism(x: Any, y: Any, wave: Any, number: int) -> tuple[Any, Any]:
        there = backward(x, y, wave, number)
        return there[0], there[1]

    def to_sky(x: Any, y: Any) -> tuple[Any, Any]:
        there = forward(x, y, np.ones_like(x), 1)
        return there[0], there[1]

    filter = next(one for one in elements[::-1] if one.startswith("F"))
    found, accuracy, reach = {}, 0.0, 0.0
    for number, (wave, response) in sorted(responses.items()):
        if orders is not None and number not in orders:
            continue
        span = wave[response > 0]
        try:
            surface, limits, missed = grism.fit_order(
                to_grism, number, shape, (max(span[0] - MARGIN, 1e-3), span[-1] + MARGIN)
            )
        except ValueError:  # the trace reference lacks this order
            continue
        extracted = ranges.get((number, filter), (float(span[0]), float(span[-1])))
        extracted = max(extracted[0], limits[0]), min(extracted[1], limits[1])
        found[number] = grism.Order(number, limits, extracted, surface, wave, response)
        accuracy, reach = max(accuracy, missed), max(reach, float(surface.half.max()) - min(shape) / 2)
    if 1 not in found:
        raise UserError(f"{name}: the references know no first order of {' and '.join(elements)}")
    plane, to_pixel, to_plane, missed = grism.sky_surfaces(to_sky, shape, reach)
    accuracy = max(accuracy, missed)
    if accuracy > grism.ACCURACY:
        raise UserError(f"{name}: polynomials miss the pipeline's coordinates by {accuracy:.3f} pixels")
    dx, dy = found[1].offset((shape[1] - 1) / 2, (shape[0] - 1) / 2, np.array(found[1].extracted))
    along_x = bool(abs(np.ptp(dx)) > abs(np.ptp(dy)))
    disperser = next(one for one in elements if one.startswith("G"))
    return Optics(shape, disperser, filter, along_x, plane, to_pixel, to_plane, found, area, accuracy)


def reference(model: Any, kind: str) -> Path:
    """The reference file that CRDS has for an exposure."""
    from stpipe import crds_client  # type: ignore[import-not-found]

    try:
        path = crds_client.get_reference_file(model.get_crds_parameters(), kind, "jwst")
    except crds_client.CrdsError as error:
        raise UserError(f"{model.meta.filename}: the context has no {kind} reference ({error})") from error
    if path == "N/A":
        raise UserError(f"{model.meta.filename}: the context has no {kind} reference for it")
    return Path(path)


def read_responses(
    path: Path, filter: str, pupil: str, name: str
) -> tuple[Mapping[int, tuple[NDArray[np.float64], NDArray[np.float64]]], float]:
    """Wavelengths [μm] and sensitivities by order, see `grism.Order`, and the nominal area of a pixel [sr].

    Parameters
    ----------
    path : Path
        Photom reference of WFSS.
    filter, pupil : str
    name : str
        Of the exposure, for the message.
    """
    from astropy import units as u
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        table, area = hdus["PHOTOM"].data, hdus[0].header.get("PIXAR_SR")
        unit = hdus["PHOTOM"].header.get("PHOTUNIT") or hdus[0].header.get("PHOTUNIT") or "MJy micron s / (DN sr)"
        mine = [row for row in table if (row["filter"].strip(), row["pupil"].strip()) == (filter, pupil)]
        factor = u.Unit(unit).to(u.Unit("MJy micron s / (DN sr)"))
        if not mine or not area:
            raise UserError(f"{name}: the photom reference has nothing of {filter} and {pupil}, or no pixel area")
        found = {}
        for row in mine:
            count = int(row["nelem"])
            wave, relative = (np.array(row[key][:count], float) for key in ("wavelength", "relresponse"))
            rise = np.argsort(wave)
            response = grism.response(factor * row["photmjsr"] * relative[rise], area)
            if (response > 0).sum() > 1:
                found[int(row["order"])] = wave[rise], response
    return found, float(area)


def read_ranges(path: Path) -> dict[tuple[int, str], tuple[float, float]]:
    """Wavelengths [μm] between which each order and filter is extracted."""
    from stdatamodels.jwst.datamodels import WavelengthrangeModel

    with WavelengthrangeModel(str(path)) as model:
        return {(int(order), str(name)): (float(low), float(high)) for order, name, low, high in model.wavelengthrange}
