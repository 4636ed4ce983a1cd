"""The pixels of a field: one tangent plane for all of its filters, north up, and where exposures' pixels fall on it.

The projection is written out, for it is the innermost loop of every mosaic: FITS's TAN (Calabretta & Greisen 2002,
A&A 395, 1077, section 5.1.3), so that any WCS library reads the header to the same positions.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
ToSky = Callable[[Array, Array], tuple[Array, Array]]
"""RA and Dec in degrees of 0-based pixel positions x, y."""

Box = tuple[slice, slice]
"""Rows and columns of a part of an image."""

STEP = 64
"""Pixels between positions at which an exposure's own coordinates are computed; between them a cubic spline is good to
1e-4 pixels for distortions such as NIRISS's."""

ARCSEC = np.pi / 180 / 3600


@dataclass(frozen=True)
class Grid:
    """Square pixels on a tangent plane; x grows to the west and y to the north.

    Attributes
    ----------
    ra, dec : float
        Tangent point, ICRS, degrees.
    scale : float
        Arcsec per pixel.
    shape : (int, int)
        Rows and columns.
    origin : (float, float)
        0-based pixel position x, y of the tangent point.
    """

    ra: float
    dec: float
    scale: float
    shape: tuple[int, int]
    origin: tuple[float, float]

    @classmethod
    def around(
        cls,
        positions: Array,
        scale: float,
        margin: float = 1.0,
        centre: tuple[float, float] | None = None,
    ) -> "Grid":
        """The smallest grid that holds all positions.

        Parameters
        ----------
        positions : ndarray, shape (n, 2)
            RA and Dec, degrees.
        scale : float
            Arcsec per pixel.
        margin : float
            Arcsec added on every side.
        centre : (float, float), optional
            Tangent point; the middle of the positions to the nearest 0.001 degrees if it is not given, so that small
            changes leave the pixels where they were.
        """
        if centre is None:
            first = positions[0]
            east = (positions[:, 0] - first[0] + 180) % 360 - 180
            middle = (first[0] + (east.min() + east.max()) / 2) % 360
            centre = (round(float(middle), 3), round(float((positions[:, 1].min() + positions[:, 1].max()) / 2), 3))
        plane = cls(*centre, scale, (1, 1), (0.0, 0.0))
        x, y = plane.to_pixel(positions[:, 0], positions[:, 1])
        add = margin / scale
        # whole pixels: the tangent point stays in the middle of one
        left, low = int(np.floor(x.min() - add)), int(np.floor(y.min() - add))
        right, top = int(np.ceil(x.max() + add)), int(np.ceil(y.max() + add))
        return cls(*centre, scale, (top - low + 1, right - left + 1), (float(-left), float(-low)))

    def to_pixel(self, ra: ArrayLike, dec: ArrayLike) -> tuple[Array, Array]:
        """0-based pixel positions x, y of ICRS positions in degrees; NaN beyond 90 degrees from the tangent point."""
        a, d = np.deg2rad(np.asarray(ra, float) - self.ra), np.deg2rad(np.asarray(dec, float))
        d0 = np.deg2rad(self.dec)
        down = np.sin(d) * np.sin(d0) + np.cos(d) * np.cos(d0) * np.cos(a)
        down = np.where(down > 0, down, np.nan)
        unit = self.scale * ARCSEC
        x = self.origin[0] - np.cos(d) * np.sin(a) / down / unit
        y = self.origin[1] + (np.sin(d) * np.cos(d0) - np.cos(d) * np.sin(d0) * np.cos(a)) / down / unit
        return x, y

    def to_sky(self, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        """ICRS positions in degrees of 0-based pixel positions; the inverse of `to_pixel`."""
        unit = self.scale * ARCSEC
        xi, eta = (self.origin[0] - np.asarray(x, float)) * unit, (np.asarray(y, float) - self.origin[1]) * unit
        d0 = np.deg2rad(self.dec)
        down = np.cos(d0) - eta * np.sin(d0)
        dec = np.arctan2(np.sin(d0) + eta * np.cos(d0), np.hypot(xi, down))
        return (self.ra + np.rad2deg(np.arctan2(xi, down))) % 360, np.rad2deg(dec)

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> "Grid":
        """The grid of a header that `keywords` made, with NAXIS1 and NAXIS2."""
        return cls(
            float(header["CRVAL1"]), float(header["CRVAL2"]), round(float(header["CDELT2"]) * 3600, 9),
            (int(header["NAXIS2"]), int(header["NAXIS1"])), (header["CRPIX1"] - 1.0, header["CRPIX2"] - 1.0),
        )  # fmt: skip

    def sized(self, width: float, height: float) -> "Grid":
        """The grid of a width and height in arcsec around the same tangent point."""
        nx, ny = (2 * int(np.ceil(side / self.scale / 2)) + 1 for side in (width, height))
        return Grid(self.ra, self.dec, self.scale, (ny, nx), ((nx - 1) / 2, (ny - 1) / 2))

    def scaled(self, scale: float) -> "Grid":
        """The same area in pixels of another size."""
        ratio = self.scale / scale
        ny, nx = (int(np.ceil(n * ratio)) + 1 for n in self.shape)
        x, y = (float(np.ceil((o + 0.5) * ratio)) for o in self.origin)
        return Grid(self.ra, self.dec, scale, (ny + 1, nx + 1), (x, y))

    @property
    def pixel_area(self) -> float:
        """Steradian, at the tangent point."""
        return (self.scale * ARCSEC) ** 2

    def keywords(self) -> dict[str, Any]:
        """World coordinates of a FITS header."""
        step = self.scale / 3600
        return {
            "WCSAXES": 2, "RADESYS": "ICRS", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg",
            "CUNIT2": "deg", "CRVAL1": self.ra, "CRVAL2": self.dec, "CRPIX1": self.origin[0] + 1,
            "CRPIX2": self.origin[1] + 1, "CDELT1": -step, "CDELT2": step, "PC1_1": 1.0, "PC1_2": 0.0, "PC2_1": 0.0,
            "PC2_2": 1.0,
        }  # fmt: skip


@dataclass(frozen=True)
class PixelMap:
    """Where an exposure's pixels fall on a grid, known at nodes and interpolated between them.

    Attributes
    ----------
    shape : (int, int)
        Of the exposure.
    x, y : ndarray, shape (mx,), (my,)
        Nodes, 0-based pixels of the exposure, from outer edge to outer edge.
    ra, dec : ndarray, shape (my, mx)
        Degrees.
    """

    shape: tuple[int, int]
    x: Array
    y: Array
    ra: Array
    dec: Array

    @classmethod
    def of(cls, to_sky: ToSky, shape: tuple[int, int], step: int = STEP) -> "PixelMap":
        """Evaluate an exposure's own world coordinates, which are dear, at nodes every `step` pixels."""
        y, x = (np.linspace(-0.5, n - 0.5, max(n // step, 3) + 1) for n in shape)
        ra, dec = to_sky(*np.meshgrid(x, y))
        return cls(shape, x, y, np.asarray(ra, float), np.asarray(dec, float))

    def on(self, grid: Grid) -> Array:
        """Positions x, y on the grid of the centres of all pixels, shape (ny, nx, 2)."""
        from scipy.interpolate import RectBivariateSpline

        rows, columns = (np.arange(n, dtype=float) for n in self.shape)
        result = np.empty((*self.shape, 2))
        for i, nodes in enumerate(grid.to_pixel(self.ra, self.dec)):
            result[..., i] = RectBivariateSpline(self.y, self.x, nodes)(rows, columns)
        return result

    def box(self, grid: Grid, margin: int = 2) -> Box:
        """The part of the grid on which the exposure falls, at most the whole; empty if it falls beside."""
        x, y = grid.to_pixel(self.ra, self.dec)
        rows, columns = (
            slice(*np.clip([np.floor(v.min()) - margin, np.ceil(v.max()) + margin + 1], 0, n).astype(int).tolist())
            for v, n in ((y, grid.shape[0]), (x, grid.shape[1]))
        )
        return rows, columns

    def corners(self) -> Array:
        """RA and Dec of the outer corners, shape (4, 2)."""
        at = np.array([[0, 0], [0, -1], [-1, -1], [-1, 0]])
        return np.column_stack([self.ra[at[:, 0], at[:, 1]], self.dec[at[:, 0], at[:, 1]]])

    def pixel_area(self) -> float:
        """Mean solid angle of a pixel, steradian."""
        ra0, dec0 = float(self.ra.flat[0]), float(np.mean(self.dec))
        plane = Grid(ra0, dec0, 1 / ARCSEC, (1, 1), (0.0, 0.0))  # a pixel of it is one radian
        x, y = plane.to_pixel(self.ra, self.dec)
        # the outline's area, by the shoelace formula
        px, py = (np.concatenate([v[0], v[1:, -1], v[-1, -2::-1], v[-2:0:-1, 0]]) for v in (x, y))
        area = abs(np.sum(px * np.roll(py, -1) - np.roll(px, -1) * py)) / 2
        return float(area / (self.shape[0] * self.shape[1]))


def rows_per_strip(grid: Grid, layers: int, megabytes: float) -> int:
    """Rows of a grid of which so many float32 layers fit into memory, at least 16."""
    return int(max(16, megabytes * 2**20 // (4 * max(layers, 1) * grid.shape[1])))


def strips(grid: Grid, rows: int) -> Iterable[Box]:
    """Parts of a grid, full rows, from below."""
    for low in range(0, grid.shape[0], rows):
        yield slice(low, min(low + rows, grid.shape[0])), slice(0, grid.shape[1])


def overlap(one: Box, other: Box) -> Box | None:
    """The common part of two boxes; None if there is none."""
    parts = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)]
    return (parts[0], parts[1]) if all(part.stop > part.start for part in parts) else None


def inside(part: Box, of: Box) -> Box:
    """A box in the coordinates of another that holds it."""
    first, second = (slice(p.start - o.start, p.stop - o.start) for p, o in zip(part, of, strict=True))
    return first, second
