"""1/f noise of the readout, taken out of the groups of a ramp.

Groups have independent noise and share one image. What their stripes do to the slopes is therefore one time series per
amplifier, the slope of the noise against time, and only this one has to be told apart from the sky, on pixels without
sources. All the rest, what bends the ramps, shows in every pixel, sources included; and it tells how strong the noise
is at which frequency. With that spectrum as the prior, stripes are estimated as the mean of a Gaussian process given
the pixels, jointly with the sky, which is templates and something smooth (`smooth_sky`): where few pixels are free of
sources, the estimate leans on neighbours in time and on the other amplifiers, or shrinks towards zero, and no noise is
put in.

It belongs behind the corrections of bias, reference pixels, linearity and dark current, behind that of column jumps,
and before slopes are fitted, because hits leave pixels with some groups only, and each group has stripes of its own. It
needs no flags of jumps: steps unlike the others of their pixel are left out. Before jumps are looked for, it saves
false ones where the noise is strong, because stripes move all pixels of a line towards the threshold; behind, the halos
of large hits, which no clipping finds, are not taken for sky: that is where detector1 has it.

What is never changed: the mean of the image, and what all lines have in common. Offsets between amplifiers are the
reference pixels' to remove.

That sources are masked and the sky is modelled before stripes are measured on differences of groups is an old idea, of
grizli (Brammer) and of jwst's clean_flicker_noise among others.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .noise_stream import Array, Image, Layout, Mask, Spectrum, Stream, expectation, fit_spectrum
from .smooth_sky import Sky, spread

__all__ = ["Cleaned", "Layout", "clean", "source_mask"]

DO_NOT_USE, SATURATED, JUMP = 1, 2, 4
"""JWST's group flags: the first two spoil a sample, the last one the step that leads to it."""

SYSTEMATIC = 0.01
"""Of a pixel's signal per group: what is left of nonlinearity and the like. It keeps bright pixels out."""

BOXES = (3, 7, 17, 41)
"""Pixels, sides of the boxes in which sources are looked for."""

TRACES = ((3, 0), (3, 0.25), (3, 1), (9, 1), (41, 1))
"""The same in dispersed images: pixels across the dispersion, and lengths of a trace along it."""

GROW = 0.3
"""Part of the threshold above which a source's surroundings belong to it."""

UNEVEN = (0.01, 0.1)
"""Standard deviation of what is smooth and in no template, over the level of the sky: in direct images with a template,
the flat field, and in all others. A tenth is what scattered light brings to the simulated dispersed sky."""

PASSES = 3
"""Of masking sources, and fitting the sky and the stripes."""

OUTLYING = 2.5
"""Standard deviations from which on a cell counts less: sources that are too faint to be masked."""


@dataclass(frozen=True)
class Cleaned:
    """What `clean` found and did.

    Attributes
    ----------
    rate : ndarray of float32, shape (ny, nx)
        Cleaned draft rate image, DN/s; NaN where there is none.
    sources : ndarray of bool, shape (ny, nx)
        Sources and traces: the stripes of the rate were taken from other pixels.
    stripes : ndarray of float32, shape (ny, nx)
        What was taken out of the rate, DN/s.
    amplitudes : ndarray, shape (k,)
        Factors of the sky's templates and polynomials, DN/s per unit of the template.
    masked : float
        Fraction of the good pixels masked as sources.
    rms_before, rms_after : float
        DN/s, of the stripes: means over the unmasked pixels of each line of each amplifier, sky subtracted, weighted by
        the number of pixels. Afterwards it is below `floor`, because noise of these pixels went with the stripes.
    floor : float
        DN/s, what the pixels' noise alone makes of these.
    flicker : float
        DN, rms of the noise found in one group, periods below two cells left out.
    slope : float
        Of the noise's power spectrum, f^-slope.
    """

    rate: Image
    sources: Mask
    stripes: Image
    amplitudes: Array
    masked: float
    rms_before: float
    rms_after: float
    floor: float
    flicker: float
    slope: float


