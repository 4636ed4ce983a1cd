"""The figure of one slitless source: its spectra with their model, and P(z)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .palette import CONTINUUM, INK, MARK, MODEL
from .redshift import Array, Lines, Redshift

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Panel:
    """Spectra of one source on one wavelength grid of n bins.

    Attributes
    ----------
    name : str
        Of the filter.
    titles : list of str, length k
        Of the spectra.
    wave : ndarray, shape (n,)
        μm.
    flux, err, model, continuum : ndarray, shape (k, n)
        1e-20 erg/s/cm2/Å; where err is not positive there are no data.
    images : dict of str to ndarray, shape (m, n)
        2-D spectra and models, all of one height, by names whose last words are printed.
    """

    name: str
    titles: list[str]
    wave: Array
    flux: Array
    err: Array
    model: Array
    continuum: Array
    images: dict[str, Array] = field(default_factory=dict)

    def mean(self) -> tuple[Array, Array, Array, Array]:
        """Flux, error, model and continuum (n,), averaged over spectra by their errors; NaN without data."""
        valid = np.isfinite(self.flux) & np.isfinite(self.err) & (self.err > 0)
        weight = np.where(valid, np.where(valid, self.err, 1.0) ** -2.0, 0.0)
        total = weight.sum(axis=0)
        total = np.where(total > 0, total, np.nan)
        flux, model, smooth = (
            np.sum(weight * np.where(valid, one, 0.0), axis=0) / total
            for one in (self.flux, self.model, self.continuum)
        )
        return flux, total**-0.5, model, smooth


@dataclass(frozen=True)
class Cutout:
    """Direct image around a source.

    Attributes
    ----------
    image : ndarray, shape (n, n)
        North up, east to the left.
    own : ndarray of bool, shape (n, n)
        Pixels of the source.
    size : float
        Arcsec from edge to edge.
    """

    image: Array
    own: NDArray[np.bool_]
    size: float


def fit_figure(
    panels: Sequence[Panel], redshift: Redshift, lines: Lines, title: str, cutout: Cutout | None = None
) -> "Figure":
    """Draw a source.

    Parameters
    ----------
    panels : sequence of Panel
        In increasing wavelength.
    redshift : Redshift
    lines : Lines
    title : str
    cutout : Cutout, optional
    """
    import textwrap

    from matplotlib.figure import Figure

    strips = list(dict.fromkeys(name for panel in panels for name in panel.images))
    tall = 0.32 * len(strips)  # inches
    figure = Figure(figsize=(11, 5.6 + tall))

    def at(inches: float) -> float:
        """Height above the bottom as a fraction, of inches in a figure without images."""
        return (inches + (tall if inches > 5.6 * 0.84 else 0.0)) / (5.6 + tall)

    edge = {"left": 0.075, "right": 0.985}
    widths = [panel.wave[-1] - panel.wave[0] for panel in panels]
    low_edge, high_edge = at(5.6 * 0.42), at(5.6 * 0.83)
    top = figure.add_gridspec(
        1, len(panels), width_ratios=widths, top=high_edge, bottom=low_edge, wspace=0.03, **edge
    )  # fmt: skip
    means = [panel.mean() for panel in panels]
    low, high = _limits(means)
    for i, (panel, mean) in enumerate(zip(panels, means, strict=True)):
        axes = figure.add_subplot(top[0, i])
        _spectra(axes, panel, mean)
        axes.set_ylim(low, high)
        _mark_lines(axes, lines, redshift.z, (panel.wave[-1] - panel.wave[0]) / sum(widths))
        upper = 1.0
        if strips:
            upper = 1.015 + tall / (5.6 + tall) / (high_edge - low_edge)
            _images(axes, panel, strips, upper, labels=i == 0)
        count = f"{len(panel.titles)} spectra" if len(panel.titles) > 2 else ", ".join(panel.titles)
        axes.set_title(f"{panel.name}: {count}", loc="left", fontsize=8.5, color=INK, y=upper)
        if i:
            axes.set_yticklabels([])
        else:
            axes.set_ylabel(r"$F_\lambda$ ($10^{-20}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$)", fontsize=9)
        if i == len(panels) // 2:
            axes.set_xlabel("observed wavelength (μm)", fontsize=9)
        if i == 0:
            figure.legend(
                *axes.get_legend_handles_labels(), loc="upper right", bbox_to_anchor=(0.99, at(5.6 * 0.94)), fontsize=8,
                frameon=False, ncols=3,
            )  # fmt: skip
    left = 0.075
    if cutout is not None:
        side = 1.3
        _direct(figure.add_axes((0.012, at(0.38), side / 11, side / (5.6 + tall))), cutout)
        left = 0.195
    lower = {"top": at(5.6 * 0.3), "bottom": at(5.6 * 0.085), "left": left, "right": 0.985}
    below = figure.add_gridspec(1, 2, width_ratios=[3.2, 1], wspace=0.05, **lower)
    _probability(figure.add_subplot(below[0, 0]), redshift)
    _peak(figure.add_subplot(below[0, 1]), redshift)
    figure.suptitle("\n".join(textwrap.wrap(title, 130)[:2]), fontsize=10.5, color=INK, y=at(5.6 * 0.985))
    return figure


def _images(axes: "Axes", panel: Panel, strips: Sequence[str], upper: float, *, labels: bool) -> None:
    """2-D spectra below each other, above the axes of the 1-D spectra up to `upper` of their height."""
    rows = max((len(image) for image in panel.images.values()), default=1)
    blank, line = np.full((rows, len(panel.wave)), np.nan), np.full((1, len(panel.wave)), np.nan)
    picture = np.concatenate([part for name in strips for part in (panel.images.get(name, blank), line)][:-1])
    half = (panel.wave[1] - panel.wave[0]) / 2
    known = picture[np.isfinite(picture)]
    noise = 1.4826 * float(np.median(np.abs(known - np.median(known)))) if known.size else 1.0
    high = max(6 * noise, float(np.percentile(known, 99.7))) if known.size else 1.0
    lower, limits = 1.015, (axes.get_xlim(), axes.get_ylim())
    image = axes.imshow(
        picture, cmap="Greys", vmin=-0.35 * high, vmax=high, aspect="auto", interpolation="nearest",
        extent=(panel.wave[0] - half, panel.wave[-1] + half, lower, upper), transform=axes.get_xaxis_transform(),
    )  # fmt: skip
    image.set_clip_on(False)
    axes.set(xlim=limits[0], ylim=limits[1])
    for i, name in enumerate(strips if labels else ()):
        height = upper - (upper - lower) * ((rows + 1) * i + rows / 2) / len(picture)
        axes.text(
            -0.02, height, name.split()[-1], transform=axes.transAxes, ha="right", va="center", fontsize=7.5, color=INK
        )


def _direct(axes: "Axes", cutout: Cutout) -> None:
    """Direct image, the source's outline, and the directions."""
    half = cutout.size / 2
    known = cutout.image[np.isfinite(cutout.image)]
    noise = 1.4826 * float(np.median(np.abs(known - np.median(known)))) if known.size else 1.0
    own = cutout.image[cutout.own & np.isfinite(cutout.image)]
    high = max(8 * noise, float(np.percentile(own, 99))) if own.size else 8 * noise
    extent = (-half, half, -half, half)
    stretched = np.arcsinh(np.clip(cutout.image, -2 * noise, high) / max(noise, 1e-30))
    axes.imshow(stretched, cmap="Greys", origin="lower", extent=extent, interpolation="nearest")
    if cutout.own.any() and not cutout.own.all():
        axes.contour(cutout.own, [0.5], colors=[MODEL], linewidths=0.9, extent=extent)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(f"{cutout.size:.1f}″, N up, E left", fontsize=7.5, labelpad=2)


