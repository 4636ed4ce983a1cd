"""Figures of the sky of dispersed images, drawn on matplotlib's own canvas: no pyplot, no global state."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .palette import INK, MARK, MODEL
from .plot_background import PIXELS, binned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .background_wfss import Sky


def sky_figure(
    image: NDArray[np.floating], good: NDArray[np.bool_], light: NDArray[np.floating], found: "Sky", along_x: bool,
    title: str,
) -> "Figure":  # fmt: skip
    """The image with what is masked, its sky, what is left in bins, and that along the dispersion.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        DN/s.
    good : ndarray of bool, shape (ny, nx)
    light : ndarray, shape (ny, nx)
        Model of the sources, DN/s.
    found : Sky
    along_x : bool
        Whether light is dispersed along x.
    title : str
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(17, 4.9), layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=(1, 1, 1, 0.9))
    taken = found.background + found.stripes
    left = np.where(found.free, image - light - taken, np.nan)
    noise = float(np.nanstd(left))
    size, (ny, nx) = -(-max(image.shape) // PIXELS), image.shape
    where: dict[str, Any] = {"origin": "lower", "extent": (-0.5, nx - 0.5, -0.5, ny - 0.5), "interpolation": "nearest"}
    shown = binned(np.where(good, image, np.nan), size)
    axes[0].imshow(shown, cmap="Greys", vmin=found.level - 3 * noise, vmax=found.level + 8 * noise, **where)
    covered = binned(found.sources.astype(float), size)
    axes[0].contour(covered, levels=[0.5], colors=MODEL, linewidths=0.5, extent=where["extent"])
    axes[0].set_title(f"rate; {100 * found.sources[good].mean():.0f} % masked as traces", fontsize=10, color=INK)
    span = np.percentile(np.abs(taken[good] - found.level), 99)
    drawn = axes[1].imshow(
        binned(taken, size), cmap="viridis", vmin=found.level - span, vmax=found.level + span, **where
    )
    axes[1].set_title("sky and stripes", fontsize=10, color=INK)
    figure.colorbar(drawn, ax=axes[1], shrink=0.8, label="DN/s")
    coarse = max(max(image.shape) // 32, 1)
    bins = np.where(binned(found.free.astype(float), coarse) > 0.25, binned(left, coarse), np.nan)
    drawn = axes[2].imshow(100 * bins / found.level, cmap="RdBu_r", vmin=-2, vmax=2, **where)
    axes[2].set_title(f"sky left, in bins of {coarse} pixels", fontsize=10, color=INK)
    figure.colorbar(drawn, ax=axes[2], shrink=0.8, label="percent of the sky")
    mean, spread = profile(bins, 0 if along_x else 1)
    place = (np.arange(len(mean)) + 0.5) * coarse
    axes[3].axhspan(-1, 1, color=MARK, alpha=0.12, lw=0)
    axes[3].axhline(0, color=INK, lw=0.6)
    axes[3].errorbar(place, 100 * mean / found.level, 100 * spread / found.level, fmt="o", ms=3, color=MARK, lw=1)
    reach = max(2.0, 130 * float(np.nanmax(np.abs(mean), initial=0)) / found.level)
    axes[3].set_ylim(-reach, reach)
    axes[3].set_xlabel(f"{'column' if along_x else 'row'}, along the dispersion")
    axes[3].set_ylabel("sky left (percent)")
    axes[3].set_title(f"slope {100 * found.slope:+.2f} ± {100 * found.slope_error:.2f} %", fontsize=10, color=INK)
    parts = ", ".join(f"{name} {value:.3f}" for name, (value, _) in found.amplitudes.items())
    figure.suptitle(
        f"{title}   sky {found.level:.4f} DN/s: {parts}, smooth ± {found.smooth:.4f}; noise {found.factor:.3f} of that"
        " stated", fontsize=11, color=INK,
    )  # fmt: skip
    return figure


def profile(bins: NDArray[np.floating], axis: int) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Mean of the known bins along an axis, and its error by their scatter; NaN where there are fewer than two."""
    known = np.isfinite(bins)
    number = known.sum(axis=axis)
    enough, divisor = number > 1, np.maximum(number, 1)
    mean = np.where(known, bins, 0).sum(axis=axis) / divisor
    away = np.where(known, bins - np.expand_dims(mean, axis), 0)
    spread = np.sqrt((away**2).sum(axis=axis) / np.maximum(number - 1, 1) / divisor)
    return np.where(enough, mean, np.nan), np.where(enough, spread, np.nan)
