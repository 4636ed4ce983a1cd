"""Afterglow: charge that traps took from earlier exposures and let go in this one.

While a pixel is bright, traps fill, in families that decay with different times; what they hold is released later,
after the reset too. Everything here is a function of a list of earlier exposures, so that exposures can be looked at in
any order: no state is handed on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Traps:
    """Families of traps.

    Attributes
    ----------
    fractions : tuple of float
        What each family holds when it is full, over the pixel's full well. Some tenths of a per cent are the order of
        magnitude of HgCdTe detectors of this kind; no calibration for NIRISS is published (JDox, NIRISS known issues:
        persistence is not corrected). `amplitude` therefore measures the whole in each exposure that allows it.
    times : tuple of float
        s, decay times, a decade apart; the longest is NIRCam's, about 1000 s in flight (STScI, Improving JWST Data
        Products Workshop).
    full_well : float
        DN.
    """

    fractions: tuple[float, ...] = (2e-3, 2e-3, 2e-3)
    times: tuple[float, ...] = (10.0, 100.0, 1000.0)
    full_well: float = 50000.0

    def __post_init__(self) -> None:
        if len(self.fractions) != len(self.times) or not self.times:
            raise ValueError(
                f"{len(self.fractions)} fractions and {len(self.times)} times; there is one of each a family"
            )
        if min(self.times) <= 0 or min(self.fractions) < 0 or self.full_well <= 0:
            raise ValueError("times and the full well are positive, fractions not negative")


@dataclass(frozen=True)
class Earlier:
    """An earlier exposure on the same pixels: when it ended (s, any zero) and its fluence in DN, shape (ny, nx)."""

    end: float
    fluence: NDArray


@dataclass(frozen=True)
class Amplitude:
    """What an exposure's own data say about a predicted afterglow.

    Attributes
    ----------
    scale, error : float
        Measured over predicted; NaN where nothing could be measured.
    pixels : int
        That were used.
    reason : str
        Why it is not applied, or empty.
    """

    scale: float
    error: float
    pixels: int
    reason: str

    @property
    def applied(self) -> float:
        """Factor on the prediction: what was measured where that is significant, else 1."""
        return 1.0 if self.reason else float(np.clip(self.scale, *BOUNDS))

    @property
    def upper(self) -> float:
        """The factor that the glow may well have: two sigma more, or twice the prediction where nothing is known."""
        return UNKNOWN if self.reason else float(np.clip(self.scale + 2 * self.error, *BOUNDS))


BOUNDS = (0.05, 20.0)
"""Factors between which a prediction may be wrong; more than that is something else than afterglow."""

UNKNOWN = 2.0
"""Factor by which the afterglow may well be brighter than predicted, where it cannot be measured."""

SOURCE_SCATTER = 0.3
"""Relative scatter of the amplitude from one glowing source to the next: pixels' traps differ, and other sources'
light lies over some."""

PEDESTAL = 0.3
"""Sigma of one pixel: what is left of the background below one source, alike for all of its pixels."""


def fluence(rate: NDArray, saturated: Mask, seconds: float, full_well: float) -> tuple[Array, Mask]:
    """Charge that an exposure collected.

    Parameters
    ----------
    rate : ndarray, shape (ny, nx)
        DN/s; NaN where there is none. That of a pixel that saturates on its way comes from its first groups, so that
        its fluence passes the full well, as the light did.
    saturated : ndarray of bool, shape (ny, nx)
        Pixels that were full at the end, by light or by a particle.
    seconds : float
    full_well : float
        DN.

    Returns
    -------
    collected : ndarray, shape (ny, nx)
        DN; three full wells where a full pixel has no rate.
    hit : ndarray of bool, shape (ny, nx)
        Pixels that were full, with no light on them or beside them that would have filled them: particles, such as
        snowballs. They glow as well (STScI, Improving JWST Data Products Workshop), though perhaps not as much.
    """
    from scipy.ndimage import label, maximum

    collected = np.maximum(np.nan_to_num(rate, nan=0.0, posinf=0.0, neginf=0.0) * seconds, 0)
    regions, count = label(saturated, np.ones((3, 3)))
    brightest = np.atleast_1d(maximum(collected, regions, np.arange(count + 1))) if count else np.zeros(1)
    # pixels beside full ones are flagged as full too, so that regions tell more than pixels
    hit = saturated & (brightest < 0.1 * full_well)[regions]
    unknown = saturated & (hit | ~np.isfinite(rate))
    return np.where(unknown, np.maximum(collected, 3 * full_well), collected), hit


@dataclass(frozen=True)
class Prediction:
    """The afterglow that a model expects.

    Attributes
    ----------
    mean, slope : ndarray, shape (ny, nx)
        DN/s: averaged over the exposure, and in its rate image.
    origin : ndarray of int, shape (ny, nx)
        Which of the earlier exposures, as they were given, most of it comes from.
    """

    mean: Array
    slope: Array
    origin: NDArray[np.int16]


def predict(earlier: Sequence[Earlier], start: float, seconds: float, group_times: Array, traps: Traps) -> Prediction:
    """Predict the afterglow in an exposure.

    A pixel that collects its full well fills the fraction 1 - 1/e of those of its traps that were empty.

    Parameters
    ----------
    earlier : sequence of Earlier
        At least one, in any order; all end at `start` or before.
    start, seconds : float
        s: begin of the exposure, on the clock of the others' ends, and its duration.
    group_times : ndarray, shape (ngroups,)
        s since the start at which groups are read, on average; two at least.
    traps : Traps
    """
    shape = np.shape(earlier[0].fluence)
    mean_rate, slope_rate = mean_release(traps, seconds), slope_release(traps, group_times)
    state = np.zeros((len(traps.times), *shape))
    origin, most = np.zeros(shape, np.int16), np.zeros(shape)
    order = sorted(range(len(earlier)), key=lambda i: earlier[i].end)
    before = earlier[order[0]].end
    for i in order:
        end, fluence = earlier[i].end, earlier[i].fluence
        state *= _decayed(traps, end - before)[:, None, None]
        added = (1 - state) * -np.expm1(-fluence / traps.full_well)
        state += added
        before = end
        left = _afterglow(added, _decayed(traps, start - end) * mean_rate, traps)
        origin[left > most] = i
        np.maximum(most, left, out=most)
    state *= _decayed(traps, start - before)[:, None, None]
    return Prediction(_afterglow(state, mean_rate, traps), _afterglow(state, slope_rate, traps), origin)


def _decayed(traps: Traps, seconds: float) -> Array:
    return np.exp(-seconds / np.array(traps.times))


def _afterglow(state: Array, release: Array, traps: Traps) -> Array:
    """DN/s that traps let go, given how full they are, (families, ny, nx), and what they let go, 1/s."""
    return traps.full_well * np.tensordot(np.array(traps.fractions) * release, state, axes=1)


def mean_release(traps: Traps, seconds: float) -> Array:
    """What each family lets go on average over an exposure, 1/s over what it holds at the start; shape (families,)."""
    times = np.array(traps.times)
    return -np.expm1(-seconds / times) / seconds


def slope_release(traps: Traps, times: Array) -> Array:
    """What each family adds to the slope of a ramp, 1/s over what it holds at the start; shape (families,).

    A fitted slope does not see what is let go before the first group, so that this is less than the mean.

    Parameters
    ----------
    traps : Traps
    times : ndarray, shape (ngroups,)
        s since the start at which groups are read, on average; two groups at least.
    """
    held_back = -np.expm1(-times[:, None] / np.array(traps.times))
    centred = times - times.mean()
    return centred @ held_back / np.sum(centred**2)


def amplitude(
    residual: NDArray, error: NDArray, predicted: NDArray, good: Mask, *, significance: float = 5.0
) -> Amplitude:
    """Measure the afterglow in an exposure's own data.

    Parameters
    ----------
    residual, error : ndarray, shape (ny, nx)
        DN/s: rate above the local background, and its error.
    predicted : ndarray, shape (ny, nx)
        DN/s.
    good : ndarray of bool, shape (ny, nx)
    significance : float
        The scale is applied if known to 2/significance, of itself or of the prediction.
    """
    from scipy.ndimage import label

    use = good & (predicted > 0.25 * error) & np.isfinite(residual)
    sources, _ = label(use, np.ones((3, 3)))
    above = residual - _beside(residual, sources, good & (predicted < 0.1 * error) & np.isfinite(residual))
    r, p, e = (np.asarray(a[use], float) for a in (above, predicted, error))
    hidden = r > BOUNDS[1] * p + 5 * e
    if len(r) < 10:
        return Amplitude(np.nan, np.nan, len(r), "fewer than 10 pixels are expected to glow")
    if hidden.mean() > 0.5:
        return Amplitude(np.nan, np.nan, len(r), "sources lie over most of the pixels expected to glow")
    r, p, e, source = (a[~hidden] for a in (r, p, e, sources[use]))
    order = np.argsort(r / p)
    weight = np.cumsum((p / e)[order])
    scale = float((r / p)[order][np.searchsorted(weight, weight[-1] / 2)])
    for _ in range(5):
        # the prediction is not the truth: neighbouring pixels and sources differ by more than their noise
        near = np.abs(r - scale * p) < 4 * np.hypot(e, 0.3 * abs(scale) * p)
        if near.sum() < 10:
            return Amplitude(np.nan, np.nan, int(near.sum()), "the pixels expected to glow disagree")
        information = (p[near] / e[near]) ** 2
        scale = float(np.sum(r[near] * p[near] / e[near] ** 2) / information.sum())
    spread = float(np.sqrt(np.mean(((r[near] - scale * p[near]) / e[near]) ** 2)))
    per_source = np.bincount(source[near], information)
    independent = per_source.sum() ** 2 / np.sum(per_source**2)
    # one source's afterglow may lie on another's light by chance: several that agree tell more than a bright one
    pedestal = np.bincount(source[near], p[near] / e[near]) * PEDESTAL / information.sum()
    uncertain = float(
        np.sqrt(
            max(spread, 1.0) ** 2 / information.sum() + SOURCE_SCATTER**2 * scale**2 / independent + np.sum(pedestal**2)
        )
    )
    reason = "not significant" if uncertain * significance > 2 * max(1.0, scale) else ""
    return Amplitude(scale, uncertain, int(near.sum()), reason)


def _beside(residual: NDArray, sources: NDArray, dark: Mask, reach: int = 8) -> Array:
    """Median of what surrounds each labelled source and does not glow, at its pixels; shape (ny, nx)."""
    from scipy.ndimage import find_objects

    level = np.zeros(residual.shape)
    for number, box in enumerate(find_objects(sources), start=1):
        near = tuple(slice(max(s.start - reach, 0), s.stop + reach) for s in box)
        values = residual[near][dark[near]]
        if values.size >= 10:
            level[box][sources[box] == number] = np.median(values)
    return level


@dataclass(frozen=True)
class Glow:
    """The afterglow in one exposure.

    Attributes
    ----------
    mean, slope : ndarray, shape (ny, nx)
        DN/s that are expected: averaged over the exposure, and in its rate image.
    mask : ndarray of bool, shape (ny, nx)
        Where it may well be brighter than so many of the exposure's own errors.
    amplitudes : dict of (int, str) to Amplitude
        By the exposure that it comes from and what filled the traps, ``light`` or ``hits``.
    """

    mean: Array
    slope: Array
    mask: Mask
    amplitudes: dict[tuple[int, str], Amplitude]


def check(
    predicted: Prediction, hit: Mask, residual: NDArray, error: NDArray, good: Mask,
    *, nsigma: float = 1.0, rescale: bool = True,
) -> Glow:  # fmt: skip
    """The afterglow in one exposure, by the model and by its own data.

    Parameters
    ----------
    predicted : Prediction
    hit : ndarray of bool, shape (ny, nx)
        Pixels that particles filled, see `fluence`.
    residual, error : ndarray, shape (ny, nx)
        DN/s: this exposure's rate above its local background, and its error.
    good : ndarray of bool, shape (ny, nx)
    nsigma : float
    rescale : bool
        Measure the amplitude of what each earlier exposure left; else the prediction is taken as it is.
    """
    applied, upper = np.ones(hit.shape), np.full(hit.shape, UNKNOWN)
    amplitudes: dict[tuple[int, str], Amplitude] = {}
    for i in np.unique(predicted.origin[predicted.mean > 0]) if rescale else ():
        for kind, part in (("light", ~hit), ("hits", hit)):
            mine = (predicted.origin == i) & part
            if not np.any(predicted.mean[mine] > 0.25 * error[mine]):
                continue
            one = amplitude(residual, error, predicted.slope, good & mine)
            amplitudes[int(i), kind] = one
            applied[mine], upper[mine] = one.applied, one.upper
    # pixels without a rate of their own have no error: they are not used anyway
    mask = np.isfinite(error) & (error > 0) & (predicted.mean * upper > nsigma * error)
    return Glow(predicted.mean * applied, predicted.slope * applied, mask, amplitudes)
