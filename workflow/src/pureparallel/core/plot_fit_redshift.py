"""The figure of one slitless source: its spectra with their model, and P(z)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .palette import CONTINUUM, INK, MARK, MODEL
from .plot_fit_layout import STRIPS, Layout, layout_sheet
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

    Returns
    -------
    Figure
        The next source's of the same layout too: to be written before that is drawn.
    """
    import textwrap

    halves = [(panel.wave[1] - panel.wave[0]) / 2 for panel in panels]
    layout = Layout(
        tuple(panel.name for panel in panels),
        tuple((float(p.wave[0] - half), float(p.wave[-1] + half)) for p, half in zip(panels, halves, strict=True)),
        tuple(dict.fromkeys(name for panel in panels for name in panel.images)),
        cutout.size if cutout else 0.0,
        (float(redshift.grid[0]), float(redshift.grid[-1])),
    )
    sheet = layout_sheet(layout)
    sheet.clear()
    sheet.title.set_text("\n".join(textwrap.wrap(title, 130)[:2]))
    means = [panel.mean() for panel in panels]
    sheet.panels[0].set_ylim(*_limits(means))
    width = sum(high - low for low, high in layout.edges)
    for axes, panel, mean, (low, high) in zip(sheet.panels, panels, means, layout.edges, strict=True):
        count = f"{len(panel.titles)} spectra" if len(panel.titles) > 2 else ", ".join(panel.titles)
        name = f"{panel.name}: {count}"
        axes.text(0, sheet.upper + 0.035, name, transform=axes.transAxes, fontsize=8.5, color=INK)
        _spectra(axes, panel, mean, np.linspace(low, high, len(panel.wave) + 1))
        _mark_lines(axes, lines, redshift.z, (high - low) / width)
        if layout.strips:
            _images(axes, panel, layout.strips, sheet.upper)
    if cutout is not None:
        _direct(sheet.direct, cutout)
    _probability(sheet.whole, redshift)
    _peak(sheet.peak, redshift)
    return sheet.figure


def _images(axes: "Axes", panel: Panel, strips: Sequence[str], upper: float) -> None:
    """2-D spectra below each other, above the axes of the 1-D spectra up to `upper` of their height."""
    from matplotlib.image import AxesImage

    rows = max((len(image) for image in panel.images.values()), default=1)
    blank, line = np.full((rows, len(panel.wave)), np.nan), np.full((1, len(panel.wave)), np.nan)
    picture = np.concatenate([part for name in strips for part in (panel.images.get(name, blank), line)][:-1])
    known = picture[np.isfinite(picture)]
    noise = 1.4826 * float(np.median(np.abs(known - np.median(known)))) if known.size else 1.0
    high = max(6 * noise, float(np.percentile(known, 99.7))) if known.size else 1.0
    image = AxesImage(
        axes, cmap="Greys", interpolation="nearest", origin="upper", extent=(*axes.get_xlim(), STRIPS, upper),
        transform=axes.get_xaxis_transform(), clip_on=False, zorder=0,
    )  # fmt: skip
    image.set_data(picture)
    image.set_clim(-0.35 * high, high)
    axes.add_artist(image)


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


def _limits(means: Sequence[tuple[Array, ...]]) -> tuple[float, float]:
    """Flux range of all panels: the model whole, noise where it is not extreme."""
    flux, err, model, _ = (np.concatenate([mean[i] for mean in means]) for i in range(4))
    noise = float(np.nanmedian(err))
    high = max(float(np.nanmax(model)), float(np.nanpercentile(flux, 99.5)), 5 * noise)
    low = min(float(np.nanpercentile(flux, 1)), -2 * noise)
    return low - 0.05 * (high - low), high + 0.28 * (high - low)


def _spectra(axes: "Axes", panel: Panel, mean: tuple[Array, Array, Array, Array], edges: Array) -> None:
    """All spectra faintly, their mean with its error, and the mean model."""
    from matplotlib.collections import LineCollection

    flux, err, model, smooth = mean
    shown = np.where(np.isfinite(panel.err) & (panel.err > 0), panel.flux, np.nan)
    each = [np.column_stack([panel.wave, one]) for one in shown]
    axes.add_collection(LineCollection(each, colors=INK, linewidths=0.5, alpha=0.22), autolim=False)
    _steps(axes, flux + err, edges, baseline=flux - err, fill=True, color=INK, alpha=0.15, lw=0)
    _steps(axes, flux, edges, baseline=None, fill=False, ec=INK, lw=1.0)
    _steps(axes, model, edges, baseline=None, fill=False, ec=MODEL, lw=1.2)
    axes.plot(panel.wave, smooth, color=CONTINUUM, lw=1.2)


