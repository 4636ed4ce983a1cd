"""Positions of sources on an exposure: compact or not, all that two exposures can both see.

Centroids are weighted by a round Gaussian window that is moved until its centre is the centroid (XWIN_IMAGE of
SExtractor, Bertin & Arnouts 1996). The window is the same for all sources and filters, so that a lopsided galaxy has
one centre. NIRISS undersamples stars, which pulls every centroid towards pixel centres. A window wider than the star
keeps that small: on the simulated NIRISS 0.028 pixels at most in F115W and 0.009 in F200W, below 2 mas, and dithers
average it. It is left in, and `FLOOR` accounts for it.

Stars that Gaia knows saturate. Theirs is the centre about which their wings are symmetric under a turn by 180 degrees,
as the image of a mirror without large coma is; no model of the point-spread function is needed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

WINDOW = 1.5
"""Pixels, sigma of the window."""

DETECTION = 0.9
"""Pixels, sigma of the filter that finds sources: about a star's."""

HALF = 6
"""Pixels from the centre to the edge of a source's stamp."""

FLOOR = 0.02
"""Pixels, added in quadrature to every error: pixel phases (rms over phases in F115W) and the flat field."""

SHARPEST = 0.8
"""Largest share of the light of 3 x 3 pixels that the central one of a real source has; cosmic rays have more."""

FARTHEST = 1.5
"""Pixels that a centroid may lie from its peak."""

REACH = 8
"""Pixels beyond a saturated core in which its wings are compared."""

ASYMMETRY = 0.2
"""Relative to the light, of wings beyond noise; without it the brightest pixels alone would decide."""

SATURATED_FLOOR = 0.1
"""Pixels, error of a saturated star: twice what it is on the simulated NIRISS, whose wings are quite symmetric."""

SMALLEST_CORE = 5
"""Pixels that are saturated."""

CLIP = 9.0
"""Sigma squared at which a pair of pixels counts no more: neighbours and bad pixels."""


@dataclass(frozen=True)
class Sources:
    """Sources of one exposure, brightest first.

    Attributes
    ----------
    x, y : ndarray, shape (n,)
        0-based pixels.
    error : ndarray, shape (n,)
        Pixels, 1 sigma per axis.
    flux : ndarray, shape (n,)
        In the window, in the image's unit.
    snr : ndarray, shape (n,)
    """

    x: Array
    y: Array
    error: Array
    flux: Array
    snr: Array

    def __len__(self) -> int:
        return len(self.x)

    def __add__(self, other: "Sources") -> "Sources":
        """Both; the other's first."""
        return Sources(*(np.concatenate([getattr(other, key), getattr(self, key)]) for key in vars(self)))

    def __getitem__(self, keep: NDArray) -> "Sources":
        return Sources(self.x[keep], self.y[keep], self.error[keep], self.flux[keep], self.snr[keep])


def find(
    image: NDArray, error: NDArray, good: Mask, saturated: Mask, *, least: float = 10.0, most: int = 1000
) -> Sources:
    """Find sources and measure their centroids.

    Parameters
    ----------
    image, error : ndarray, shape (ny, nx)
        Without background.
    good : ndarray of bool, shape (ny, nx)
        Pixels that count.
    saturated : ndarray of bool, shape (ny, nx)
        Sources with such a pixel within 3 of their peak are left out (see `find_saturated`), and those with a bad one
        beside it.
    least : float
        Signal to noise of the faintest.
    most : int
        Number of sources, the brightest.
    """
    from scipy.ndimage import binary_dilation, gaussian_filter, maximum_filter

    good = good & np.isfinite(image) & np.isfinite(error) & (error > 0)
    weight = np.where(good, 1 / np.where(good, error, 1.0).astype(float) ** 2, 0.0)
    clean = np.where(good, image, 0.0).astype(float)
    # of the matched filter g: sum of g d / sigma2 over the root of the sum of g2 / sigma2; g2 is a Gaussian as well
    noise = gaussian_filter(weight, DETECTION / np.sqrt(2)) / (4 * np.pi * DETECTION**2)
    snr = gaussian_filter(clean * weight, DETECTION) / np.sqrt(np.maximum(noise, 1e-300))
    snr[noise <= 0] = 0
    spoilt = binary_dilation(saturated, np.ones((7, 7))) | binary_dilation(~good, np.ones((3, 3)))
    spoilt[:HALF], spoilt[-HALF:], spoilt[:, :HALF], spoilt[:, -HALF:] = True, True, True, True
    peak = (snr == maximum_filter(snr, 5)) & (snr > least) & ~spoilt
    rows, columns = np.nonzero(peak)
    order = np.argsort(-snr[rows, columns], kind="stable")[:most]
    rows, columns = rows[order], columns[order]
    filled = _filled(clean, good)
    variance = np.where(good, error, np.nanmedian(error[good]) * 3 if good.any() else 1.0) ** 2
    dy, dx = np.mgrid[-HALF : HALF + 1, -HALF : HALF + 1]
    index = rows[:, None, None] + dy, columns[:, None, None] + dx
    found = _windowed(filled[index], variance[index], dx.astype(float), dy.astype(float))
    inner = filled[index][:, HALF - 1 : HALF + 2, HALF - 1 : HALF + 2]
    sharp = inner[:, 1, 1] > SHARPEST * inner.sum(axis=(1, 2))
    keep = np.isfinite(found.x) & (np.hypot(found.x, found.y) < FARTHEST) & ~sharp
    return Sources(found.x + columns, found.y + rows, found.error, found.flux, snr[rows, columns])[keep]


def _filled(image: Array, good: Mask) -> Array:
    """The image with bad pixels replaced by what is around them."""
    from scipy.ndimage import gaussian_filter

    share = gaussian_filter(good.astype(float), 1.0)
    around = gaussian_filter(image, 1.0) / np.maximum(share, 1e-3)
    return np.where(good, image, around)


