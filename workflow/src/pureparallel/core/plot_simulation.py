"""Figures of the simulation: the sky, raw exposures with their truth, and pulls of reduced rates."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .palette import CONTINUUM, INK, MARK, MODEL
from .pulls import BINS

if TYPE_CHECKING:
    from astropy.table import Table
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..simulate.ramp import Exposure

COLOURS = {
    "cosmic_ray": "#2e6f95", "snowball_core": "#d1495b", "snowball_halo": "#f0a6b0", "trail": "#7b2d8b",
    "column_jump": "#3f7d3a", "saturated": "#e9a13b", "hot": "#8a5a2b", "dead": "#1b2430", "ghost": "#58b4ae",
    "persistence": "#b5179e",
}  # fmt: skip
"""Of each disturbance, drawn in this order."""


def sky_figure(table: "Table", gaia: "Table", title: str) -> "Figure":
    """Map, number counts, redshifts and sizes of a simulated sky.

    Parameters
    ----------
    table : Table
        Of `simulate.sky.make`.
    gaia : Table
        Of `simulate.sky.gaia_catalogue`.
    title : str
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout="constrained")
    grid = figure.add_gridspec(3, 2, width_ratios=[1.35, 1])
    star = np.asarray(table["kind"]) == "star"
    magnitude = np.asarray(table["mag_ref"])
    _map(figure.add_subplot(grid[:, 0]), table, gaia, star)

    axes = figure.add_subplot(grid[0, 1])
    bins = list(np.arange(np.floor(magnitude.min()), np.ceil(magnitude.max()) + 0.5, 0.5))
    axes.hist(magnitude[~star], bins, color=MARK, alpha=0.8, label=f"{np.sum(~star)} galaxies")
    axes.hist(magnitude[star], bins, color=CONTINUUM, alpha=0.9, label=f"{np.sum(star)} stars")
    axes.set(xlabel="F150W (AB)", ylabel="sources per 0.5 mag")
    axes.legend(frameon=False, fontsize=8)

    axes = figure.add_subplot(grid[1, 1])
    axes.hist(np.asarray(table["z"])[~star], list(np.arange(0, 8.25, 0.25)), color=MARK, alpha=0.8)
    axes.set(xlabel="redshift", ylabel="galaxies")

    axes = figure.add_subplot(grid[2, 1])
    axes.scatter(magnitude[~star], table["re_arcsec"][~star], s=6, color=MARK, lw=0)
    axes.set(xlabel="F150W (AB)", ylabel="half-light radius (″)", yscale="log")
    figure.suptitle(title, color=INK)
    return figure


def _map(axes: "Axes", table: "Table", gaia: "Table", star: NDArray[np.bool_]) -> None:
    """Positions relative to the centre, galaxies coloured by redshift, larger where brighter."""
    ra, dec, radius = (table.meta[key] for key in ("RA_CEN", "DEC_CEN", "RADIUS"))

    def offsets(of: "Table") -> tuple[NDArray, NDArray]:
        east = (np.asarray(of["ra"]) - ra + 180) % 360 - 180
        return east * np.cos(np.deg2rad(dec)) * 60, (np.asarray(of["dec"]) - dec) * 60

    x, y = offsets(table)
    size = 4 + 90 * 10 ** (-0.25 * (np.asarray(table["mag_ref"]) - 18))
    shown = axes.scatter(
        x[~star], y[~star], size[~star], np.asarray(table["z"])[~star], cmap="viridis", lw=0, alpha=0.85
    )
    axes.scatter(x[star], y[star], size[star], CONTINUUM, marker="*", lw=0.4, edgecolor=INK, label="star")
    if len(gaia):
        axes.scatter(*offsets(gaia), 140, facecolor="none", edgecolor=MODEL, lw=0.9, label="in the Gaia-like catalogue")
    turn = np.linspace(0, 2 * np.pi, 200)
    axes.plot(radius * np.cos(turn), radius * np.sin(turn), color=INK, lw=0.8, ls=":")
    axes.set(xlabel="east (arcmin)", ylabel="north (arcmin)", aspect="equal")
    axes.invert_xaxis()
    axes.legend(loc="upper left", fontsize=8, frameon=True)
    axes.figure.colorbar(shown, ax=axes, shrink=0.6, aspect=40, label="redshift")