def _steps(axes: "Axes", values: Array, edges: Array, **style: Any) -> None:
    """A stepped line or area; `axes.stairs` would look for its limits, at the cost of all the rest."""
    from matplotlib.patches import StepPatch

    axes.add_artist(StepPatch(values, edges, **style))


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
    strongest = np.array([family.wavelengths[np.argmax(family.fractions)] for family in lines.families])
    waves = strongest * (1 + z) / 1e4
    inside = (waves > low) & (waves < high) & np.isfinite(lines.snr)
    detected = inside & (lines.snr >= 3)
    half = 0.035 / share  # of a name, as a fraction of the axes
    ends = [-1.0, -1.0, -1.0]
    _verticals(axes, waves[detected], "-", 0.7)
    _verticals(axes, waves[inside & ~detected], ":", 0.25)
    for i in np.flatnonzero(detected)[np.argsort(waves[detected])]:
        at = float(np.clip((waves[i] - low) / (high - low), half, 1 - half))
        level = next((j for j, end in enumerate(ends) if at - half > end), int(np.argmin(ends)))
        ends[level] = at + half
        family = lines.families[i]
        axes.text(
            at, 0.975 - 0.075 * level, f"{family.labels[np.argmax(family.fractions)]} {lines.snr[i]:.0f}σ",
            transform=axes.transAxes, ha="center", va="top", fontsize=7.5, color=MARK,
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip


def _verticals(axes: "Axes", x: Array, style: str, alpha: float) -> None:
    """Marks over the whole height of axes."""
    from matplotlib.collections import LineCollection

    lines = LineCollection(
        [((one, 0), (one, 1)) for one in x], colors=MARK, linewidths=0.8, linestyles=style, alpha=alpha, zorder=0,
        transform=axes.get_xaxis_transform(),
    )  # fmt: skip
    axes.add_collection(lines, autolim=False)


def _probability(axes: "Axes", redshift: Redshift) -> None:
    """P(z) over the whole range, its best peaks with their probability."""
    height = np.log10(np.maximum(redshift.pdf / redshift.pdf.max(), 1e-9))
    axes.plot(np.log1p(redshift.grid), height, color=INK, lw=0.9)
    named = [peak for peak in redshift.peaks[:3] if peak is redshift.peaks[0] or peak.probability >= 5e-4]
    for i, peak in enumerate(named):
        style: dict[str, Any] = {"color": MODEL if i == 0 else MARK, "lw": 0.9, "ls": ("-", "--", ":")[i], "alpha": 0.8}
        axes.axvline(np.log1p(peak.z), **style)
        place = 1 - 0.225 * (len(named) - i)
        axes.plot([place, place + 0.03], [1.07] * 2, transform=axes.transAxes, clip_on=False, **style)
        label = f"z = {peak.z:.4f}: {peak.probability:.1%}"
        axes.text(place + 0.04, 1.07, label, transform=axes.transAxes, fontsize=8, va="center")


def _peak(axes: "Axes", redshift: Redshift) -> None:
    """The best peak of P(z), the central 68 % shaded."""
    width = min(2 * (redshift.z_high - redshift.z_low), 0.05 * (1 + redshift.z))
    width = max(width, 1e-4 * (1 + redshift.z))
    low, high = np.clip([redshift.z_low, redshift.z_high], redshift.z - width, redshift.z + width)
    first, last = np.searchsorted(redshift.grid, [redshift.z - width, redshift.z + width])
    near = slice(max(first - 1, 0), last + 1)
    axes.set_xlim(redshift.z - width, redshift.z + width)
    axes.plot(redshift.grid[near], redshift.pdf[near] / redshift.pdf.max(), color=INK, lw=1)
    axes.axvspan(low, high, color=CONTINUUM, alpha=0.3, lw=0)
    axes.axvline(redshift.z, color=MODEL, lw=0.9)