def _windowed(stamps: Array, variance: Array, dx: Array, dy: Array) -> Sources:
    """Centroids relative to the stamps' centres; NaN where they do not settle."""
    x, y = np.zeros(len(stamps)), np.zeros(len(stamps))
    step = np.full(len(stamps), np.inf)
    for _ in range(40):
        u, v = dx - x[:, None, None], dy - y[:, None, None]
        window = np.exp(-(u**2 + v**2) / (2 * WINDOW**2))
        light = (window * stamps).sum(axis=(1, 2))
        safe = np.where(light > 0, light, np.nan)
        # twice the moment: exact for a Gaussian of the window's own width
        mx, my = (2 * (window * c * stamps).sum(axis=(1, 2)) / safe for c in (u, v))
        step = np.hypot(mx, my)
        x, y = x + np.clip(mx, -0.5, 0.5), y + np.clip(my, -0.5, 0.5)
        if not np.any(step > 1e-4):
            break
    spread = (window**2 * (u**2 + v**2) / 2 * variance).sum(axis=(1, 2))
    # how much of a shift of the light the window's moment sees: half where the source is as wide as the window
    width = (window * (u**2 + v**2) / 2 * stamps).sum(axis=(1, 2)) / safe
    error = np.hypot(np.sqrt(spread) / safe / np.clip(1 - width / WINDOW**2, 0.2, 1), FLOOR)
    lost = ~(step < 1e-2)
    x[lost] = np.nan
    return Sources(x, y, error, light, light / np.sqrt((window**2 * variance).sum(axis=(1, 2))))


def find_saturated(image: NDArray, error: NDArray, saturated: Mask, *, largest: float = 25.0) -> Sources:
    """Centres of stars with saturated cores.

    Parameters
    ----------
    image, error : ndarray, shape (ny, nx)
        Without background; NaN where nothing was measured. Pixels that are flagged for spikes count: they are part of
        what is symmetric.
    saturated : ndarray of bool, shape (ny, nx)
        The cores, and what charge has reached around them.
    largest : float
        Radius in pixels of a core that is measured.

    Returns
    -------
    Sources
        Flux and signal to noise are infinite.
    """
    from scipy.ndimage import find_objects, label

    valid = np.isfinite(image) & np.isfinite(error) & (error > 0) & ~saturated
    regions, _ = label(saturated, np.ones((3, 3)))
    found = []
    for number, box in enumerate(find_objects(regions), start=1):
        rows, columns = np.nonzero(regions[box] == number)
        radius = np.sqrt(len(rows) / np.pi)
        if len(rows) >= SMALLEST_CORE and radius <= largest:
            x, y = columns.mean() + box[1].start, rows.mean() + box[0].start
            centre = _symmetric(image, error, valid, x, y, round(radius + REACH))
            found += [centre] if centre is not None else []
    x, y = np.array(found).reshape(-1, 2).T
    endless = np.full(len(x), np.inf)
    return Sources(x, y, np.full(len(x), SATURATED_FLOOR), endless, endless)


def _symmetric(
    image: NDArray, error: NDArray, valid: Mask, x: float, y: float, half: int, search: int = 3
) -> tuple[float, float] | None:
    """The centre of symmetry within `search` half pixels of a place; None where there is none.

    Pixels are compared with those opposite, of centres at half pixels, where no interpolation is needed.
    """
    first_x, first_y = round(2 * x) - search, round(2 * y) - search
    ny, nx = image.shape
    rows, columns = np.mgrid[
        max(round(y) - half, 0) : min(round(y) + half + 1, ny), max(round(x) - half, 0) : min(round(x) + half + 1, nx)
    ]
    here = valid[rows, columns]
    rows, columns = rows[here], columns[here]
    cost = np.full((2 * search + 1, 2 * search + 1), np.nan)
    for j, i in np.ndindex(cost.shape):
        v, u = first_y + j - rows, first_x + i - columns
        pair = (u >= 0) & (u < nx) & (v >= 0) & (v < ny)
        pair[pair] = valid[v[pair], u[pair]]
        one, other = (rows[pair], columns[pair]), (v[pair], u[pair])
        if len(one[0]) < 4 * half:  # a fraction of the ring: the star is at the edge
            return None
        spread = error[one] ** 2 + error[other] ** 2 + (ASYMMETRY * (np.abs(image[one]) + np.abs(image[other]))) ** 2
        cost[j, i] = np.mean(np.minimum((image[one] - image[other]) ** 2 / spread, CLIP))
    least = _vertex(cost)
    return None if least is None else ((first_x + least[0]) / 2, (first_y + least[1]) / 2)


def _vertex(cost: Array) -> tuple[float, float] | None:
    """Place (x, y) of the minimum of a paraboloid through the least pixel and those around it; None at the edge."""
    j, i = np.unravel_index(np.argmin(cost), cost.shape)
    if not (0 < i < cost.shape[1] - 1 and 0 < j < cost.shape[0] - 1) or cost[j, i] > 0.9 * np.median(cost):
        return None
    v, u = (one.ravel() for one in np.mgrid[-1:2, -1:2])
    terms = np.stack([np.ones(9), u, v, u**2, u * v, v**2], axis=1)
    _, a, b, aa, ab, bb = np.linalg.lstsq(terms, cost[j - 1 : j + 2, i - 1 : i + 2].ravel(), rcond=None)[0]
    curve = np.array([[2 * aa, ab], [ab, 2 * bb]])
    if np.linalg.eigvalsh(curve)[0] <= 0:
        return None
    dx, dy = np.clip(-np.linalg.solve(curve, [a, b]), -1, 1)
    return float(i + dx), float(j + dy)
