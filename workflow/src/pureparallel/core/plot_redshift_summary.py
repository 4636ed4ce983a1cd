"""Figure of all redshifts of a field."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .palette import CONTINUUM, INK, MARK
from .plot_validate_redshifts import FLAGS, TICKS
from .redshift import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BIN = 0.05
"""Width of the histogram's bins in ln(1+z)."""


@dataclass(frozen=True)
class Redshifts:
    """Redshifts of n sources and their m detected lines.

    Attributes
    ----------
    z, mag : ndarray, shape (n,)
        NaN where not known.
    flag : ndarray of int, shape (n,)
    pdf, grid : ndarray, shape (n, k), (k,)
        Probability per bin.
    line_source : ndarray of int, shape (m,)
        Index of each line's source.
    line_wave, line_snr : ndarray, shape (m,)
        Observed, μm; flux over error.
    """

    z: Array
    mag: Array
    flag: NDArray[np.int64]
    pdf: Array
    grid: Array
    line_source: NDArray[np.int64]
    line_wave: Array
    line_snr: Array


def summary_figure(found: Redshifts, title: str) -> "Figure":
    """How many redshifts there are, of which sources, from which lines, and how well they are known."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8.6), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    _histogram(panels[0], found)
    _magnitudes(panels[1], found)
    _lines(panels[2], found)
    _probabilities(panels[3], found)
    for axes in panels:
        axes.title.set_fontsize(11)
    figure.suptitle(title, fontsize=13, color=INK)
    return figure


def _ticks(axes: "Axes", which: Sequence[str], low: float, high: float) -> None:
    """Redshifts on axes that run in ln(1+z)."""
    chosen = [tick for tick in TICKS if low <= np.log1p(tick) <= high]
    for name in which:
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_ticks(np.log1p(chosen).tolist(), [f"{tick:g}" for tick in chosen])


def _range(found: Redshifts) -> tuple[float, float]:
    """Of ln(1+z)."""
    known = np.log1p(found.z[np.isfinite(found.z)])
    return (float(known.min()) - BIN, float(known.max()) + BIN) if len(known) else (0.0, 1.0)


def _histogram(axes: "Axes", found: Redshifts) -> None:
    low, high = _range(found)
    edges = np.arange(low, high + BIN, BIN)
    chosen = [found.flag == flag for flag in FLAGS]
    counts = [f"flag {flag}, {FLAGS[flag][3]}: {which.sum()}" for flag, which in zip(FLAGS, chosen, strict=True)]
    values = [np.log1p(found.z[which & np.isfinite(found.z)]) for which in chosen]
    axes.hist(
        values, edges.tolist(), stacked=True, color=[FLAGS[flag][0] for flag in FLAGS], label=counts, edgecolor="white"
    )
    axes.set(title=f"{int((found.flag > 0).sum())} of {len(found.z)} sources", xlabel="redshift", ylabel="sources")
    axes.set_xlim(low, high)
    _ticks(axes, "x", low, high)
    axes.legend(fontsize=8.5, frameon=False)


def _magnitudes(axes: "Axes", found: Redshifts) -> None:
    axes.set(title="which sources they are", xlabel="redshift", ylabel="magnitude (AB)")
    if not np.isfinite(found.mag).any():
        axes.text(0.5, 0.5, "no photometry", transform=axes.transAxes, ha="center", color=INK)
        return
    for flag, (colour, marker, size, _) in reversed(FLAGS.items()):
        which = found.flag == flag
        width = 1 if marker == "x" else 0
        axes.scatter(np.log1p(found.z[which]), found.mag[which], s=size, marker=marker, color=colour, lw=width)
    axes.invert_yaxis()
    low, high = _range(found)
    axes.set_xlim(low, high)
    _ticks(axes, "x", low, high)


def _lines(axes: "Axes", found: Redshifts) -> None:
    """Observed wavelengths of detected lines: what gathers at one wavelength, whatever the redshift, is no source's."""
    axes.set(
        title="detected lines: sloping rows are real, upright ones are artefacts",
        xlabel="observed wavelength (μm)", ylabel="redshift",
    )  # fmt: skip
    flag, y = found.flag[found.line_source], np.log1p(found.z[found.line_source])
    for value, (colour, marker, _, _) in reversed(FLAGS.items()):
        which = flag == value
        size = 8 + 3 * np.clip(found.line_snr[which], 3, 20)
        width = 1 if marker == "x" else 0
        axes.scatter(found.line_wave[which], y[which], s=size, marker=marker, color=colour, alpha=0.8, lw=width)
    low, high = _range(found)
    axes.set_ylim(low, high)
    _ticks(axes, "y", low, high)


def _probabilities(axes: "Axes", found: Redshifts) -> None:
    """P(z) of every source, a row each, in the order of redshift."""
    chosen = np.flatnonzero((found.flag > 0) & np.isfinite(found.z))
    order = chosen[np.argsort(found.z[chosen], kind="stable")]
    axes.set(title="P(z) of every source, by redshift", xlabel="redshift", ylabel="source")
    if not len(order):
        axes.text(0.5, 0.5, "none in this field", transform=axes.transAxes, ha="center", color=INK)
        return
    x = np.log1p(found.grid)
    edges = np.arange(x[0], x[-1] + 0.02, 0.02)
    place = np.clip(np.digitize(x, edges) - 1, 0, len(edges) - 2)
    rows = np.array([np.bincount(place, found.pdf[i], len(edges) - 1) for i in order])
    axes.imshow(
        np.sqrt(rows), cmap="Greys", aspect="auto", origin="lower", interpolation="nearest", vmin=0, vmax=1,
        extent=(edges[0], edges[-1], -0.5, len(order) - 0.5),
    )  # fmt: skip
    for flag, colour in ((3, MARK), (2, CONTINUUM)):
        which = np.flatnonzero(found.flag[order] == flag)
        if len(which):  # markers that are not clipped have a place in the layout, and without any that is a corner
            axes.plot(np.full(len(which), edges[0]), which, "s", ms=4, color=colour, clip_on=False)
    _ticks(axes, "x", float(edges[0]), float(edges[-1]))