def clean(
    groups: Image, layout: Layout, *, group_time: float, gain: float, read_noise: float, bad: Mask,
    group_dq: NDArray[np.uint8] | None = None, templates: NDArray | None = None, dispersion_axis: int | None = None,
    uneven: float | None = None, clip: float = 5.0, threshold: float = 3.0, length: int = 80,
) -> Cleaned:  # fmt: skip
    """Take 1/f noise out of a ramp, in place.

    Parameters
    ----------
    groups : ndarray of float32, shape (ngroups, ny, nx)
        DN, of one integration, at equal times; changed in place.
    layout : Layout
    group_time : float
        s from one group to the next.
    gain : float
        e/DN.
    read_noise : float
        DN, of one group: that of one read over the root of the number of frames averaged.
    bad : ndarray of bool, shape (ny, nx)
        Pixels to leave out: dead, hot, reference. They are cleaned as the others are.
    group_dq : ndarray of uint8, shape (ngroups, ny, nx), optional
        JWST's group flags DO_NOT_USE (1), SATURATED (2) and JUMP_DET (4); others are ignored. Jumps need not be there.
    templates : ndarray, shape (k, ny, nx), optional
        What the sky looks like on the detector before the flat field is divided out, in any unit, 0 or NaN where
        unknown: the flat field for a direct image, the background reference images for a dispersed one.
    dispersion_axis : int, optional
        1 if light is dispersed along x, 2 if along y; none for direct images.
    uneven : float, optional
        How much of the sky may be smooth and in no template, standard deviation over level: by default 0.01 for direct
        images, and 0.1 for dispersed ones and where there are no templates.
    clip : float
        Standard deviations by which a step has to differ from the others of its pixel to be left out; it takes four
        groups to know.
    threshold : float
        Standard deviations above which a pixel of the smoothed rate belongs to a source.
    length : int
        Pixels, of a trace.

    Returns
    -------
    Cleaned

    Raises
    ------
    ValueError
        If there are fewer than two groups, or if amplifiers do not divide the fast axis.
    """
    if groups.ndim != 3 or len(groups) < 2:
        raise ValueError(f"groups of shape {groups.shape}: at least two groups are needed")
    stream = Stream((groups.shape[1], groups.shape[2]), layout)
    ramp = _Ramp(groups, group_dq, bad, gain, read_noise, clip, stream)
    spectrum = _unbend(ramp, stream)
    slope, part = ramp.slope()
    if uneven is None:
        uneven = UNEVEN[templates is None or dispersion_axis is not None]
    known = np.ones((1, *slope.shape)) if templates is None else np.nan_to_num(templates)
    sky = Sky.of(slope, part > 0, known.astype(np.float32), uneven, stream)
    fit = _of_slope(slope, part, sky, spectrum, float(np.sum(ramp.times**2)), stream,
                    (dispersion_axis, length, threshold))  # fmt: skip
    stripes = stream.image(fit.stripes)
    for group, time in zip(groups, ramp.times, strict=True):
        group -= np.float32(time) * stripes

    used = np.where(fit.used, part, 0)
    number = stream.by_line(stream.add(used))
    total = max(float(number.sum()), 1.0)

    def rms(image: Image) -> float:
        sums = stream.by_line(stream.add(used * image))
        return float(np.sqrt(np.sum(sums**2 / np.maximum(number, 1)) / total)) / group_time

    seconds = np.float32(group_time)
    return Cleaned(
        rate=np.where(part > 0, (slope - stripes) / seconds, np.float32(np.nan)),
        sources=fit.sources,
        stripes=stripes / seconds,
        amplitudes=fit.amplitudes / group_time,
        masked=float(np.mean(fit.sources[part > 0])) if (part > 0).any() else 0.0,
        rms_before=rms(slope - fit.sky),
        rms_after=rms(slope - fit.sky - stripes),
        floor=fit.sigma / group_time * float(np.sqrt((number > 0).sum() / total)),
        flicker=fit.spectrum.rms(stream.padded, layout.amplifiers),
        slope=fit.spectrum.slope,
    )


def source_mask(
    image: Image, bad: Mask, dispersion_axis: int | None = None, *, threshold: float = 3.0, length: int = 80
) -> Mask:
    """Sources and traces in a sky-subtracted image, from the image itself.

    The image is smoothed by boxes, from the size of a point source to that of a halo or, for dispersed images, to the
    length of a trace: what is too faint for its pixels shows in the sum of them. What lies above the threshold is kept
    with its surroundings above a part of it, within half a box: farther, a stripe that meets a source would be one.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Of even noise.
    bad : ndarray of bool, shape (ny, nx)
    dispersion_axis : int, optional
        1 if light is dispersed along x, 2 if along y; none for direct images.
    threshold : float
        Standard deviations of the smoothed image.
    length : int
        Pixels, of a trace.
    """
    boxes: list[tuple[float, float]] = [(size, size) for size in BOXES]
    if dispersion_axis is not None:
        boxes = [(across, along * length) for across, along in TRACES]
        if dispersion_axis == 2:
            boxes = [(along, across) for across, along in boxes]
    return _detected(image, ~bad, boxes, threshold)