def exposure_figure(exposure: "Exposure", seconds: float, title: str) -> "Figure":
    """What was read, the light behind it, what disturbed it, and some ramps.

    Parameters
    ----------
    exposure : Exposure
        Of `simulate.ramp.expose`.
    seconds : float
        Between two groups.
    title : str
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.2), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=[1.7, 1])
    counts = exposure.counts.astype(np.float32)
    rate = exposure.truth["rate"]
    groups = len(counts)
    raw = (counts[-1] - counts[0]) / (seconds * max(groups - 1, 1))
    _image(figure.add_subplot(grid[0, 0]), raw, f"raw: last minus first of {groups} groups (DN/s)")
    _image(figure.add_subplot(grid[0, 1]), rate, "truth: light (DN/s)")
    _disturbances(figure.add_subplot(grid[0, 2]), exposure)
    _ramps(figure.add_subplot(grid[1, :]), exposure, seconds)
    figure.suptitle(title, color=INK)
    return figure


def _image(axes: "Axes", image: NDArray, name: str) -> None:
    middle = np.median(image)
    spread = 1.4826 * np.median(np.abs(image - middle)) or max(float(image.std()), 1e-6)
    low, high = middle - 3 * spread, max(middle + 12 * spread, float(np.percentile(image, 99.5)))
    shown = np.arcsinh((np.clip(image, low, high) - middle) / (3 * spread))
    axes.imshow(shown, origin="lower", cmap="Greys", interpolation="nearest" if image.shape[0] < 600 else "antialiased")
    axes.set_title(name, loc="left", fontsize=9, color=INK)
    axes.tick_params(labelsize=7)


def _disturbances(axes: "Axes", exposure: "Exposure") -> None:
    """Every cause in its own colour."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    shown, handles = np.zeros(exposure.counts.shape[1:], np.uint8), []
    for i, name in enumerate(COLOURS, start=1):
        mask = exposure.mask(name)
        mask = mask.any(axis=0) if mask.ndim == 3 else mask
        if mask.any():
            shown[mask] = i
            handles.append(Patch(color=COLOURS[name], label=name.replace("_", " ")))
    cmap = ListedColormap(["white", *COLOURS.values()])
    axes.imshow(shown, origin="lower", cmap=cmap, vmin=-0.5, vmax=len(COLOURS) + 0.5, interpolation="nearest")
    axes.set_title("truth: disturbances", loc="left", fontsize=9, color=INK)
    axes.tick_params(labelsize=7)
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=7, frameon=False)


def _ramps(axes: "Axes", exposure: "Exposure", seconds: float) -> None:
    """Counts of telling pixels above their first group, by time."""
    counts, rate = exposure.counts.astype(float), exposure.truth["rate"]
    clean = ~np.any([exposure.mask(name).any(axis=0) for name in ("cosmic_ray", "saturated", "snowball_core")], axis=0)
    clean &= ~exposure.mask("hot") & ~exposure.mask("dead") & ~exposure.mask("reference_pixel")
    chosen = {"brightest unsaturated": np.where(clean, rate, -1), "sky": -np.abs(rate - np.median(rate)) - 1e9 * ~clean}
    jumps = exposure.truth["deposits"]
    jumps = jumps[(jumps["cause"] == b"cosmic_ray") & (jumps["group"] > 0)]
    pixels = {name: np.unravel_index(int(np.argmax(merit)), rate.shape) for name, merit in chosen.items()}
    if len(jumps):
        hit = jumps[np.argmax(np.minimum(jumps["electrons"], 5e4))]
        pixels["cosmic ray"] = (hit["y"], hit["x"])
    saturated = exposure.mask("saturated")
    if saturated.any():
        pixels["saturated"] = np.unravel_index(int(np.argmax(saturated.any(axis=0) * rate)), rate.shape)
    times = seconds * np.arange(1, len(counts) + 1)
    for (name, (y, x)), colour in zip(pixels.items(), (MODEL, MARK, CONTINUUM, INK), strict=False):
        axes.plot(times, counts[:, y, x] - counts[0, y, x], "o-", ms=3, lw=1, color=colour, label=f"{name} ({x}, {y})")
    axes.set_yscale("symlog", linthresh=30)
    axes.set(xlabel="time since reset (s)", ylabel="DN above the first group")
    axes.legend(fontsize=8, frameon=False)


def pulls_figure(pulls: Mapping[str, Mapping[str, Any]], title: str) -> "Figure":
    """Histogram of each exposure's pulls over the unit normal, with median and width beside.

    Parameters
    ----------
    pulls : mapping of str to mapping
        By exposure: ``histogram`` (counts in `BINS`), ``median``, ``mad`` (scaled to the normal's σ), ``label``.
    title : str
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 0.6 + max(4.5, 0.22 * len(pulls))), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.6, 1, 1])
    centres = (BINS[1:] + BINS[:-1]) / 2
    left.plot(centres, np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi), color=INK, lw=2)
    for one in pulls.values():
        counts = np.asarray(one["histogram"], float)
        density = counts / max(counts.sum() * (centres[1] - centres[0]), 1e-9)
        left.step(centres, density, where="mid", lw=0.8, color=MODEL if one["dispersed"] else MARK, alpha=0.6)
    left.set(xlabel="(rate − truth) / error", ylabel="density", yscale="log", ylim=(1e-5, 1))
    left.legend(handles=_kinds(), frameon=False, fontsize=8)
    rows = np.arange(len(pulls))[::-1]
    for axes, key, limits, ideal in ((middle, "median", (-0.05, 0.05), 0), (right, "mad", (0.95, 1.1), 1)):
        values = [one[key] for one in pulls.values()]
        colours = [MODEL if one["dispersed"] else MARK for one in pulls.values()]
        axes.axvspan(*limits, color=CONTINUUM, alpha=0.15, lw=0)
        axes.axvline(ideal, color=INK, lw=0.8)
        axes.scatter(values, rows, 20, colours)
        axes.set_yticks(rows, [] if key == "mad" else [one["label"] for one in pulls.values()], fontsize=6.5)
    middle.set_xlabel("median of the pull")
    right.set_xlabel("width of the pull (1.48 MAD)")
    figure.suptitle(title, color=INK)
    return figure


def _kinds() -> Sequence[Any]:
    from matplotlib.lines import Line2D

    kinds = (("unit normal", INK), ("direct exposures", MARK), ("dispersed exposures", MODEL))
    return [Line2D([], [], color=colour, label=name) for name, colour in kinds]
