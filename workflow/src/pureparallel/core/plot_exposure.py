"""Figures of exposures, drawn on matplotlib's own canvas: no pyplot, no global state."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .palette import CONTINUUM, INK, MARK, MODEL
from .ramps import DO_NOT_USE, JUMP, SATURATED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Image = NDArray[np.floating]


def detector1_figure(
    before: Image, after: Image, dq: NDArray[np.integer], flags: NDArray[np.integer],
    snowballs: NDArray[np.bool_], name: str, metrics: Mapping[str, Any],
) -> "Figure":  # fmt: skip
    """Slope before the cleaning, rate after it, and what was flagged.

    Parameters
    ----------
    before, after : ndarray, shape (ny, nx)
        DN/s.
    dq : ndarray of int, shape (ny, nx)
        Flags of the rate.
    flags : ndarray of int, shape (ngroups, ny, nx)
        Flags of the groups.
    snowballs : ndarray of bool, shape (ngroups, ny, nx)
    name : str
    metrics : mapping
    """
    from matplotlib.colors import ListedColormap, to_rgba
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(15, 5.9), layout="constrained")
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    good = (dq & DO_NOT_USE == 0) & np.isfinite(after)
    middle = float(np.median(after[good]))
    kinds = {
        "jump": ((flags & JUMP != 0).any(axis=0), MARK),
        "snowball": (snowballs.any(axis=0), CONTINUUM),
        "saturated": ((flags & SATURATED != 0).any(axis=0), MODEL),
        "not to be used": (dq & DO_NOT_USE != 0, INK),
    }
    picture = np.zeros(after.shape, np.uint8)
    for i, (mask, _) in enumerate(kinds.values(), start=1):
        picture[mask] = i
    ny, nx = after.shape
    extent = (-0.5, nx - 0.5, -0.5, ny - 0.5)
    size = -(-max(ny, nx) // PIXELS)
    small = _binned(np.where(good, after, np.nan), size)
    noise = 1.4826 * float(np.nanmedian(np.abs(small - middle)))
    pictures = (_binned(np.where(good, before, np.nan), size), small)
    for ax, image, title in zip(axes, pictures, ("mean slope of the raw ramp", "rate"), strict=False):
        shown = ax.imshow(
            image, origin="lower", cmap="Greys", vmin=middle - 3 * noise, vmax=middle + 7 * noise,
            interpolation="nearest", extent=extent,
        )  # fmt: skip
        ax.set_title(title, fontsize=10, color=INK)
    figure.colorbar(shown, ax=list(axes[:2]), shrink=0.8, label="DN/s", pad=0.01)
    colours = ListedColormap([(1, 1, 1, 1), *(to_rgba(colour) for _, colour in kinds.values())])
    axes[2].imshow(
        _largest(picture, size), origin="lower", cmap=colours, vmin=-0.5, vmax=len(kinds) + 0.5,
        interpolation="nearest", extent=extent,
    )  # fmt: skip
    axes[2].set_title("flags", fontsize=10, color=INK)
    handles = [
        Patch(color=colour, label=f"{kind} {100 * float(mask.mean()):.2f} %") for kind, (mask, colour) in kinds.items()
    ]
    figure.legend(handles=handles, fontsize=9, loc="outside lower right", ncols=4, frameon=False)
    figure.suptitle(
        f"{name}   sky {metrics['sky']:.3f} DN/s   column rms {1e3 * metrics['column_rms_before']:.1f} to"
        f" {1e3 * metrics['column_rms']:.1f} mDN/s   {metrics['snowballs']} snowballs"
        f"   {metrics['column_jumps']} column jumps repaired",
        fontsize=11, color=INK,
    )  # fmt: skip
    return figure


PIXELS = 600
"""Of a panel; larger images are shown in bins."""


def _bins(image: NDArray, size: int) -> NDArray:
    """The image as shape (ny/size, size, nx/size, size), what is left over cut off."""
    ny, nx = (n // size for n in image.shape)
    return image[: ny * size, : nx * size].reshape(ny, size, nx, size)


def _binned(image: Image, size: int) -> Image:
    """Mean of each bin's known pixels; NaN where there is none."""
    bins = _bins(image, size)
    known = np.isfinite(bins)
    count = known.sum(axis=(1, 3))
    total = np.where(known, bins, 0).sum(axis=(1, 3))
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def _largest(image: NDArray, size: int) -> NDArray:
    return _bins(image, size).max(axis=(1, 3))
