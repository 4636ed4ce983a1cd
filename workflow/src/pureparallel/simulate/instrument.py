"""NIRISS as it is simulated: frames, readouts, filters, grisms, geometry, and random numbers by name.

Pixel positions are 0-based and refer to pixel centres; subarrays start at 1, as SUBSTRT1 and SUBSTRT2 do. Numbers
with a source are those of the instrument; the others are simulated, and say so.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import ROOT

Array = NDArray[np.float64]

DETECTOR_SIZE = 2048
REFERENCE_BORDER = 4
"""Width of the reference pixels around the full frame."""

AMPLIFIER_ROWS = 512
"""Each of the four amplifiers reads this many rows: the fast axis is y (FASTAXIS -2, SLOWAXIS -1)."""

FRAME_TIME = 10.73677
"""Seconds between two frames of the full detector (JDox, NIRISS detector readout patterns)."""

ARCSEC_PER_RADIAN = 180 * 3600 / np.pi


@dataclass(frozen=True)
class Frame:
    """A subarray in full-frame detector coordinates; `xstart` and `ystart` count from 1, as SUBSTRT1 and SUBSTRT2."""

    xstart: int
    ystart: int
    nx: int
    ny: int

    def __post_init__(self) -> None:
        inside = min(self.xstart, self.ystart, self.nx, self.ny) >= 1
        if not inside or self.xstart - 1 + self.nx > DETECTOR_SIZE or self.ystart - 1 + self.ny > DETECTOR_SIZE:
            raise ValueError(f"{self} does not lie on a detector of {DETECTOR_SIZE} x {DETECTOR_SIZE} pixels")

    @classmethod
    def full(cls) -> "Frame":
        """The whole detector."""
        return cls(1, 1, DETECTOR_SIZE, DETECTOR_SIZE)

    @property
    def is_full(self) -> bool:
        """Whether this is the whole detector."""
        return self == Frame.full()

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of its arrays, (ny, nx)."""
        return self.ny, self.nx

    @property
    def subarray(self) -> str:
        """Value of SUBARRAY."""
        return "FULL" if self.is_full else "GENERIC"

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its place (rows, columns) in a full-frame array."""
        x, y = self.xstart - 1, self.ystart - 1
        return slice(y, y + self.ny), slice(x, x + self.nx)

    def coordinates(self) -> tuple[Array, Array]:
        """0-based full-frame x of shape (1, nx) and y of shape (ny, 1), to be broadcast."""
        rows, columns = self.slices
        x = np.arange(columns.start, columns.stop, dtype=float)
        return x[None, :], np.arange(rows.start, rows.stop, dtype=float)[:, None]


@dataclass(frozen=True)
class Readout:
    """How a ramp is read: ``NIS`` averages 4 frames per group, ``NISRAPID`` keeps each; neither leaves a gap."""

    pattern: str
    ngroups: int

    groupgap = 0

    def __post_init__(self) -> None:
        if self.pattern not in READOUT_FRAMES:
            raise ValueError(f"readout pattern {self.pattern!r}; there are {', '.join(READOUT_FRAMES)}")
        if self.ngroups < 1:
            raise ValueError(f"{self.ngroups} groups; a ramp has at least one")

    @property
    def nframes(self) -> int:
        """Frames averaged in one group."""
        return READOUT_FRAMES[self.pattern]

    def frame_time(self, frame: Frame) -> float:  # noqa: ARG002
        """Seconds per frame.

        A smaller frame is cut out of a full-frame exposure, because pure parallels are always taken so: it has that
        exposure's timing and depth, not those of a subarray of its size.
        """
        return FRAME_TIME

    def group_time(self, frame: Frame) -> float:
        """Seconds from one group to the next."""
        return (self.nframes + self.groupgap) * self.frame_time(frame)

    def group_times(self, frame: Frame) -> Array:
        """Mean time since the reset of the frames of each group, shape (ngroups,)."""
        return self.group_time(frame) * np.arange(float(self.ngroups)) + self.frame_time(frame) * (self.nframes + 1) / 2


READOUT_FRAMES = {"NIS": 4, "NISRAPID": 1}


@dataclass(frozen=True)
class Filter:
    """A filter of the pupil wheel.

    Attributes
    ----------
    wave_min, wave_max : float
        μm at half of the peak transmission (JDox, NIRISS filters).
    photmjsr : float
        MJy/sr per DN/s. Simulated: a system that detects 0.6 to 0.9 of the photons between these wavelengths.
    """

    wave_min: float
    wave_max: float
    photmjsr: float

    @property
    def pivot(self) -> float:
        """Pivot wavelength in μm of the simulated band pass: sqrt(∫T λ dλ / ∫T dλ/λ) of a top hat."""
        squares = self.wave_max**2 - self.wave_min**2
        return float(np.sqrt(squares / 2 / np.log(self.wave_max / self.wave_min)))


FILTERS = {
    "F090W": Filter(0.796, 1.005, 0.300),
    "F115W": Filter(1.013, 1.283, 0.250),
    "F140M": Filter(1.331, 1.480, 0.550),
    "F150W": Filter(1.330, 1.671, 0.220),
    "F158M": Filter(1.488, 1.688, 0.500),
    "F200W": Filter(1.751, 2.226, 0.195),
}

GRISMS = ("GR150R", "GR150C")

FWCPOS_REF = {"GR150R": 354.2111, "GR150C": 263.9811}
"""Filter-wheel position in degrees at which the trace polynomials hold (simulated, close to the instrument's)."""

ORDERS = (1, 0, 2, 3, -1)
"""Spectral orders of the trace configuration."""

GRISM_CONFIGURATION = ROOT / "resources" / "niriss_grism_v3.fits"
"""Trace polynomials and sensitivities of GRISM_NIRISS V3; its header names the source."""


BAND_EDGE = 0.01
"""Full width of a band's edge over its wavelength: where the simulated transmission goes from 0 to 1."""


def bandpass(name: str, wave: ArrayLike) -> Array:
    """Simulated transmission of a filter: a top hat whose edges are smooth.

    Parameters
    ----------
    name : str
        A key of `FILTERS`.
    wave : array_like
        μm.

    Returns
    -------
    ndarray
        0 to 1, one half at `Filter.wave_min` and `Filter.wave_max`, exactly 0 outside of the edges.
    """
    band, x = FILTERS[name], np.asarray(wave, float)

    def rise(edge: float) -> Array:
        t = np.clip((x - edge) / (BAND_EDGE * edge) + 0.5, 0, 1)
        return t * t * (3 - 2 * t)

    return rise(band.wave_min) * (1 - rise(band.wave_max))


@dataclass(frozen=True)
class Aperture:
    """Geometry of an aperture of the Science Instrument Aperture File.

    Attributes
    ----------
    x_ref, y_ref : float
        Reference point in pixels, counted from 1.
    v2_ref, v3_ref : float
        The same in the telescope's frame, arcsec.
    v3_idl_y_angle : float
        Degrees from V3 to the ideal frame's y.
    v_idl_parity : int
    x_coefficients, y_coefficients : tuple of float
        Of ideal x and y in arcsec: powers x^(p-q) y^q of the pixels from the reference point, in SIAF's order.
    """

    name: str
    x_ref: float
    y_ref: float
    v2_ref: float
    v3_ref: float
    v3_idl_y_angle: float
    v_idl_parity: int
    x_coefficients: tuple[float, ...]
    y_coefficients: tuple[float, ...]

    @property
    def degree(self) -> int:
        """Degree of the polynomials."""
        return int(np.sqrt(8 * len(self.x_coefficients) + 1) - 3) // 2

    @property
    def rotation(self) -> Array:
        """Matrix (2, 2) from ideal (x, y) to V2 and V3 from the reference point."""
        angle = np.deg2rad(self.v3_idl_y_angle)
        c, s = np.cos(angle), np.sin(angle)
        return np.array([[self.v_idl_parity * c, s], [-self.v_idl_parity * s, c]])

    def powers(self) -> list[tuple[int, int]]:
        """Exponents (of x, of y) of each coefficient."""
        return [(p - q, q) for p in range(self.degree + 1) for q in range(p + 1)]

    def to_ideal(self, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        """Ideal coordinates in arcsec of 0-based full-frame pixel positions."""
        dx, dy = np.asarray(x, float) + 1 - self.x_ref, np.asarray(y, float) + 1 - self.y_ref
        terms = [dx**i * dy**j for i, j in self.powers()]
        ideal_x = sum((c * t for c, t in zip(self.x_coefficients, terms, strict=True)), np.zeros(()))
        ideal_y = sum((c * t for c, t in zip(self.y_coefficients, terms, strict=True)), np.zeros(()))
        return ideal_x, ideal_y

    def from_ideal(self, ideal_x: ArrayLike, ideal_y: ArrayLike) -> tuple[Array, Array]:
        """0-based full-frame pixel positions of ideal coordinates in arcsec; the inverse of `to_ideal` to 1e-9 pixel.

        The distortion is so small that the steps of the undistorted scale converge tenfold or better each.
        """
        goal_x, goal_y = np.asarray(ideal_x, float), np.asarray(ideal_y, float)
        x, y = goal_x / PIXEL_SCALE + self.x_ref - 1, goal_y / PIXEL_SCALE + self.y_ref - 1
        for _ in range(12):
            now_x, now_y = self.to_ideal(x, y)
            x, y = x + (goal_x - now_x) / PIXEL_SCALE, y + (goal_y - now_y) / PIXEL_SCALE
        return x, y

    def to_telescope(self, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        """V2 and V3 in arcsec of 0-based full-frame pixel positions."""
        ideal_x, ideal_y = self.to_ideal(x, y)
        m = self.rotation
        v2 = self.v2_ref + m[0, 0] * ideal_x + m[0, 1] * ideal_y
        return v2, self.v3_ref + m[1, 0] * ideal_x + m[1, 1] * ideal_y

    def from_telescope(self, v2: ArrayLike, v3: ArrayLike) -> tuple[Array, Array]:
        """0-based full-frame pixel positions of V2 and V3 in arcsec."""
        dv2, dv3 = np.asarray(v2, float) - self.v2_ref, np.asarray(v3, float) - self.v3_ref
        m = np.linalg.inv(self.rotation)
        return self.from_ideal(m[0, 0] * dv2 + m[0, 1] * dv3, m[1, 0] * dv2 + m[1, 1] * dv3)


NIS_CEN = Aperture(
    name="NIS_CEN",
    x_ref=1024.5,
    y_ref=1024.5,
    v2_ref=-291.141,
    v3_ref=-698.015,
    v3_idl_y_angle=0.56126717,
    v_idl_parity=-1,
    x_coefficients=(
        0.0,
        *(0.065324254028, 0.0),
        *(-1.7083833429e-08, 1.1016773619e-08, -7.5599856304e-10),
        *(-1.2608447518e-11, -9.0572145968e-12, -9.5108876015e-12, -4.7544601824e-12),
        *(-2.8253423495e-15, 2.4379566319e-15, -3.015054153e-15, -2.0586547132e-14, 9.6282229723e-16),
        *(1.0134370635e-18, 2.602901056e-18, -1.3938501382e-17, 9.5536213663e-18, 4.4471618224e-18, 1.1008926172e-18),
    ),
    y_coefficients=(
        0.0,
        *(-0.00029946015481, 0.065814937584),
        *(5.6197596354e-08, -3.2584152155e-08, 6.826992809e-08),
        *(1.5070637916e-12, -1.6269513768e-11, -7.9191549007e-12, -1.0222646202e-10),
        *(-3.8458837089e-16, -2.3037891845e-15, -2.7188225555e-14, 1.1871491244e-14, -3.9661526791e-14),
        *(-1.6609420259e-18, 2.6238531415e-20, 5.9235720614e-18, 2.4133740771e-18, -1.2344473054e-18, 3.9769800618e-17),
    ),
)
"""The full NIRISS detector, from SIAF in PRDOPSSOC-072 (as in pysiaf 0.25.0)."""

PIXAR_A2 = NIS_CEN.x_coefficients[1] * NIS_CEN.y_coefficients[2]
"""Solid angle of the reference point's pixel, arcsec²; PIXAR_SR is the same in steradian."""

PIXAR_SR = PIXAR_A2 / ARCSEC_PER_RADIAN**2

PIXEL_SCALE = float(np.sqrt(PIXAR_A2))
"""Arcsec: side of a square pixel of this solid angle."""


def seed_for(seed: int, *names: str) -> np.random.Generator:
    """Random numbers of one purpose: they depend on the seed and the names, and on nothing drawn elsewhere.

    Parameters
    ----------
    seed : int
        Of the whole simulation, not negative.
    *names : str
        What the numbers are for, as ``"cosmic_rays", exposure``.
    """
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    words = np.frombuffer(digest, "<u4")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(int(w) for w in words)))
