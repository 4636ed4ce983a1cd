"""Figures of dispersed exposures, drawn on matplotlib's own canvas: no pyplot, no global state."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .palette import CONTINUUM, INK, MARK, MODEL
from .plot_background import binned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIXELS = 600
"""Of a panel; larger images are shown in bins."""

MOST = 40
"""Exposures whose names are shown."""


def shift_figure(rows: Sequence[Mapping[str, Any]], title: str) -> "Figure":
    """Shifts across and along the dispersion: as measured on traces, and as applied.

    Parameters
    ----------
    rows : sequence of mapping
        Of grism_wcs.
    title : str
    """
    from matplotlib.figure import Figure

    shown = sorted((row for row in rows if row["usable"]), key=lambda row: row["exposure"])
    figure = Figure(figsize=(11, min(max(0.26 * len(shown), 2.5), 10) + 1.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    place = np.arange(len(shown))
    for panel, along in zip(axes, (False, True), strict=True):
        of = [("x" if row["along_x"] == along else "y") for row in shown]
        measured, error, value, sigma, prior = (
            np.array([row[f"{key}{axis if key[-1] == '_' else ''}"] for row, axis in zip(shown, of, strict=True)])
            for key in ("measured_", "measured_error_", "shift_", "error_", "prior_error")
        )
        blind = np.array([row["rung"] == "measured" for row in shown], bool)
        # where nothing was known, the measured shift says nothing of errors
        base = np.where(blind, value, 0)
        panel.barh(place, 2 * prior, left=-prior, height=0.7, color=MARK, alpha=0.18, lw=0,
                   label="1 σ beforehand")  # fmt: skip
        panel.errorbar(measured - base, place, xerr=error, fmt="s", ms=4, color=CONTINUUM, label="measured on traces")
        panel.errorbar(value - base, place, xerr=sigma, fmt="o", ms=4, color=MODEL, label="applied")
        panel.axvline(0, color=INK, lw=0.6)
        reach = np.nanmax(np.abs([*(measured - base), *(value - base), 0.1]), initial=0.1) * 1.3
        panel.set_xlim(-reach, reach)
        panel.set_xlabel(f"{'along' if along else 'across'} the dispersion (pixels)")
    axes[0].set_ylim(len(shown) - 0.4, -0.6)
    if len(shown) <= MOST:
        labels = [f"{row['exposure'][7:]}  {row['grism']} {row['filter']}" for row in shown]
        axes[0].set_yticks(place, labels, fontsize=8)
    else:
        axes[0].set_ylabel("exposure")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    figure.suptitle(title, color=INK)
    return figure


def exposure_figure(
    data: NDArray[np.floating], model: NDArray[np.floating], noise: float, boxes: Sequence[tuple[slice, slice]],
    title: str,
) -> "Figure":  # fmt: skip
    """A dispersed exposure, the model of all its sources, and what is left.

    Parameters
    ----------
    data, model : ndarray, shape (ny, nx)
        DN/s; NaN where there is none.
    noise : float
        DN/s, of a pixel.
    boxes : sequence of (slice, slice)
        Of the cut-outs.
    title : str
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(16, 5.9), layout="constrained")
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    size = -(-max(data.shape) // PIXELS)
    ny, nx = data.shape
    where: dict[str, Any] = {"origin": "lower", "extent": (-0.5, nx - 0.5, -0.5, ny - 0.5), "interpolation": "nearest"}
    panels = (
        (data, "without sky, flat-fielded", "Greys", -3, 30),
        (model, "model of all sources, all orders", "Greys", -3, 30),
        (data - model, "what is left", "RdBu_r", -10, 10),
    )  # fmt: skip
    for panel, (image, name, colours, low, high) in zip(axes, panels, strict=True):
        shown = np.arcsinh(binned(np.asarray(image), size) / noise / 2)
        drawn = panel.imshow(shown, cmap=colours, vmin=np.arcsinh(low / 2), vmax=np.arcsinh(high / 2), **where)
        bar = figure.colorbar(drawn, ax=panel, shrink=0.85)
        ticks = [value for value in (-10, -3, 0, 3, 10, 30) if low <= value <= high]
        bar.set_ticks([float(np.arcsinh(value / 2)) for value in ticks], labels=[str(value) for value in ticks])
        panel.set_title(name, fontsize=10, color=INK)
    bar.set_label("noise of a pixel, compressed")
    for rows, columns in boxes:
        corner = columns.start - 0.5, rows.start - 0.5
        size_x, size_y = columns.stop - columns.start, rows.stop - rows.start
        axes[0].add_patch(Rectangle(corner, size_x, size_y, fill=False, ec=MARK, lw=0.5, alpha=0.7))
    figure.suptitle(title, fontsize=11, color=INK)
    return figure
