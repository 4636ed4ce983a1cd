"""Figures, drawn on matplotlib's own canvas: no pyplot, no global state."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .palette import CONTINUUM, INK, MARK, MODEL
from .redshift import Array, Lines, Redshift

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def redshift_figure(
    panels: Sequence[tuple[Mapping[str, Array], Array, str]], redshift: Redshift, lines: Lines, title: str
) -> "Figure":
    """2-D spectrum, 1-D spectrum with model and lines, and P(z) of one source.

    Parameters
    ----------
    panels : sequence of (table, image, name)
        Per spectrum: ``wave`` (μm), ``flux, err, model, continuum`` (μJy), each (n,); 2-D spectrum (m, n); a name.
    redshift : Redshift
    lines : Lines
    title : str
    """
    from matplotlib.figure import Figure

    height = 1.2 + 4.2 * len(panels) + 2.2
    figure = Figure(figsize=(11, height), layout="constrained")
    rows = figure.add_gridspec(2 * len(panels) + 1, 1, height_ratios=[1, 3] * len(panels) + [1.8])
    for i, (table, image, name) in enumerate(panels):
        top = figure.add_subplot(rows[2 * i])
        _two_d(top, table, image, name)
        bottom = figure.add_subplot(rows[2 * i + 1], sharex=top)
        _one_d(bottom, table, lines, redshift.z)
        top.tick_params(labelbottom=False)
    _probability(figure.add_subplot(rows[-1]), redshift)
    figure.suptitle(title, fontsize=11, color=INK)
    return figure


def _two_d(axes: "Axes", table: Mapping[str, Array], image: Array, name: str) -> None:
    wave = np.asarray(table["wave"])
    edges = np.concatenate(
        [[1.5 * wave[0] - 0.5 * wave[1]], (wave[1:] + wave[:-1]) / 2, [1.5 * wave[-1] - 0.5 * wave[-2]]]
    )
    good = np.isfinite(image) & (image != 0)
    noise = 1.4826 * np.median(np.abs(image[good] - np.median(image[good]))) if good.any() else 1.0
    rows = np.arange(image.shape[0] + 1) - image.shape[0] / 2
    shown = np.where(good, image, np.nan)
    axes.pcolormesh(edges, rows, shown, cmap="Greys", vmin=-2 * noise, vmax=8 * noise, rasterized=True)
    axes.set_ylabel("pixels")
    axes.set_title(name, loc="left", fontsize=9, color=INK)


def _one_d(axes: "Axes", table: Mapping[str, Array], lines: Lines, z: float) -> None:
    wave, flux, err, model = (np.asarray(table[key]) for key in ("wave", "flux", "err", "model"))
    good = np.isfinite(flux)
    low, high = wave[good][[0, -1]]
    shown = (wave >= low) & (wave <= high)
    axes.fill_between(wave, flux - err, flux + err, step="mid", color=INK, alpha=0.15, lw=0)
    axes.step(wave, flux, where="mid", color=INK, lw=0.9, label="spectrum")
    axes.step(wave[shown], model[shown], where="mid", color=MODEL, lw=1.1, label="model")
    axes.plot(wave[shown], np.asarray(table["continuum"])[shown], color=CONTINUUM, lw=1.1, label="continuum")
    top = 1.35 * max(float(np.nanmax(np.where(shown, model, np.nan))), 5 * float(np.nanmedian(err)))
    bottom = -max(0.05 * top, 2 * float(np.nanmedian(err)))
    axes.set_ylim(bottom, top)
    axes.set_xlim(low, high)
    axes.axhline(0, color=INK, lw=0.5)
    _mark_lines(axes, lines, z, low, high)
    axes.set_xlabel("observed wavelength (μm)")
    axes.set_ylabel(r"$F_\nu$ (μJy)")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.99), fontsize=8, frameon=False, ncols=3)


def _mark_lines(axes: "Axes", lines: Lines, z: float, low: float, high: float) -> None:
    """Mark detected lines with their names, the others faintly; names that would overlap are staggered."""
    previous, level = -np.inf, 0
    order = np.argsort([family.wavelengths[np.argmax(family.fractions)] for family in lines.families])
    for i in order:
        family = lines.families[i]
        strongest = int(np.argmax(family.fractions))
        wave = family.wavelengths[strongest] * (1 + z) / 1e4
        if not low < wave < high or not np.isfinite(lines.snr[i]):
            continue
        detected = lines.snr[i] >= 3
        axes.axvline(wave, color=MARK, lw=0.8, ls="-" if detected else ":", alpha=0.7 if detected else 0.25, zorder=0)
        if detected:
            level = (level + 1) % 3 if wave - previous < 0.04 * (high - low) else 0
            previous = wave
            label = f"{family.labels[strongest]} {lines.snr[i]:.0f}σ"
            axes.text(
                wave, 0.97 - 0.075 * level, label, transform=axes.get_xaxis_transform(),
                ha="center", va="top", fontsize=7.5, color=MARK,
                bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.8},
            )  # fmt: skip


def _probability(axes: "Axes", redshift: Redshift) -> None:
    """P(z) over the whole range, with an inset around the peak."""
    axes.semilogy(redshift.grid, redshift.pdf / redshift.pdf.max(), color=INK, lw=0.9)
    axes.set_ylim(1e-6, 5)
    axes.set_xlim(redshift.grid[0], redshift.grid[-1])
    for i, peak in enumerate(redshift.peaks):
        axes.axvline(peak.z, color=MODEL if i == 0 else MARK, lw=0.8, ls="-" if i == 0 else ":")
    axes.set_xlabel("redshift")
    axes.set_ylabel("P(z) / max")
    inset = axes.inset_axes((0.74 if redshift.z < 0.6 * redshift.grid[-1] else 0.04, 0.2, 0.24, 0.62))
    width = max(4 * (redshift.z_high - redshift.z_low), 1e-3)
    near = np.abs(redshift.grid - redshift.z) < width
    inset.plot(redshift.grid[near], redshift.pdf[near] / redshift.pdf.max(), color=INK, lw=1)
    inset.axvspan(redshift.z_low, redshift.z_high, color=CONTINUUM, alpha=0.3, lw=0)
    inset.axvline(redshift.z, color=MODEL, lw=0.8)
    inset.set_yticks([])
    inset.tick_params(labelsize=7)
    inset.set_title(f"{redshift.z:.4f} ({redshift.z_low:.4f} to {redshift.z_high:.4f})", fontsize=8)
