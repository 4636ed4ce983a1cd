"""From light to raw counts: one exposure's ramp, read by read, and the truth beside it.

A ramp is accumulated frame by frame, and frames are averaged into groups as they come: the statistics of averaged
groups, their covariance included, are those of the reads themselves, and no cube of frames is ever held. Read noise
and 1/f noise are independent from frame to frame, so that their average over a group is drawn at once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import effects as fx
from . import hits
from .detector import Detector, read_out
from .instrument import Readout

if TYPE_CHECKING:
    from ..provenance import Lineage

Array = NDArray[np.float64]
Generators = Callable[[str], np.random.Generator]

PLATEAU = 0.05
"""How far above the saturation level, over the well's depth, the counts stop. Simulated: reference files set the
level below the point where pixels cease to respond."""

ADC_MAX = 65535

PER_GROUP = ("cosmic_ray", "snowball_core", "snowball_halo", "trail", "column_jump", "saturated")
PER_PIXEL = ("hot", "dead", "reference_pixel", "ghost", "persistence")


@dataclass(frozen=True)
class Exposure:
    """A raw ramp and its truth.

    Attributes
    ----------
    counts : ndarray of uint16, shape (ngroups, ny, nx)
        DN.
    truth : dict of str to ndarray
        ``rate``: the expected count rate in DN/s without dark current, shape (ny, nx): what a perfect ramp fit gives.
        ``deposits``: every pixel's share of every event, a structured array with frame (from 0), group (from 0), y,
        x, electrons and cause (`PER_GROUP`). Names of `PER_GROUP`: pixels that the cause affects first in that
        group (what comes between two frames of a group is seen in part there and in full in the next; `deposits` has
        the frame), or in every group that is saturated; by `packed`, shape (ngroups, ny, ceil(nx/8)). Names of
        `PER_PIXEL`: the same for all groups, shape (ny, ceil(nx/8)).
    """

    counts: NDArray[np.uint16]
    truth: dict[str, NDArray]

    def mask(self, name: str) -> NDArray[np.bool_]:
        """One of the truth's maps, unpacked."""
        return unpacked(self.truth[name], self.counts.shape[-1])