def _detected(image: Image, good: Mask, boxes: list[tuple[float, float]], threshold: float) -> Mask:
    mask = np.zeros_like(good)
    if not good[::2, ::2].any():
        return mask
    sigma = spread(image[::2, ::2][good[::2, ::2]])
    # clipped, so that no pixel makes a source of its surroundings by itself
    flat = np.where(good, np.clip(image, -4 * sigma, 4 * sigma), 0).astype(np.float32)
    for box in boxes:
        size = [max(round(side), 3) for side in box]
        smooth = ndimage.uniform_filter(flat, size, mode="nearest")
        values = smooth[::2, ::2][good[::2, ::2]]
        smooth -= np.median(values)
        unit = spread(values)
        near = ndimage.maximum_filter(smooth > threshold * unit, size)
        mask |= near & (smooth > GROW * threshold * unit)
    return mask


class _Ramp:
    """A ramp's steps, which of them are good, and the slope that they make; signals in DN per group."""

    def __init__(
        self, groups: Image, dq: NDArray[np.uint8] | None, bad: Mask, gain: float, read_noise: float, clip: float,
        stream: Stream,
    ) -> None:  # fmt: skip
        number = np.arange(len(groups))
        self.groups, self.dq, self.times = groups, dq, number - number.mean()
        self.draft = self._draft()
        self.good = ~bad & np.isfinite(self.draft)
        light = np.where(self.good, np.maximum(self.draft, 0), 0)
        typical = float(np.median(light[::3, ::3][self.good[::3, ::3]])) if self.good[::3, ::3].any() else 0.0
        # noise of the sky's pixels, between groups
        self.covariance = read_noise**2 * np.eye(number.size) + typical / gain * np.minimum.outer(number, number)
        variance = 2 * read_noise**2 + light / gain + (SYSTEMATIC * light) ** 2
        self.relative = (2 * read_noise**2 + typical / gain) / variance
        self.limit = clip * np.sqrt(variance) if number.size > 3 else None
        self.whole = self.good.copy()
        self.moved: list[Mask] = []
        for step, valid in self._steps():
            moved = stream.moved(step - self.draft, valid & self.good)
            self.whole &= valid & ~moved
            self.moved.append(moved)

    def slope(self) -> tuple[Image, Image]:
        """The mean step, and the part of all steps' information that it holds; both 0 where there is none."""
        difference = np.diff(np.eye(self.times.size), axis=0)
        weights = np.linalg.solve(difference @ self.covariance @ difference.T, np.ones(self.times.size - 1))
        weights = (weights / weights.sum()).astype(np.float32)
        total, part = np.zeros_like(self.draft), np.zeros_like(self.draft)
        for weight, (step, valid) in zip(weights, self._steps(), strict=True):
            valid &= self.good
            np.add(total, weight * step, out=total, where=valid)
            part += weight * valid
        np.divide(total, part, out=total, where=part > 0)
        return total, part

    def _steps(self) -> Iterator[tuple[Image, Mask]]:
        """Each difference of neighbouring groups, and where it is good."""
        for k in range(1, self.times.size):
            step = self.groups[k] - self.groups[k - 1]
            with np.errstate(invalid="ignore"):
                valid = np.isfinite(step) if self.limit is None else np.abs(step - self.draft) <= self.limit
            if self.dq is not None:
                valid &= self.dq[k] & (DO_NOT_USE | SATURATED | JUMP) == 0
                valid &= self.dq[k - 1] & (DO_NOT_USE | SATURATED) == 0
            if k <= len(self.moved):
                valid &= ~self.moved[k - 1]
            yield step, valid

    def _draft(self) -> Image:
        """The mean of the steps without the largest and the smallest; NaN where none is good."""
        n = len(self.groups) - 1
        with np.errstate(invalid="ignore"):
            mean = (self.groups[-1] - self.groups[0]) / np.float32(n)
            if n >= 3:
                high, low = np.full_like(mean, -np.inf), np.full_like(mean, np.inf)
                for k in range(1, n + 1):
                    step = self.groups[k] - self.groups[k - 1]
                    np.maximum(high, step, out=high)
                    np.minimum(low, step, out=low)
                mean = (mean * np.float32(n) - high - low) / np.float32(n - 2)
        if self.dq is None:
            return mean
        # few pixels: the median of what is left of them
        y, x = np.nonzero((self.dq & (DO_NOT_USE | SATURATED)).any(axis=0))
        samples = self.groups[:, y, x].astype(float)
        samples[self.dq[:, y, x] & (DO_NOT_USE | SATURATED) != 0] = np.nan
        steps = np.sort(np.diff(samples, axis=0), axis=0)  # NaN comes last
        middle = np.maximum(np.isfinite(steps).sum(axis=0) - 1, 0) // 2
        mean[y, x] = np.take_along_axis(steps, middle[None], axis=0)[0]
        return mean


