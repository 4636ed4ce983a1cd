"""Figures of artifact masks, drawn on matplotlib's own canvas: no pyplot, no global state."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .palette import INK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {
    "SNOWBALL": "#e9a13b",
    "PERSISTENCE": "#7b4ab0",
    "TRAIL": "#2e6f95",
    "SATURATED": "#d1495b",
    "SPIKE": "#f08fb0",
    "GHOST": "#3f9b58",
    "WISP": "#59b6c4",
    "CLAW": "#8a6d3b",
    "USER": "#555f6b",
}

PIXELS = 1024
"""Larger images are drawn smaller: their rates by means, their masks by any pixel that is covered."""


def mask_figure(
    rate: NDArray, good: NDArray[np.bool_], bits: NDArray, names: Mapping[str, int], title: str, note: str = ""
) -> "Figure":
    """The rate, and beside it the same with every cause in its colour.

    Parameters
    ----------
    rate : ndarray, shape (ny, nx)
        DN/s.
    good : ndarray of bool, shape (ny, nx)
    bits : ndarray, shape (ny, nx)
    names : mapping of str to int
        Bit of each cause.
    title : str
    note : str
        A second line, as the reason why the exposure is to be excluded.
    """
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    step = -(-max(rate.shape) // PIXELS)
    shown = _means(np.where(good, rate, np.nan), step)
    finite = shown[np.isfinite(shown)]
    middle = float(np.median(finite)) if finite.size else 0.0
    noise = 1.4826 * float(np.median(np.abs(finite - middle))) if finite.size else 1.0
    grey = np.clip((np.nan_to_num(shown, nan=middle) - middle + 3 * noise) / (11 * max(noise, 1e-9)), 0, 1)
    picture = np.repeat((1 - 0.9 * grey)[..., None], 3, axis=-1)
    handles = []
    # small things are drawn last, on the large ones that they may lie in
    for name, bit in sorted(names.items(), key=lambda one: -float(np.mean((bits >> one[1]) & 1))):
        covered = (bits >> bit) & 1 == 1
        if covered.any():
            colour = COLOURS.get(name, INK)
            where = _any(covered, step)
            picture[where] = 0.25 * picture[where] + 0.75 * np.array(to_rgb(colour))
            handles.append(Patch(color=colour, label=f"{name.lower()} {100 * float(covered.mean()):.2f} %"))
    figure = Figure(figsize=(12, 6.9), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    extent = (-0.5, shown.shape[1] * step - 0.5, -0.5, shown.shape[0] * step - 0.5)
    left.imshow(1 - 0.9 * grey, origin="lower", cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="nearest")
    left.set_title(f"rate, {middle - 3 * noise:.2f} to {middle + 8 * noise:.2f} DN/s", fontsize=10, color=INK)
    right.imshow(picture, origin="lower", extent=extent, interpolation="nearest")
    right.set_title("masked" if handles else "masked: nothing", fontsize=10, color=INK)
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    figure.suptitle(title + (f"\n{note}" if note else ""), fontsize=11, color=INK, wrap=True)
    return figure


def _blocks(image: NDArray, step: int, fill: float | bool) -> NDArray:
    rows, columns = (-(-n // step) for n in image.shape)
    padded = np.full((rows * step, columns * step), fill, image.dtype)
    padded[: image.shape[0], : image.shape[1]] = image
    return padded.reshape(rows, step, columns, step)


def _means(image: NDArray, step: int) -> NDArray:
    """Means of blocks over what is finite."""
    blocks = _blocks(image, step, np.nan)
    count = np.isfinite(blocks).sum(axis=(1, 3))
    total = np.where(np.isfinite(blocks), blocks, 0).sum(axis=(1, 3))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _any(mask: NDArray[np.bool_], step: int) -> NDArray[np.bool_]:
    return _blocks(mask, step, False).any(axis=(1, 3))
