"""Columns of the table of fluxes, from sums over apertures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .fluxes import BITS, HIDDEN, Sums, Totals

Array = NDArray[np.float64]

Column = tuple[NDArray, str | None, str]
"""Values, unit and description."""

ZERO = 23.9
"""AB magnitude of 1 uJy."""

FLAGS = ", ".join(f"{1 << bit} {name}" for name, bit in BITS.items())


def magnitude(flux: ArrayLike) -> Array:
    """AB magnitudes of fluxes in uJy; NaN for none and less."""
    flux = np.asarray(flux, float)
    return ZERO - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))


def common(totals: Totals, options: Mapping[str, Any]) -> dict[str, Column]:
    """Columns that filters share."""
    return {
        "scale": (
            totals.scale,
            None,
            f"all light over that within {options['colour_aperture']:g} arcsec; in all fluxes",
        ),
        "scale_err": (totals.scale_error, None, "relative error of scale, common to all filters and not in flux_err"),
        "captured": (totals.captured, None, "part of all light that the aperture for totals is taken to hold"),
        "captured_err": (totals.captured_error, None, "relative error of captured"),
    }


def of_filter(
    filter: str, sums: Sums, totals: Totals, within: tuple[float, float], wings: Array, options: Mapping[str, Any]
) -> dict[str, Column]:
    """Columns of a filter.

    Parameters
    ----------
    filter : str
    sums, totals
        Of all sources.
    within : (float, float)
        Part of a star's light in the aperture for colours, in the image that filters are matched to and in this one.
    wings : ndarray, shape (n,)
        Light of neighbours in that aperture.
    options : mapping
        Of photometry.
    """
    light, error = sums.colour
    scale = totals.scale * within[0] / within[1]
    flux, noise = light * scale, error * scale
    flux_err = np.hypot(noise, options["floor"] * flux)
    whole, whole_error = (one / totals.captured for one in sums.total)
    nsigma = options["nsigma"]
    seen = flux > nsigma * flux_err
    limit = np.where(np.isfinite(flux) & ~seen, magnitude(nsigma * flux_err), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        from_others = np.where(light > 0, wings / light, np.where(np.isfinite(light), np.inf, np.nan))
    flags = sums.flags | (np.nan_to_num(from_others) > HIDDEN) * np.int32(1 << BITS["NEIGHBOUR"])
    sizes = ", ".join(f"{d:g}" for d in options["apertures"])
    return {
        f"flux_{filter}": (flux, "uJy", "all light, from the aperture for colours times scale"),
        f"flux_err_{filter}": (flux_err, "uJy", f"its error, {options['floor']:g} of the flux included"),
        f"mag_{filter}": (np.where(seen, magnitude(flux), np.nan), "mag", f"AB, where above {nsigma:g} sigma"),
        f"limit_{filter}": (limit, "mag", f"AB of {nsigma:g} sigma, elsewhere"),
        f"flux_kron_{filter}": (whole, "uJy", "all light, from the aperture for totals over captured"),
        f"flux_kron_err_{filter}": (whole_error, "uJy", "its error, without that of captured"),
        f"flux_aper_{filter}": (sums.light[:, sums.fixed], "uJy", f"within {sizes} arcsec (diameters), matched images"),
        f"flux_aper_err_{filter}": (sums.error[:, sums.fixed], "uJy", "errors of these"),
        f"wings_{filter}": (from_others, None, "light of neighbours, as if stars, over all in the colour aperture"),
        f"flags_{filter}": (flags, None, FLAGS),
    }  # fmt: skip