def _unbend(ramp: _Ramp, stream: Stream) -> Spectrum | None:
    """Take out what bends ramps, in place; the noise's spectrum, or None where there are only two groups."""
    n = ramp.times.size
    if n < 3:
        return None
    straight = np.stack([np.ones(n), ramp.times], axis=1)
    bent = np.linalg.qr(np.concatenate([straight, np.eye(n)], axis=1))[0][:, 2:]
    # combinations of groups that no straight ramp shows in, with independent noise
    variance, turn = np.linalg.eigh(bent.T @ ramp.covariance @ bent)
    modes = bent @ turn
    weight = np.where(ramp.whole, ramp.relative, 0)
    weights, buffer, totals = stream.add(weight), np.zeros_like(weight), []
    for group in ramp.groups:
        totals.append(stream.add(np.multiply(group, weight, out=buffer, where=ramp.whole)))
    means = np.stack(totals) / np.where(weights > 0, weights, 1)
    series = stream.without_rows(np.tensordot(modes.T, means, axes=1), keep_mean=True)
    inverse = weights / variance[:, None, None]
    spectrum = fit_spectrum(series, inverse, stream.length)
    roots = spectrum.roots(stream.padded, 1.0)
    found = np.stack([expectation(*one, roots)[0] for one in zip(series, inverse, strict=True)])
    for group, of_group in zip(ramp.groups, np.tensordot(modes, found, axes=1), strict=True):
        group -= stream.image(of_group)
    return spectrum


@dataclass(frozen=True)
class _Fit:
    """Stripes of the slope, the sky below them, and the pixels that they come from; in DN per group."""

    stripes: Array
    sky: Image
    sources: Mask
    used: Mask
    amplitudes: Array
    sigma: float
    spectrum: Spectrum


def _of_slope(
    slope: Image, part: Image, sky: Sky, spectrum: Spectrum | None, leverage: float, stream: Stream,
    detection: tuple[int | None, int, float],
) -> _Fit:  # fmt: skip
    """Find the sky and the stripes of the slope together, masking sources better and better.

    Lines that are all source have no say: their neighbours tell what to expect in them. Were they taken for stripes,
    traces along the lines would go with these, and the sky beside would be lifted for it, the mean being kept.

    `leverage` is the factor by which a slope's variance is smaller than a group's.
    """
    axis, length, threshold = detection
    good, amplitudes = sky.good, np.zeros_like(sky.deviation)
    first = background = sky.image(amplitudes)
    stripes, trust, found = np.zeros_like(slope), np.ones(1), None
    prior = spectrum or Spectrum(0.0, 0.0, 1.0)
    for turn in range(PASSES):
        rest = (slope - background - stripes) * np.sqrt(part)
        if turn:
            sources = source_mask(rest, ~good, axis, threshold=threshold, length=length)
        else:  # before any are found, stripes look like traces
            sources = _detected(rest, good, [(3, 3)], threshold)
        used = good & ~sources
        sigma = spread(rest[::2, ::2][used[::2, ::2]]) if used[::2, ::2].any() else 1.0
        weight = np.where(used, part, 0)
        number = stream.add(weight)
        light = sky.light(weight, number)
        cells = stream.add((slope - first) * weight) / np.where(number > 0, number, 1)
        weights = number / sigma**2 * trust
        if spectrum is None:
            prior = fit_spectrum((cells - light.cells(amplitudes))[None], weights[None] / leverage, stream.length)
        roots = prior.roots(stream.padded, 1 / leverage)
        noise, amplitudes, found = expectation(cells, weights, roots, light, found, close=1e-6)
        pull = np.abs(cells - light.cells(amplitudes) - noise) * np.sqrt(number) / sigma
        trust = 1 / np.maximum(1, pull / OUTLYING)
        series = stream.without_rows(noise, keep_mean=False)
        stripes, background = stream.image(series), sky.image(amplitudes)
    return _Fit(series, background, sources, used, sky.guess + amplitudes[: len(sky.guess), 0], sigma, prior)