def _limits(means: Sequence[tuple[Array, ...]]) -> tuple[float, float]:
    """Flux range of all panels: the model whole, noise where it is not extreme."""
    flux, err, model, _ = (np.concatenate([mean[i] for mean in means]) for i in range(4))
    noise = float(np.nanmedian(err))
    high = max(float(np.nanmax(model)), float(np.nanpercentile(flux, 99.5)), 5 * noise)
    low = min(float(np.nanpercentile(flux, 1)), -2 * noise)
    return low - 0.05 * (high - low), high + 0.28 * (high - low)


def _spectra(axes: "Axes", panel: Panel, mean: tuple[Array, Array, Array, Array]) -> None:
    """All spectra faintly, their mean with its error, and the mean model."""
    flux, err, model, smooth = mean
    for one, one_err in zip(panel.flux, panel.err, strict=True):
        shown = np.where(np.isfinite(one_err) & (one_err > 0), one, np.nan)
        axes.plot(panel.wave, shown, color=INK, lw=0.5, alpha=0.22)
    axes.fill_between(panel.wave, flux - err, flux + err, step="mid", color=INK, alpha=0.15, lw=0)
    axes.step(panel.wave, flux, where="mid", color=INK, lw=1.0, label="mean spectrum")
    axes.step(panel.wave, model, where="mid", color=MODEL, lw=1.2, label="model")
    axes.plot(panel.wave, smooth, color=CONTINUUM, lw=1.2, label="continuum")
    axes.axhline(0, color=INK, lw=0.5)
    half = (panel.wave[1] - panel.wave[0]) / 2
    axes.set_xlim(panel.wave[0] - half, panel.wave[-1] + half)
    axes.tick_params(labelsize=8)


