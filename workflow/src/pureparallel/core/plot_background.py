"""Figures of backgrounds, drawn on matplotlib's own canvas: no pyplot, no global state."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .palette import INK, MARK, MODEL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .background import Sky

PIXELS = 300
"""Of a panel; larger images are shown in bins."""


def background_figure(
    image: NDArray[np.floating], good: NDArray[np.bool_], taken: NDArray[np.floating], found: "Sky",
    metrics: Mapping[str, Any], title: str,
) -> "Figure":  # fmt: skip
    """The image with its sources marked, the background, what is left smoothed, and the pulls of the sky.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        MJy/sr.
    good : ndarray of bool, shape (ny, nx)
    taken : ndarray, shape (ny, nx)
        Background and stripes.
    found : Sky
    metrics : mapping
    title : str
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(17, 4.9), layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=(1, 1, 1, 0.8))
    size = -(-max(image.shape) // PIXELS)
    noise, level = metrics["noise"], metrics["background"]
    ny, nx = image.shape
    where: dict[str, Any] = {"origin": "lower", "extent": (-0.5, nx - 0.5, -0.5, ny - 0.5), "interpolation": "nearest"}
    shown = binned(np.where(good, image, np.nan), size)
    axes[0].imshow(shown, cmap="Greys", vmin=level - 3 * noise, vmax=level + 7 * noise, **where)
    covered = binned(found.sources.astype(float), size)
    axes[0].contour(covered, levels=[0.5], colors=MODEL, linewidths=0.6, extent=where["extent"])
    axes[0].set_title(f"calibrated; {100 * metrics['masked']:.0f} % masked as sources", fontsize=10, color=INK)
    span = max(3 * float(np.std(taken)), 0.05 * noise)
    drawn = axes[1].imshow(binned(taken, size), cmap="viridis", vmin=level - span, vmax=level + span, **where)
    axes[1].set_title("background and stripes", fontsize=10, color=INK)
    figure.colorbar(drawn, ax=axes[1], shrink=0.8, label="MJy/sr")
    coarse = max(image.shape) // 32
    left = binned(np.where(found.free, image - taken, np.nan), max(coarse, 1)) / noise
    drawn = axes[2].imshow(left, cmap="RdBu_r", vmin=-0.3, vmax=0.3, **where)
    axes[2].set_title(f"sky left, in bins of {coarse} pixels", fontsize=10, color=INK)
    figure.colorbar(drawn, ax=axes[2], shrink=0.8, label="noise of a pixel")
    pulls = (image - taken)[found.free] / noise / metrics["noise_factor"]
    edges = np.linspace(-5, 5, 81)
    axes[3].hist(np.clip(pulls, -5, 5), edges, density=True, histtype="step", color=MARK, label="sky over its noise")
    axes[3].plot(edges, np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi), color=MODEL, lw=1, label="normal")
    axes[3].set_yscale("log")
    axes[3].set_ylim(1e-4, 1)
    axes[3].legend(fontsize=9, frameon=False, loc="lower center")
    axes[3].set_title(f"noise {metrics['noise_factor']:.3f} of that stated", fontsize=10, color=INK)
    figure.suptitle(
        f"{title}   background {level:.4f} MJy/sr, rms {metrics['structure'] / noise:.3f} of a pixel's noise",
        fontsize=11, color=INK,
    )  # fmt: skip
    return figure


def binned(image: NDArray[np.floating], size: int) -> NDArray[np.floating]:
    """Mean of each bin's known pixels, NaN where there is none; what is left over is cut off."""
    ny, nx = (n // size for n in image.shape)
    bins = image[: ny * size, : nx * size].reshape(ny, size, nx, size)
    known = np.isfinite(bins)
    count = known.sum(axis=(1, 3))
    total = np.where(known, bins, 0).sum(axis=(1, 3))
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
