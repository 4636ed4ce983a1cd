"""What disturbs an exposure, each with its own switch and numbers; and all of it that is not a hit (`hits`).

Numbers with a source are those of the instrument or its siblings; the others are simulated, and say so. Every function
draws from the generator that it is given, and from nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .instrument import AMPLIFIER_ROWS, Frame

Array = NDArray[np.float64]

PIXEL_PITCH = 18e-4
"""cm."""

TRACE = 10.0
"""Electrons in one pixel below which no truth map speaks of it: about one read's noise."""


@dataclass(frozen=True)
class Flicker:
    """1/f noise. The power spectrum of each frame's time series is f^-slope, from one over the frame time upwards.

    Attributes
    ----------
    own, common : float
        e, rms of one frame: of each amplifier by itself, and shared by all. 1 and 3 are what implementations of the
        noise generator of Rauscher 2015 (arXiv:1509.06264) take for NIRSpec's detectors, siblings of NIRISS's.
    slope : float
    """

    own: float = 1.0
    common: float = 3.0
    slope: float = 1.0


@dataclass(frozen=True)
class CosmicRays:
    """Cosmic rays as NIRSpec's darks show them in flight (Rauscher & Fixsen 2025, PASP 137, 095003).

    Attributes
    ----------
    rate : float
        Ions per cm² and s: they fell from 4.3 to 2.3 in the first three years.
    energy_loss : float
        keV per μm, that of the median ion.
    charge_energy : float
        eV per electron: 6 keV make 5200.
    thickness : float
        μm of detector, an effective one: chosen such that the median ion, straggling included, loses 6 keV, which
        the paper calls typical.
    straggling : float
        Width of the energy loss's Moyal distribution over its median. Simulated.
    diffusion : float
        Pixels, sigma of the charge's spread. Simulated: chosen such that a hit leaves more than 20 e in the 7.1
        pixels that the paper counts as affected; its own threshold is not known here.
    """

    rate: float = 3.0
    energy_loss: float = 0.86
    charge_energy: float = 1.154
    thickness: float = 4.54
    straggling: float = 0.2
    diffusion: float = 0.36


@dataclass(frozen=True)
class Snowballs:
    """Large hits: a round saturated core and a halo.

    Attributes
    ----------
    rate : float
        Per cm² and s: one per 20 s and detector (JDox, shower and snowball artifacts). The rest is simulated.
    radius : (float, float)
        Pixels, smallest and largest core; the number of larger ones falls as 1/radius.
    core, halo : float
        e per pixel, in the core and at the halo's inner edge; the halo falls by 1/e within a core's radius.
    """

    rate: float = 1 / 20 / (2048 * PIXEL_PITCH) ** 2
    radius: tuple[float, float] = (2.0, 12.0)
    core: float = 3e5
    halo: float = 4000.0


@dataclass(frozen=True)
class ColumnJumps:
    """Sudden offsets of whole detector columns, which are rows of the image: they run along the slow axis, x.

    Direction as in CSA-JWST-TN-0003 and the package columnjump; numbers are simulated.

    Attributes
    ----------
    rate : float
        Per row and s.
    size : (float, float)
        DN, smallest and largest; of either sign.
    """

    rate: float = 2e-5
    size: tuple[float, float] = (5.0, 25.0)


@dataclass(frozen=True)
class Persistence:
    """Charge that traps hold back from an earlier exposure and let go, in families of traps. Simulated numbers.

    Attributes
    ----------
    fractions : tuple of float
        Charge in each family, over the full well, once the pixel had been filled to it several times.
    times : tuple of float
        s, decay times. NIRCam's longest is about 1000 s (STScI, Improving JWST Data Products Workshop).
    """

    fractions: tuple[float, ...] = (3e-3, 2e-3, 2e-3)
    times: tuple[float, ...] = (15.0, 150.0, 1000.0)


@dataclass(frozen=True)
class Ghost:
    """Reflections of bright sources.

    Attributes
    ----------
    fraction : float
        Of the source's light: about 1 % (Morishita, package niriss_ghost).
    radius : float
        Pixels, of the evenly lit disc. Simulated.
    """

    fraction: float = 0.01
    radius: float = 7.0


@dataclass(frozen=True)
class Trail:
    """A satellite that crosses within one frame, out of focus. Simulated: `peak` e per pixel, `sigma` pixels."""

    peak: float = 5000.0
    sigma: float = 2.5


