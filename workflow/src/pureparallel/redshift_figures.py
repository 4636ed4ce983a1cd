"""What figures of slitless sources show besides their 1-D spectra: 2-D spectra with models, and direct images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import UserError, slitless_stacks
from .core.grid import Grid
from .core.plot_fit_redshift import Cutout
from .core.redshift import Array
from .slitless_stacks import Stacks

ROWS = 17
"""Of a 2-D spectrum that are shown."""

SIDE = 3.0
"""Arcsec of a direct image."""


@dataclass(frozen=True)
class Images:
    """2-D spectra of a chunk.

    Attributes
    ----------
    stacks : Stacks
    rows : mapping of (str, str, str) to list of int
        Rows of STACKS by source, grism and filter.
    """

    stacks: Stacks
    rows: Mapping[tuple[str, str, str], list[int]]

    @classmethod
    def read(cls, path: Path) -> "Images":
        """Read what stack wrote."""
        stacks = slitless_stacks.read(path)
        rows: dict[tuple[str, str, str], list[int]] = {}
        keys = zip(*(map(str, stacks.table[name]) for name in ("source", "grism", "filter")), strict=True)
        for i, key in enumerate(keys):
            rows.setdefault(key, []).append(i)
        return cls(stacks, rows)

    def of(self, source: str, grism: str, filter: str, models: Sequence[tuple[float, Array]]) -> dict[str, Array]:
        """2-D spectrum and model of a source, the means of its rolls: two arrays (`ROWS`, n) by name, or none.

        The model is the fitted spectrum with the light across the dispersion that photometry expects.

        Parameters
        ----------
        source, grism, filter : str
        models : sequence of (float, ndarray of shape (n,))
            Roll and fitted 1-D model, of each of its spectra.
        """
        sums: list[Array] = []  # of weighted data, of weighted models, of weights
        for i in self.rows.get((source, grism, filter), []):
            row = self.stacks.table[i]
            sci, err, own, _ = (centred(one) for one in np.asarray(self.stacks.of(row), float))
            fitted = [model for roll, model in models if abs(roll - float(row["roll"])) < 1e-3]
            if not fitted or sci.shape[1] != len(fitted[0]):
                continue
            light = np.nansum(np.maximum(own, 0), axis=1)
            across = light / light.sum() if light.sum() > 0 else np.full(ROWS, 1 / ROWS)
            good = np.isfinite(sci) & np.isfinite(err) & (err > 0)
            weight = np.where(good, np.where(good, err, 1.0) ** -2.0, 0.0)
            model = np.outer(across, fitted[0])
            sums.append(weight * np.array([np.where(good, sci, 0.0), np.where(good, model, 0.0), np.ones_like(sci)]))
        if not sums:
            return {}
        data, expected, weights = np.sum(sums, axis=0)
        weights = np.where(weights > 0, weights, np.nan)
        return {grism: data / weights, f"{grism} model": expected / weights}


def centred(image: Array) -> Array:
    """The `ROWS` rows about the middle one, NaN where an image has fewer."""
    short = max(0, -(-(ROWS - len(image)) // 2))
    padded = np.pad(image, ((short, short), (0, 0)), constant_values=np.nan)
    start = len(padded) // 2 - ROWS // 2
    return np.asarray(padded[start : start + ROWS])


class DirectImage:
    """The image that sources were detected on and their segmentation map, of which parts are read."""

    def __init__(self, image: Path, segmentation: Path) -> None:
        from astropy.io import fits

        for path in (image, segmentation):
            if not path.is_file():
                raise UserError(f"{path}: no such file")
        # in parts and not memory-mapped, which the unsigned labels do not allow
        self.files = [fits.open(path, memmap=False) for path in (image, segmentation)]
        self.pixels, self.labels = (hdus["SCI"] for hdus in self.files)
        self.grid = Grid.of(self.pixels.header)

    def __enter__(self) -> "DirectImage":
        return self

    def __exit__(self, *_: object) -> None:
        for hdus in self.files:
            hdus.close()

    def around(self, source: str, ra: float, dec: float) -> Cutout:
        """The image around a source whose id is its label."""
        x, y = (round(float(one)) for one in self.grid.to_pixel(np.array(ra), np.array(dec)))
        half = round(SIDE / 2 / self.grid.scale)
        pixels, labels = part(self.pixels, x, y, half, np.nan), part(self.labels, x, y, half, 0)
        own = labels == int(source) if source.isdigit() else np.zeros(labels.shape, bool)
        return Cutout(pixels, own, (2 * half + 1) * self.grid.scale)


def part(hdu: Any, x: int, y: int, half: int, blank: float) -> Array:
    """A square of an image around a pixel, blank outside of it."""
    ny, nx = hdu.shape
    found = np.full((2 * half + 1, 2 * half + 1), blank)
    low_x, up_x, low_y, up_y = max(x - half, 0), min(x + half + 1, nx), max(y - half, 0), min(y + half + 1, ny)
    if low_x < up_x and low_y < up_y:
        place = slice(low_y - y + half, up_y - y + half), slice(low_x - x + half, up_x - x + half)
        found[place] = hdu.section[low_y:up_y][:, low_x:up_x]  # whole rows are read at once, parts one by one
    return found