def packed(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Eight pixels of a row per byte, the first in the highest bit."""
    return np.packbits(mask, axis=-1)


def unpacked(bits: NDArray[np.uint8], nx: int) -> NDArray[np.bool_]:
    """The inverse of `packed`."""
    return np.unpackbits(bits, axis=-1, count=nx).astype(bool)


@dataclass(frozen=True)
class Previous:
    """An earlier exposure that may persist: its fluence in DN, shape (ny, nx), and s from its end to this reset."""

    fluence: Array
    delay_s: float


def expose(
    rate_dn_s: Array,
    detector: Detector,
    readout: Readout,
    effects: fx.Effects,
    rng_for: Generators,
    *,
    filter: str,
    grism: str | None = None,
    bright: Sequence[tuple[float, float, float]] = (),
    previous: Previous | None = None,
) -> Exposure:
    """Expose the detector to light.

    Parameters
    ----------
    rate_dn_s : ndarray, shape (ny, nx)
        Noiseless light including the sky, in DN/s of a pixel of response 1.
    detector : Detector
    readout : Readout
    effects : Effects
    rng_for : callable
        Generator of a name. Each effect draws from its own, so that switching one leaves the others' numbers alone.
    filter : str
    grism : str, optional
    bright : sequence of (x, y, rate)
        Sources that make ghosts: 0-based pixels of the frame and DN/s (`effects.ghosts`).
    previous : Previous, optional

    Raises
    ------
    ValueError
        If the light has another shape than the detector, or is negative or not finite somewhere.
    """
    if rate_dn_s.shape != detector.frame.shape:
        raise ValueError(f"light of shape {rate_dn_s.shape} on a detector of shape {detector.frame.shape}")
    if not np.all(rate_dn_s >= 0) or not np.all(np.isfinite(rate_dn_s)):
        raise ValueError("light is negative or not finite")
    light, ghost = _light(rate_dn_s, detector, effects, rng_for, filter, grism, bright)
    frames = readout.ngroups * readout.nframes
    events = _events(detector, effects, frames, readout.frame_time(detector.frame), rng_for)
    jumps = _jumps(detector, effects, frames, readout.frame_time(detector.frame), rng_for)
    persists = _persists(detector, effects, frames * readout.frame_time(detector.frame), previous)
    counts, saturated = _read(light, detector, readout, effects, rng_for, events, jumps, persists)

    shape, n = counts.shape, readout.nframes
    truth = {"rate": light.astype(np.float32), "deposits": _table(events, n), "saturated": saturated}
    for name, event in events.items():
        cube = np.zeros(shape, bool)
        seen = event.electrons >= fx.TRACE
        cube[event.frame[seen] // n, event.y[seen], event.x[seen]] = True
        truth[name] = packed(cube)
    cube = np.zeros(shape, bool)
    cube[jumps[0] // n, jumps[1]] = True
    truth["column_jump"] = packed(cube)
    seconds = readout.frame_time(detector.frame) * frames
    off = np.zeros(shape[1:], bool)
    truth |= {
        "hot": packed(detector.hot if effects.hot_pixels and effects.dark else off),
        "dead": packed(detector.dead if effects.dead_pixels else off),
        "reference_pixel": packed(detector.reference_pixel if effects.reference_pixels else off),
        "ghost": packed(ghost * detector.gain * seconds >= fx.TRACE),
        "persistence": packed(off if persists is None else persists.total * detector.gain >= fx.TRACE),
    }
    return Exposure(counts, truth)


def _blind(detector: Detector, effects: fx.Effects) -> NDArray[np.bool_]:
    """Pixels that collect nothing."""
    blind = np.zeros(detector.frame.shape, bool)
    if effects.dead_pixels:
        blind |= detector.dead
    if effects.reference_pixels:
        blind |= detector.reference_pixel
    return blind


def _light(
    rate: Array, detector: Detector, effects: fx.Effects, rng_for: Generators, filter: str, grism: str | None,
    bright: Sequence[tuple[float, float, float]],
) -> tuple[Array, Array]:  # fmt: skip
    """Expected DN/s of each pixel without dark current, and that of the ghosts alone."""
    light, ghost = rate.astype(float), np.zeros(rate.shape)
    if effects.ghost is not None and bright:
        ghost = fx.ghosts(effects.ghost, detector.frame, bright, filter, grism=grism is not None)
        light += ghost
    if effects.scattered is not None:
        light += fx.scattered_light(effects.scattered, rate.shape, rng_for("scattered"))
    if effects.flat:
        light *= detector.flat[filter]
    light[_blind(detector, effects)] = 0
    return light, ghost


def _events(
    detector: Detector, effects: fx.Effects, frames: int, seconds: float, rng_for: Generators
) -> dict[str, hits.Deposits]:
    """Charge that arrives at once, by cause; none in pixels that collect nothing."""
    shape = detector.frame.shape
    events = {name: hits.Deposits.none() for name in PER_GROUP[:4]}
    if effects.cosmic_rays is not None:
        rays = hits.cosmic_rays(effects.cosmic_rays, shape, frames, seconds, rng_for("cosmic_rays"))
        events["cosmic_ray"] = rays
    if effects.snowballs is not None:
        core, halo = hits.snowballs(effects.snowballs, shape, frames, seconds, rng_for("snowballs"))
        events |= {"snowball_core": core, "snowball_halo": halo}
    if effects.trail is not None:
        events["trail"] = hits.trail(effects.trail, shape, frames, rng_for("trail"))
    blind = _blind(detector, effects)
    out = {}
    for name, e in events.items():
        keep = ~blind[e.y, e.x]
        out[name] = hits.Deposits(e.frame[keep], e.y[keep], e.x[keep], e.electrons[keep])
    return out


def _jumps(
    detector: Detector, effects: fx.Effects, frames: int, seconds: float, rng_for: Generators
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    if effects.column_jumps is None or frames < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    return hits.column_jumps(effects.column_jumps, detector.frame.shape, frames, seconds, rng_for("column_jumps"))


@dataclass(frozen=True)
class _Persists:
    """DN that traps let go: `total` of the ramp, and the `part` of it between two times."""

    total: Array
    part: Callable[[float, float], float]


def _persists(detector: Detector, effects: fx.Effects, seconds: float, previous: Previous | None) -> _Persists | None:
    effect = effects.persistence
    if effect is None or previous is None:
        return None
    well = (detector.saturation - detector.bias).astype(float)
    total = fx.persistence(previous.fluence, previous.delay_s, 0, seconds, well, effect)
    total[_blind(detector, effects)] = 0

    # all pixels decay alike, so that one number per frame will do
    def let_go(start: float, stop: float) -> float:
        return float(fx.persistence(1.0, previous.delay_s, start, stop, 1.0, effect))

    whole = let_go(0, seconds)
    if whole <= 0:  # days later, nothing is left
        return None
    return _Persists(total, lambda start, stop: let_go(start, stop) / whole)


def _read(
    light: Array, detector: Detector, readout: Readout, effects: fx.Effects, rng_for: Generators,
    events: Mapping[str, hits.Deposits], jumps: tuple[NDArray, NDArray, Array], persists: _Persists | None,
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:  # fmt: skip
    """Accumulate charge, and read it: raw counts, and packed saturated pixels of each group."""
    frame, n, gain = detector.frame, readout.nframes, detector.gain
    seconds = readout.frame_time(frame)
    bias = detector.bias if effects.superbias else np.full(frame.shape, np.median(detector.bias), np.float32)
    level = bias + (detector.saturation - detector.bias)
    ceiling = np.minimum(level + PLATEAU * (level - bias), ADC_MAX)
    per_frame = (light + _dark(detector, effects)) * gain * seconds
    photons, reads, drifts = rng_for("photon_noise"), rng_for("read_noise"), rng_for("flicker")

    charge = np.zeros(frame.shape, np.float32)
    offset = np.zeros((frame.ny, 1), np.float32)
    counts = np.empty((readout.ngroups, *frame.shape), np.uint16)
    saturated = np.empty((readout.ngroups, frame.ny, -(-frame.nx // 8)), np.uint8)
    for group in range(readout.ngroups):
        total, full = np.zeros(frame.shape, np.float32), np.zeros(frame.shape, bool)
        for i in range(group * n, (group + 1) * n):
            expected = per_frame
            if persists is not None:
                expected = per_frame + persists.total * gain * persists.part(i * seconds, (i + 1) * seconds)
            charge += photons.poisson(expected) if effects.photon_noise else expected
            for event in events.values():
                now = slice(*np.searchsorted(event.frame, [i, i + 1]))
                charge[event.y[now], event.x[now]] += event.electrons[now]
            np.add.at(offset[:, 0], jumps[1][jumps[0] == i], jumps[2][jumps[0] == i])
            signal = charge / gain
            if effects.nonlinearity:
                signal = read_out(signal, detector.linearity)
            signal += bias
            if effects.saturation:
                full |= signal >= level
                np.minimum(signal, ceiling, out=signal)
            total += signal
            total += offset
        total /= n
        if effects.read_noise:
            noise = reads.standard_normal(frame.shape, dtype=np.float32)
            total += noise * detector.read_noise / np.float32(np.sqrt(n))
        if effects.flicker is not None:
            total += fx.flicker(effects.flicker, frame, drifts) / gain / np.sqrt(n)
        counts[group] = np.clip(np.rint(total), 0, ADC_MAX).astype(np.uint16)
        saturated[group] = packed(full)
    return counts, saturated


def _dark(detector: Detector, effects: fx.Effects) -> NDArray:
    """DN/s. Without hot pixels, their place is taken by ordinary ones."""
    if not effects.dark:
        return np.zeros(detector.frame.shape)
    dark = detector.dark.astype(float)
    if not effects.hot_pixels:
        dark[detector.hot] = np.median(dark)
    dark[_blind(detector, effects)] = 0
    return dark


def _table(events: Mapping[str, hits.Deposits], nframes: int) -> NDArray:
    """All events' pixels in one structured array."""
    columns = [("frame", "i2"), ("group", "i2"), ("y", "i2"), ("x", "i2"), ("electrons", "f4"), ("cause", "S13")]
    parts = []
    for name, e in events.items():
        part = np.zeros(len(e.frame), columns)
        part["frame"], part["group"], part["y"], part["x"] = e.frame, e.frame // nframes, e.y, e.x
        part["electrons"], part["cause"] = e.electrons, name.encode()
        parts.append(part)
    return np.concatenate(parts)


def write_truth(
    path: Path, exposure: Exposure, lineage: "Lineage", keywords: Mapping[str, tuple[Any, str]] | None = None
) -> None:
    """Write an exposure's truth: RATE, DEPOSITS, and one packed map per cause, named after it.

    Parameters
    ----------
    path : Path
    exposure : Exposure
    lineage : Lineage
    keywords : mapping of str to (value, comment), optional
        More of the truth, for the primary header.
    """
    from astropy.io import fits

    from ..io import write_fits

    ngroups, ny, nx = exposure.counts.shape
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header["SIMULATD"] = (True, "simulated: no telescope has seen this")
    hdus[0].header.update(keywords or {})
    hdus[0].header["NGROUPS"], hdus[0].header["NX"], hdus[0].header["NY"] = ngroups, nx, ny
    for name, value in exposure.truth.items():
        if name == "deposits":
            hdus.append(fits.BinTableHDU(value, name="DEPOSITS"))
            continue
        hdu = fits.ImageHDU(value, name=name.upper())
        if name == "rate":
            hdu.header["BUNIT"] = "DN/s"
        else:
            hdu.header["PACKED"] = (True, "8 pixels per byte, first in highest bit")
        hdus.append(hdu)
    write_fits(path, hdus, lineage)


def read_truth(path: Path) -> dict[str, NDArray]:
    """Read what `write_truth` wrote, maps unpacked: bool, shape (ngroups, ny, nx) or (ny, nx)."""
    from ..io import open_fits

    hdus = open_fits(path, extensions=("RATE", "DEPOSITS"))
    nx = hdus[0].header["NX"]
    return {
        hdu.name.lower(): unpacked(hdu.data, nx) if hdu.header.get("PACKED") else np.asarray(hdu.data)
        for hdu in hdus[1:]
    }