@dataclass(frozen=True)
class Scattered:
    """Light from far outside the field, in broad patterns: mean `level` in DN/s. Simulated."""

    level: float = 40.0


@dataclass(frozen=True)
class Effects:
    """Every effect's switch: a bool, or numbers to switch it on and None to switch it off.

    The satellite trail and the scattered light are off unless asked for: they spoil one exposure, not all.
    """

    photon_noise: bool = True
    read_noise: bool = True
    dark: bool = True
    hot_pixels: bool = True
    dead_pixels: bool = True
    reference_pixels: bool = True
    flat: bool = True
    superbias: bool = True
    nonlinearity: bool = True
    saturation: bool = True
    flicker: Flicker | None = Flicker()
    cosmic_rays: CosmicRays | None = CosmicRays()
    snowballs: Snowballs | None = Snowballs()
    column_jumps: ColumnJumps | None = ColumnJumps()
    persistence: Persistence | None = Persistence()
    ghost: Ghost | None = Ghost()
    trail: Trail | None = None
    scattered: Scattered | None = None

    @classmethod
    def none(cls) -> "Effects":
        """All switched off: a noiseless ramp."""
        off: dict[str, Any] = {f.name: None if f.name in KINDS else False for f in fields(cls)}
        return cls(**off)

    def but(self, settings: Mapping[str, Any]) -> "Effects":
        """A copy with other settings.

        Parameters
        ----------
        settings : mapping
            Effect to true, false, or a mapping of its numbers (which switches it on).

        Raises
        ------
        ValueError
            If there is no such effect or number.
        """
        changed: dict[str, Any] = {}
        for name, value in settings.items():
            if name not in {f.name for f in fields(self)}:
                raise ValueError(f"effect {name!r}; there are {', '.join(f.name for f in fields(self))}")
            if name not in KINDS:
                if not isinstance(value, bool):
                    raise ValueError(f"effect {name!r} has no numbers; it is true or false")
                changed[name] = value
            elif isinstance(value, bool) or value is None:
                changed[name] = (getattr(self, name) or KINDS[name]()) if value else None
            else:
                changed[name] = _with(getattr(self, name) or KINDS[name](), value)
        return replace(self, **changed)


KINDS: dict[str, type] = {
    "flicker": Flicker,
    "cosmic_rays": CosmicRays,
    "snowballs": Snowballs,
    "column_jumps": ColumnJumps,
    "persistence": Persistence,
    "ghost": Ghost,
    "trail": Trail,
    "scattered": Scattered,
}


def _with(effect: Any, numbers: Mapping[str, Any]) -> Any:
    unknown = set(numbers) - {f.name for f in fields(effect)}
    if unknown:
        kind = type(effect).__name__
        raise ValueError(f"{kind} has no {', '.join(sorted(unknown))}; it has {', '.join(vars(effect))}")
    return replace(effect, **{k: tuple(v) if isinstance(v, list) else v for k, v in numbers.items()})


def flicker(effect: Flicker, frame: Frame, rng: np.random.Generator) -> Array:
    """1/f noise of one frame in e, shape (ny, nx).

    Pixels are read along y, the fast axis, and column after column along x, both towards smaller indices (FASTAXIS
    -2, SLOWAXIS -1): slow drifts become vertical stripes. The full frame is read by four amplifiers of 512 rows at
    once, a subarray by one. Each column takes 12 pixel times more, in which nothing is read: a frame of 10.737 s has
    2049 columns of 524 pixel times of 10 μs.
    """
    outputs = frame.ny // AMPLIFIER_ROWS if frame.is_full else 1
    rows = frame.ny // outputs
    count = (rows + 12) * frame.nx
    frequency = np.arange(count // 2 + 1, dtype=float)
    frequency[0] = np.inf
    amplitude = frequency ** (-effect.slope / 2)
    # irfft of white noise's rfft times an amplitude has this variance; frequencies but the first two come in pairs
    amplitude /= np.sqrt((2 * np.sum(amplitude**2) - (amplitude[-1] ** 2 if count % 2 == 0 else 0)) / count)

    def series(rms: float) -> Array:
        noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(count)) * amplitude, count)
        return rms * noise.reshape(frame.nx, rows + 12)[::-1, :rows][:, ::-1].T

    common = series(effect.common) if effect.common else 0.0
    return np.concatenate([common + (series(effect.own) if effect.own else np.zeros((rows, frame.nx)))
                           for _ in range(outputs)])  # fmt: skip


