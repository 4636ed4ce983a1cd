"""Figure of a field's photometry, drawn on matplotlib's own canvas: no pyplot, no global state."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .palette import CONTINUUM, INK, MARK, MODEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

LOOKS = ((MARK, "-", "o"), (CONTINUUM, "--", "s"), (MODEL, "-.", "^"), (INK, ":", "D"))
"""Colour, line and marker of filters from blue to red, then again."""


@dataclass(frozen=True)
class Drawn:
    """A filter, as it is drawn.

    Attributes
    ----------
    star : ndarray, shape (2 h + 1, 2 h + 1)
        Image of a star.
    within, matched : ndarray, shape (r,)
        Part of its light within radii, on the mosaic and after matching.
    aperture, sigma, model : ndarray, shape (k,)
        Empty apertures: radius in arcsec, noise in uJy, and its power law.
    magnitude, error : ndarray, shape (n,)
        Of sources: AB, and flux error over flux; NaN where there is no magnitude.
    """

    star: Array
    within: Array
    matched: Array
    aperture: Array
    sigma: Array
    model: Array
    magnitude: Array
    error: Array


def photometry_figure(
    filters: Mapping[str, Drawn], radius: Array, scale: float, aperture: float, extended: NDArray[np.bool_], title: str
) -> "Figure":
    """Images of stars, their growth curves, the noise of apertures, errors and colours of sources.

    Parameters
    ----------
    filters : mapping of str to Drawn
        From blue to red.
    radius : ndarray, shape (r,)
        Arcsec, of the growth curves.
    scale : float
        Arcsec per pixel of the images of stars.
    aperture : float
        Arcsec, radius of the aperture for colours.
    extended : ndarray of bool, shape (n,)
        Sources that are no points.
    title : str
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8), layout="constrained")
    left, right = np.atleast_1d(np.array(figure.subfigures(1, 2, width_ratios=(5, 1))))
    (curves, noise), (errors, colours) = left.subplots(2, 2)
    looks = dict(zip(filters, cycle(LOOKS), strict=False))
    _growth(curves, filters, looks, radius, aperture)
    _noise(noise, filters, looks)
    _errors(errors, filters, looks)
    _colours(colours, filters, extended)
    for axes, (name, one) in zip(np.atleast_1d(right.subplots(max(len(filters), 1), 1)), filters.items(), strict=False):
        half = one.star.shape[0] // 2 * scale
        shown = np.log10(np.maximum(one.star / one.star.max(), 1e-5))
        axes.imshow(shown, origin="lower", cmap="magma", vmin=-5, vmax=0, extent=(-half, half, -half, half))
        axes.set_title(f"{name}: a star, 5 decades", fontsize=9, color=INK)
        axes.set_xlabel("arcsec", fontsize=8)
    figure.suptitle(title, fontsize=11, color=INK)
    return figure


def _growth(axes: "Axes", filters: Mapping[str, Drawn], looks: Mapping, radius: Array, aperture: float) -> None:
    for name, one in filters.items():
        colour, line, _ = looks[name]
        axes.plot(radius, one.within, line, color=colour, label=name)
        axes.plot(radius, one.matched, color=colour, lw=0.8, alpha=0.6)
    axes.axvline(aperture, color=INK, lw=0.8, ls=(0, (1, 3)))
    axes.set(xscale="log", xlabel="radius (arcsec)", ylabel="part of a star's light", ylim=(0, 1.02))
    _ticks(axes, [0.05, 0.1, 0.25, 0.5, 1, 2, 3])
    axes.set_title("a star's light; thin: after matching", fontsize=10, color=INK)
    if filters:
        axes.legend(frameon=False, loc="lower right")


def _noise(axes: "Axes", filters: Mapping[str, Drawn], looks: Mapping) -> None:
    for name, one in filters.items():
        colour, line, marker = looks[name]
        axes.plot(one.aperture, 1000 * one.sigma, marker, color=colour, ms=5, label=name)
        axes.plot(one.aperture, 1000 * one.model, line, color=colour)
    axes.set(xscale="log", yscale="log", xlabel="radius (arcsec)", ylabel="noise of empty apertures (nJy)")
    _ticks(axes, [0.1, 0.2, 0.35, 0.5, 0.7, 1])
    low, high = axes.get_ylim()
    places = [digit * 10.0**power for power in range(-4, 5) for digit in (1, 2, 5)]
    shown = [place for place in places if low <= place <= high]
    axes.set_yticks(shown, [f"{place:g}" for place in shown])
    axes.set_yticks([], minor=True)
    axes.set_title("noise and its power law", fontsize=10, color=INK)
    if filters:
        axes.legend(frameon=False)


def _ticks(axes: "Axes", places: list[float]) -> None:
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.set_xticks([], minor=True)


def _errors(axes: "Axes", filters: Mapping[str, Drawn], looks: Mapping) -> None:
    for name, one in filters.items():
        colour, _, marker = looks[name]
        axes.plot(one.magnitude, one.error, marker, color=colour, ms=3, alpha=0.7, mew=0, label=name)
    axes.axhline(0.2, color=INK, lw=0.8, ls=(0, (1, 3)))
    axes.text(0.02, 0.22, "5 σ", color=INK, fontsize=8, transform=axes.get_yaxis_transform())
    axes.set(yscale="log", xlabel="AB mag", ylabel="error over flux")
    axes.set_title("depth", fontsize=10, color=INK)


def _colours(axes: "Axes", filters: Mapping[str, Drawn], extended: NDArray[np.bool_]) -> None:
    if len(filters) < 2:
        axes.set_axis_off()
        return
    (blue, first), *_, (red, last) = filters.items()
    for chosen, marker, colour, label in ((extended, "o", MARK, "extended"), (~extended, "*", MODEL, "points")):
        x, y = last.magnitude[chosen], (first.magnitude - last.magnitude)[chosen]
        error = np.hypot(first.error, last.error)[chosen] * 2.5 / np.log(10)
        axes.errorbar(
            x, y, error, fmt=marker, color=colour, ms=4 if marker == "o" else 6, mew=0, elinewidth=0.5, alpha=0.8,
            label=label,
        )  # fmt: skip
    axes.set(xlabel=f"{red} (AB mag)", ylabel=f"{blue} − {red}")
    axes.set_title("colours, of what both filters see", fontsize=10, color=INK)
    axes.legend(frameon=False)
