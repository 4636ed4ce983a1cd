"""Figure of a field's photometric redshifts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .palette import CONTINUUM, INK, MARK, MODEL
from .photoz import SURE, Array, edges, widths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEPTH = 3.0
"""Decades of P(z) that the image shows."""


def photoz_figure(
    rows: Sequence[Mapping[str, Any]], grid: Array, probability: Array, magnitude: Array, title: str
) -> "Figure":
    """P(z) of all sources, their sum, and how sure redshifts are by magnitude.

    Parameters
    ----------
    rows : sequence of mapping
        Of PHOTOZ.
    grid : ndarray, shape (nz,)
    probability : ndarray, shape (m, nz)
        Per bin, of the rows without a reason, in their order.
    magnitude : ndarray, shape (m,)
        Rough AB magnitude in I of the same sources.
    title : str
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.8), layout="constrained")
    image, total, sure = figure.subplots(1, 3, width_ratios=[1.25, 1, 1])
    fitted = [row for row in rows if not row["reason"]]
    z, risk = (np.array([row[name] for row in fitted]) for name in ("z_phot", "risk"))
    if len(fitted):
        _image(image, grid, probability[np.argsort(z, kind="stable")])
        _sum(total, grid, probability, z)
        _sure(sure, magnitude, risk, z)
    figure.suptitle(f"{title} ({len(fitted)} of {len(rows)} sources)", color=INK)
    return figure


def _image(axes: "Axes", grid: Array, probability: Array) -> None:
    """P(z) of every source, a row each, in the order of their redshifts."""
    density = probability / widths(grid) * (1 + grid)  # per ln(1+z), which the axis is in
    shown = np.log10(np.maximum(density / density.max(axis=1, keepdims=True), 10**-DEPTH))
    x, y = edges(np.log1p(grid)), np.arange(len(shown) + 1)
    mesh = axes.pcolormesh(x, y, shown, cmap="cividis", vmin=-DEPTH, vmax=0, rasterized=True)
    _redshift_axis(axes, grid)
    axes.set_ylabel("source, by redshift")
    axes.set_title("log P(z) over its greatest value", fontsize=9)
    axes.figure.colorbar(mesh, ax=axes, pad=0.01)


def _sum(axes: "Axes", grid: Array, probability: Array, z: Array) -> None:
    """The sum of all P(z) beside the histogram of single redshifts."""
    bins = np.linspace(np.log1p(grid[0]), np.log1p(grid[-1]), 41)
    axes.hist(np.log1p(z), bins.tolist(), color=CONTINUUM, alpha=0.6, label="best redshifts")
    density = probability.sum(axis=0) / widths(grid) * (1 + grid) * (bins[1] - bins[0])
    axes.plot(np.log1p(grid), density, color=INK, lw=1.2, label="sum of P(z)")
    _redshift_axis(axes, grid)
    axes.set_ylabel("sources per bin")
    axes.legend(fontsize=8, frameon=False)
    axes.set_title("all sources", fontsize=9)


def _sure(axes: "Axes", magnitude: Array, risk: Array, z: Array) -> None:
    """Risk by magnitude, near and far sources apart."""
    far = z > 2
    axes.plot(magnitude[~far], risk[~far], "o", ms=3.5, color=MARK, alpha=0.6, mec="none", label="z up to 2")
    axes.plot(magnitude[far], risk[far], "^", ms=4, color=MODEL, alpha=0.6, mec="none", label="z beyond 2")
    axes.set(xlabel="I (AB), rough", ylabel="risk of the best redshift", ylim=(-0.02, 1.02))
    axes.axhline(SURE, color=INK, lw=0.6, ls=":")
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    axes.set_title("0: sure, towards 1: nothing is known", fontsize=9)


def _redshift_axis(axes: "Axes", grid: Array) -> None:
    """Redshifts in steps of ln(1+z), with plain numbers."""
    ticks = np.array([0, 0.5, 1, 2, 3, 4, 6, 8, 12, 18])
    ticks = ticks[(ticks >= grid[0] - 0.05) & (ticks <= grid[-1])]
    axes.set_xticks(np.log1p(ticks), [f"{one:g}" for one in ticks])
    axes.set_xlim(float(np.log1p(grid[0])), float(np.log1p(grid[-1])))
    axes.set_xlabel("redshift")