def _mark_lines(axes: "Axes", lines: Lines, z: float, share: float) -> None:
    """Mark detected lines with their names, the others faintly; names that would overlap are staggered.

    Parameters
    ----------
    axes : Axes
        Its limits are set.
    lines : Lines
    z : float
    share : float
        Width of the axes as a fraction of all panels' widths.
    """
    low, high = axes.get_xlim()
    strongest = [family.wavelengths[np.argmax(family.fractions)] for family in lines.families]
    half = 0.035 / share  # of a name, as a fraction of the axes
    ends = [-1.0, -1.0, -1.0]
    for i in np.argsort(strongest):
        wave = strongest[i] * (1 + z) / 1e4
        if not low < wave < high or not np.isfinite(lines.snr[i]):
            continue
        detected = lines.snr[i] >= 3
        axes.axvline(wave, color=MARK, lw=0.8, ls="-" if detected else ":", alpha=0.7 if detected else 0.25, zorder=0)
        if detected:
            at = float(np.clip((wave - low) / (high - low), half, 1 - half))
            level = next((j for j, end in enumerate(ends) if at - half > end), int(np.argmin(ends)))
            ends[level] = at + half
            family = lines.families[i]
            label = f"{family.labels[np.argmax(family.fractions)]} {lines.snr[i]:.0f}σ"
            axes.text(
                at, 0.975 - 0.075 * level, label, transform=axes.transAxes, ha="center", va="top", fontsize=7.5,
                color=MARK, bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.6},
            )  # fmt: skip


def _probability(axes: "Axes", redshift: Redshift) -> None:
    """P(z) over the whole range, its best peaks with their probability."""
    x = np.log1p(redshift.grid)
    # a logarithmic axis would spend half of the figure's time on its ticks
    axes.plot(x, np.log10(np.maximum(redshift.pdf / redshift.pdf.max(), 1e-9)), color=INK, lw=0.9)
    axes.set_ylim(-6, 0.7)
    axes.set_yticks([0, -2, -4, -6], ["1", "10⁻²", "10⁻⁴", "10⁻⁶"])
    axes.set_xlim(x[0], x[-1])
    for i, peak in enumerate(redshift.peaks[:3]):
        colour = MODEL if i == 0 else MARK
        label = f"z = {peak.z:.4f}: {peak.probability:.1%}"
        axes.axvline(np.log1p(peak.z), color=colour, lw=0.9, ls=("-", "--", ":")[i], label=label, alpha=0.8)
    wanted = (0.1, 0.3, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15)
    ticks = [z for z in wanted if redshift.grid[0] <= z <= redshift.grid[-1]]
    axes.set_xticks(np.log1p(ticks), [f"{z:g}" for z in ticks])
    axes.minorticks_off()
    axes.tick_params(labelsize=8)
    axes.set_xlabel("redshift", fontsize=9)
    axes.set_ylabel("P(z) / max", fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 0.97), ncols=3, borderaxespad=0)


def _peak(axes: "Axes", redshift: Redshift) -> None:
    """The best peak of P(z), the central 68 % shaded."""
    width = min(2 * (redshift.z_high - redshift.z_low), 0.05 * (1 + redshift.z))
    width = max(width, 1e-4 * (1 + redshift.z))
    near = np.abs(redshift.grid - redshift.z) < 1.1 * width
    axes.plot(redshift.grid[near], redshift.pdf[near] / redshift.pdf.max(), color=INK, lw=1)
    band = np.clip([redshift.z_low, redshift.z_high], redshift.z - width, redshift.z + width)
    axes.axvspan(*band, color=CONTINUUM, alpha=0.3, lw=0)
    axes.axvline(redshift.z, color=MODEL, lw=0.9)
    axes.set_xlim(redshift.z - width, redshift.z + width)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("redshift", fontsize=9)
