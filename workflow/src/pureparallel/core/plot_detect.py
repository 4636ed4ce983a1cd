"""Figure of a field's sources, drawn on matplotlib's own canvas: no pyplot, no global state."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .grid import Grid
from .palette import CONTINUUM, INK, MARK, MODEL
from .plot_mosaic import PIXELS, means

if TYPE_CHECKING:
    from astropy.table import QTable
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = (
    ("extended", MARK, "o"), ("point source", MODEL, "*"), ("doubtful, see flags", CONTINUUM, "s"),
)  # fmt: skip
"""Label, colour and marker of each kind of source; for readers who see no colours, all but extended ones are marked."""


def detection_figure(
    significance: NDArray, covered: NDArray, labels: NDArray, table: "QTable", grid: Grid, title: str
) -> "Figure":
    """The detection image with the outlines of all sources; their numbers by magnitude and by significance.

    Parameters
    ----------
    significance : ndarray, shape (ny, nx)
    covered : ndarray of bool, shape (ny, nx)
    labels : ndarray of int, shape (ny, nx)
    table : QTable
        The catalogue.
    grid : Grid
    title : str
    """
    from matplotlib.figure import Figure

    step = -(-max(significance.shape) // PIXELS)
    shown = means(np.where(covered, significance, np.nan).astype(np.float32), step)
    extended, reliable = np.asarray(table["is_extended"], bool), np.asarray(table["reliable"], bool)
    kinds = [reliable & extended, reliable & ~extended, ~reliable]
    figure = Figure(figsize=(13.5, 8.6), layout="constrained")
    layout = [["image", "counts"], ["image", "sizes"]]
    parts: dict[str, Axes] = figure.subplot_mosaic(layout, width_ratios=[2, 1])
    axes = parts["image"]
    ny, nx = significance.shape
    x, y = grid.origin
    west, south = grid.scale * (x - nx + 0.5), grid.scale * (-0.5 - y)
    extent = grid.scale * (x + 0.5), west, south, grid.scale * (ny - 0.5 - y)
    axes.imshow(
        np.arcsinh(shown / 3), origin="lower", cmap="gray_r", vmin=-0.5, vmax=4.5, extent=extent,
        interpolation="nearest",
    )  # fmt: skip
    small = labels[::step, ::step]
    offsets = [(1 - 2 * flip) * grid.scale * (np.arange(n)[::step] - o) for n, o, flip in ((nx, x, 1), (ny, y, 0))]
    east, north = (grid.scale * (x - np.asarray(table["xcentroid"]))), grid.scale * (np.asarray(table["ycentroid"]) - y)
    numbers = np.asarray(table["label"])
    for (kind, colour, marker), mine in zip(KINDS, kinds, strict=True):
        inside = np.isin(small, numbers[mine])
        if inside.any():
            axes.contour(*offsets, inside, levels=[0.5], colors=colour, linewidths=0.8)
        shape, size = ("", 0) if marker == "o" else (marker, 9 if marker == "*" else 6)
        axes.plot([], [], color=colour, lw=1.5, marker=shape, ms=size, mfc="none", label=f"{kind}: {mine.sum()}")
        axes.plot(east[mine], north[mine], ls="", marker=shape, color=colour, ms=size, mfc="none", mew=0.8)
    axes.set(xlabel="east (″)", ylabel="north (″)")
    axes.legend(fontsize=9, frameon=True, framealpha=0.9, loc="upper left")
    area = float(covered.sum() * (grid.scale / 60) ** 2)
    _counts(parts["counts"], np.asarray(table["isophotal_abmag"], float), kinds, area)
    _sizes(parts["sizes"], table, kinds)
    figure.suptitle(f"{title}: {len(table)} sources", fontsize=11, color=INK)
    return figure


def _counts(axes: "Axes", magnitude: NDArray, kinds: list[NDArray], area: float) -> None:
    """Sources per area and magnitude."""
    known = magnitude[np.isfinite(magnitude)]
    low, high = (np.floor(known.min() * 2) / 2, np.ceil(known.max() * 2) / 2) if known.size else (20.0, 28.0)
    edges = np.arange(low, max(high, low + 1) + 0.26, 0.5)
    for (_, colour, marker), mine in zip(KINDS, kinds, strict=True):
        count, _ = np.histogram(magnitude[mine], edges)
        middle = (edges[1:] + edges[:-1]) / 2
        seen = count > 0
        rate = count[seen] / max(area, 1e-9) / 0.5
        error = np.sqrt(count[seen]) / max(area, 1e-9) / 0.5
        axes.errorbar(middle[seen], rate, error, fmt=marker, color=colour, ms=5, lw=1)
    least = 10 ** np.floor(np.log10(1 / max(area, 1e-9)))
    axes.set(xlabel="isophotal magnitude (AB, mean of the filters)", ylabel="sources per arcmin² and mag", yscale="log")
    axes.set_ylim(least, max(axes.get_ylim()[1], 100 * least))


def _sizes(axes: "Axes", table: "QTable", kinds: list[NDArray]) -> None:
    """What parts points from extended sources."""
    snr, ratio = np.asarray(table["snr"], float), np.asarray(table["concentration"], float)
    for (_, colour, marker), mine in zip(KINDS, kinds, strict=True):
        axes.plot(snr[mine], ratio[mine], marker, color=colour, ms=5, mfc="none", mew=0.8)
    axes.set(xlabel="significance (σ)", ylabel="concentration (larger: extended)", xscale="log", ylim=(0.25, 1.3))
