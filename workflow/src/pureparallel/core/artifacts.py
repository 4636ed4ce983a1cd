"""All artifacts of one exposure, found from its own arrays: which pixels each cause covers, and the numbers behind."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import ghosts, scattered, stars, trails

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

DO_NOT_USE = 1

DISPERSION = {"GR150R": "y", "GR150C": "x", "GRISMR": "x", "GRISMC": "y"}
"""Axis that a grism disperses along (JDox, NIRISS and NIRCam grisms)."""

BRIGHTEST = 200
"""Sources that are looked at for spikes, the brightest first."""


@dataclass(frozen=True)
class Observed:
    """An exposure.

    Attributes
    ----------
    rate, error : ndarray, shape (ny, nx)
        DN/s.
    dq : ndarray of uint32, shape (ny, nx)
    jumps, saturated, snowballs : ndarray of bool, shape (ngroups, ny, nx)
        What happened in the groups.
    glow : ndarray of bool, shape (ny, nx)
        Afterglow of earlier exposures.
    corner : (int, int)
        0-based full-frame pixel (x, y) of the array's first.
    elements : (str, str)
        FILTER and PUPIL.
    """

    rate: NDArray
    error: NDArray
    dq: NDArray
    jumps: Mask
    saturated: Mask
    snowballs: Mask
    glow: Mask
    corner: tuple[int, int]
    elements: tuple[str, str]

    @property
    def good(self) -> Mask:
        """Pixels that have a rate to be used."""
        return (self.dq & DO_NOT_USE == 0) & np.isfinite(self.rate) & (self.error > 0)

    @property
    def dispersion(self) -> str | None:
        """Axis along which light is dispersed, None for a direct image."""
        return next((DISPERSION[name] for name in self.elements if name in DISPERSION), None)


@dataclass(frozen=True)
class Settings:
    """What is looked for, and how; `steps.mask_artifacts` says what each number is."""

    trails: bool = True
    trail_sigma: float = 8.0
    trail_grow: float = 1.5
    snowball_grow: int = 1
    core_grow: int = 2
    spikes: bool = True
    spike_nsigma: float = 2.0
    spike_reach: float = 300.0
    ghosts: bool = True
    ghost_fraction: float = 0.01
    ghost_radius: float = 10.0
    ghost_nsigma: float = 1.0


def find(observed: Observed, settings: Settings, *, uneven: bool = False) -> tuple[dict[str, Mask], dict[str, Any]]:
    """Find the artifacts of an exposure, but for the user's own regions.

    Parameters
    ----------
    observed : Observed
    settings : Settings
    uneven : bool
        The background has structures that are not to be searched for faint trails: scattered light does.

    Returns
    -------
    maps : dict of str to ndarray of bool, shape (ny, nx)
        By name of the cause.
    numbers : dict
        ``trails``, ``spiked_stars`` and ``ghosts``: a list each of what was found.
    """
    from scipy.ndimage import binary_dilation

    good = observed.good
    shape = observed.rate.shape
    level = scattered.background(observed.rate, good)
    # what jwst left out because it is saturated is unknown, and neither dark nor bright
    image = np.where(np.isfinite(observed.rate), observed.rate - level, np.nan)
    noise = float(np.median(observed.error[good]))
    events = observed.snowballs.any(axis=0)
    maps = {
        "SNOWBALL": binary_dilation(events, iterations=settings.snowball_grow) if settings.snowball_grow else events,
        "PERSISTENCE": observed.glow,
        "SATURATED": stars.cores(observed.saturated.any(axis=0), events, image, noise, settings.core_grow),
    }
    numbers: dict[str, Any] = {"noise": noise}
    if settings.trails:
        residual = np.where(good & ~uneven, image / np.where(good, observed.error, 1), np.nan)
        lines = trails.find(
            observed.jumps, residual, events, sigma=settings.trail_sigma, grow=settings.trail_grow
        )  # fmt: skip
        maps["TRAIL"] = np.any([line.mask(shape) for line in lines], axis=0) if lines else np.zeros(shape, bool)
        numbers["trails"] = [asdict(line) for line in lines]
    least = settings.ghost_nsigma * noise / ghosts.brightness(1.0, settings.ghost_fraction, settings.ghost_radius)
    bright = stars.sources(
        image, observed.error, maps["SATURATED"], dispersion=observed.dispersion, least=least, faintest=5.0
    )
    numbers["bright_sources"] = len(bright)
    if settings.spikes:
        maps["SPIKE"], found = _spikes(bright, np.where(good, image, np.nan), noise, observed.dispersion, settings)
        numbers["spiked_stars"] = [asdict(star) for star in found]
    if settings.ghosts:
        spots = ghosts.find(
            bright, image, observed.error, good, observed.corner, observed.elements, fraction=settings.ghost_fraction,
            radius=settings.ghost_radius, nsigma=settings.ghost_nsigma,
        )  # fmt: skip
        maps["GHOST"] = ghosts.mask(spots, shape, settings.ghost_radius)
        numbers["ghosts"] = [{**asdict(spot), "source": spot.source._asdict()} for spot in spots]
    return maps, numbers


def _spikes(
    bright: list[ghosts.Bright], image: NDArray, noise: float, dispersion: str | None, settings: Settings
) -> tuple[Mask, list[stars.Star]]:
    level, found = settings.spike_nsigma * noise, []
    for source in bright[:BRIGHTEST]:
        star = stars.spiked(source, image, noise, dispersion=dispersion, most=settings.spike_reach)
        # a spike that ends where it begins is part of its source
        if star is not None and star.reach(star.spike, level, settings.spike_reach) > star.inner + 8:
            found.append(star)
    return stars.spikes(found, image.shape, level, most=settings.spike_reach), found


def judge_sky(
    sky: scattered.Sky, others: Mapping[str, scattered.Sky], instrument: tuple[str, str, str],
    limits: scattered.Limits, *, dispersed: bool,
) -> tuple[list[str], dict[str, Any]]:  # fmt: skip
    """Whether scattered light has spoilt an exposure; others that are spoilt by themselves are no measure.

    Parameters
    ----------
    sky : Sky
    others : mapping of str to Sky
        Other exposures through the same elements, by name.
    instrument : (str, str, str)
        Instrument or its channel, FILTER and PUPIL.
    limits : Limits
    dispersed : bool

    Returns
    -------
    reasons : list of str
    numbers : dict
        As of `scattered.judge`, and ``compared_with``, the names of those that it was compared with.
    """
    rates = [scattered.zodiacal_rate(instrument[0], name) for name in (instrument[2], instrument[1])]
    expected = next((rate for rate in rates if rate is not None), None)
    sound = {
        name: other
        for name, other in others.items()
        if not scattered.judge(other, expected, [], dispersed=dispersed, limits=limits)[0]
    }
    reasons, numbers = scattered.judge(sky, expected, list(sound.values()), dispersed=dispersed, limits=limits)
    return reasons, {**numbers, "compared_with": sorted(sound)}