def persistence(
    previous_fluence: ArrayLike, delay_s: float, start_s: float, stop_s: float, full_well: ArrayLike,
    effect: Persistence | None = None,
) -> Array:  # fmt: skip
    """Charge that an earlier exposure's traps let go between two times.

    Parameters
    ----------
    previous_fluence : array_like
        DN collected by each pixel in the earlier exposure, beyond the full well too.
    delay_s : float
        s from the end of that exposure to the reset of this one.
    start_s, stop_s : float
        s since the reset of this one.
    full_well : array_like
        DN.
    effect : Persistence, optional

    Returns
    -------
    ndarray
        DN, of the fluence's shape. Traps fill up: it grows with the fluence ever more slowly.
    """
    effect = effect or Persistence()
    filled = np.asarray(full_well) * -np.expm1(-np.asarray(previous_fluence, float) / np.asarray(full_well))
    early, late = delay_s + start_s, delay_s + stop_s
    pairs = zip(effect.fractions, effect.times, strict=True)
    return filled * sum(f * (np.exp(-early / t) - np.exp(-late / t)) for f, t in pairs)


GHOST_CENTRES = {
    "CLEAR": {
        "F090W": (1168.90, 937.20), "F115W": (1156.00, 927.00), "F140M": (1170.00, 934.85),
        "F150W": (1162.60, 937.90), "F158M": (1162.60, 937.90), "F200W": (1155.90, 943.30),
    },
    "GR150": {
        "F090W": (1164.38, 932.23), "F115W": (1150.74, 924.08), "F140M": (1164.63, 930.34),
        "F150W": (1156.20, 931.81), "F158M": (1156.20, 931.81), "F200W": (1149.48, 938.62),
    },
}  # fmt: skip
"""Full-frame pixels through which a ghost lies opposite to its source: the ghost axis points of the package
niriss_ghost (Morishita), from ground tests. Its single measurement of F158M contradicts all others; here
F158M has F150W's. The point reflection is the simulated geometry, whatever the true one is."""


def ghost_position(x: ArrayLike, y: ArrayLike, filter: str, *, grism: bool = False) -> tuple[Array, Array]:
    """Where the ghost of a source lies.

    Parameters
    ----------
    x, y : array_like
        0-based full-frame pixels of the source; of its zeroth order where a grism is in the beam.
    filter : str
    grism : bool

    Returns
    -------
    x, y : ndarray
        0-based full-frame pixels, perhaps outside of the detector.
    """
    cx, cy = GHOST_CENTRES["GR150" if grism else "CLEAR"][filter]
    return 2 * cx - np.asarray(x, float), 2 * cy - np.asarray(y, float)


def ghosts(
    effect: Ghost, frame: Frame, sources: Sequence[tuple[float, float, float]], filter: str, *, grism: bool = False
) -> Array:
    """Light of all ghosts in DN/s, shape (ny, nx).

    Parameters
    ----------
    effect : Ghost
    frame : Frame
    sources : sequence of (x, y, rate)
        0-based pixels of the frame, perhaps outside of it, and whole count rate in DN/s.
    filter : str
    grism : bool
    """
    image, border = np.zeros(frame.shape), int(effect.radius) + 2
    for sx, sy, rate in sources:
        ghost_x, ghost_y = ghost_position(sx + frame.xstart - 1, sy + frame.ystart - 1, filter, grism=grism)
        gx, gy = float(ghost_x) - frame.xstart + 1, float(ghost_y) - frame.ystart + 1
        left, low = max(int(gx) - border, 0), max(int(gy) - border, 0)
        stamp = image[low : max(int(gy) + border + 1, 0), left : max(int(gx) + border + 1, 0)]
        y, x = np.ogrid[low : low + stamp.shape[0], left : left + stamp.shape[1]]
        # an edge one pixel wide keeps the disc's light whole wherever its centre falls
        disc = np.clip(effect.radius + 0.5 - np.hypot(x - gx, y - gy), 0, 1)
        stamp += effect.fraction * rate * disc / (np.pi * effect.radius**2)
    return image


def scattered_light(effect: Scattered, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Broad patterns of light in DN/s, nowhere negative, of mean `effect.level`."""
    y, x = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    total = np.zeros(shape)
    for _ in range(4):
        cx, cy, width = rng.uniform(-0.3, 1.3), rng.uniform(-0.3, 1.3), rng.uniform(0.15, 0.5)
        total += rng.uniform(0.3, 1) * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / width**2)
    total += 0.3
    return effect.level * total / total.mean()
