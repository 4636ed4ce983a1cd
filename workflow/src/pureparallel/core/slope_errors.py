"""Errors of slopes: what the pipeline's formula states, and what its estimator has.

The pipeline weights the groups of a segment by a power of their distance from its middle, chosen by the signal to
noise, and states a variance of ``rate / (gain time)`` for the photons plus that of an unweighted straight line for the
reads (jwst documentation, ramp fitting, after Fixsen et al. 2000, PASP 112, 1350). The variance that this estimator
has follows from the covariance of averaged reads, which is known exactly: photons that came early are in all later
reads. The two differ by -3 % (bright pixels, short ramps of averaged frames) to +5 % (long ramps of single frames).
"""

import numpy as np
from numpy.typing import NDArray

from .ramps import DO_NOT_USE, JUMP, SATURATED

Array = NDArray[np.float64]

POWERS = ((5.0, 0.0), (10.0, 0.4), (20.0, 1.0), (50.0, 3.0), (100.0, 6.0), (np.inf, 10.0))
"""Signal to noise below which the weights have that power of the distance."""


def covariance(ngroups: int, nframes: int, per_frame: float, read_noise: float) -> Array:
    """Covariance of groups that average frames without gaps, shape (ngroups, ngroups), in e².

    Parameters
    ----------
    ngroups, nframes : int
    per_frame : float
        e.
    read_noise : float
        e, of one read.
    """
    frames = np.arange(1, ngroups * nframes + 1)
    shared = np.minimum.outer(frames, frames).reshape(ngroups, nframes, ngroups, nframes).mean(axis=(1, 3))
    return per_frame * shared + np.eye(ngroups) * read_noise**2 / nframes


def variance_ratio(rate: float, ngroups: int, nframes: int, frame_time: float, gain: float, read_noise: float) -> float:
    """True over stated variance of the slope of one segment.

    Parameters
    ----------
    rate : float
        DN/s.
    ngroups : int
        In the segment, 2 or more.
    nframes : int
        Averaged in a group.
    frame_time : float
        s.
    gain : float
        e/DN.
    read_noise : float
        DN, of one read.
    """
    reads, per_frame = read_noise * gain, rate * gain * frame_time
    signal = per_frame * nframes * (ngroups - 1)
    height = signal / np.sqrt(reads**2 / nframes + signal)
    power = next(p for limit, p in POWERS if height < limit)
    middle = (ngroups - 1) / 2
    number = np.arange(ngroups) - middle
    weights = np.abs(number / middle) ** power
    weights *= number / np.sum(weights * number**2)
    true = weights @ covariance(ngroups, nframes, per_frame, reads) @ weights
    stated = per_frame * nframes / (ngroups - 1) + 12 * reads**2 / nframes / (ngroups**3 - ngroups)
    return float(true / stated)


def segments(flags: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Length of each pixel's longest segment in groups, and number of its good differences, shapes (ny, nx).

    A jump begins a new segment; saturated groups and those not to be used belong to none.

    Parameters
    ----------
    flags : ndarray of int, shape (ngroups, ny, nx)
    """
    run = np.zeros(flags.shape[1:], np.intp)
    longest, differences = run.copy(), run.copy()
    for group in flags:
        good, goes_on = group & (DO_NOT_USE | SATURATED) == 0, group & JUMP == 0
        differences += good & goes_on & (run > 0)
        run = np.where(good, np.where(goes_on, run + 1, 1), 0)
        np.maximum(longest, run, out=longest)
    return longest, differences


def honest(
    rate: NDArray[np.floating], var_photons: NDArray[np.floating], var_reads: NDArray[np.floating],
    flags: NDArray[np.integer], *, nframes: int, frame_time: float, gain: float, read_noise: float,
    dark: NDArray[np.floating] | float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    """Correct stated variances to those that the slopes have; a pixel's longest segment stands for all of them.

    Parameters
    ----------
    rate : ndarray, shape (ny, nx)
        DN/s, dark current subtracted.
    var_photons, var_reads : ndarray, shape (ny, nx)
        As the pipeline states them, (DN/s)².
    flags : ndarray of int, shape (ngroups, ny, nx)
        Of the groups, as the ramps were fitted with.
    nframes, frame_time, gain, read_noise
        See `variance_ratio`.
    dark : ndarray or float
        DN/s, whose shot noise is not in `var_photons`.

    Returns
    -------
    var_photons, var_reads : ndarray of float32, shape (ny, nx)
    """
    longest, differences = segments(flags)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_dark = np.where(differences > 0, dark / (gain * nframes * frame_time * differences), 0)
    light = np.log(np.clip(np.nan_to_num(rate) + dark, 1e-2, 1e4))
    nodes = np.linspace(np.log(1e-2), np.log(1e4), 60)
    factor = np.ones(rate.shape, np.float32)
    for n in range(2, len(flags) + 1):
        here = longest == n
        if here.any():
            ratio = [variance_ratio(np.exp(node), n, nframes, frame_time, gain, read_noise) for node in nodes]
            factor[here] = np.interp(light[here], nodes, ratio)
    return (factor * (var_photons + of_dark)).astype(np.float32), (factor * var_reads).astype(np.float32)
