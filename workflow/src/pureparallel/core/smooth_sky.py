"""The sky behind a detector's stripes: templates, and what is smooth and in none of them.

Nobody has a template of all light: what is scattered on its way makes broad patterns, other ones in each exposure. They
are smooth, and faint beside the rest of the sky. No more than that is asked of them here: they are a draw of a Gaussian
process, whose correlation length is that of a good part of the detector. From stripes they are told by both, being
neither rough across the read-out lines nor the same all along them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .noise_stream import Array, Image, Light, Mask, Stream

SMOOTH = 500.0
"""Pixels, the correlation length of what is not in the templates: its correlation falls to 1/√e within it."""

SHORTEST = 4.0
"""The largest wave number, rad per correlation length: waves beyond have less than e^-8 of the longest ones' power."""

MARGIN = 1.5
"""Correlation lengths by which the axes of the waves are longer than the detector's, at each end."""

FREE = 10.0
"""Standard deviation of a template's amplitude over that of all the sky: none knows it."""


@dataclass(frozen=True)
class Sky:
    """What the sky may look like: products of an image and of a factor for each line, by their likely amplitudes.

    Attributes
    ----------
    good : ndarray of bool, shape (ny, nx)
        Pixels whose sky can be told.
    templates : ndarray, shape (k, ny, nx)
    guess : ndarray, shape (k,)
        First amplitudes of the templates; all else that is found is added to them.
    along, across : ndarray, shape (i, pixels of the fast axis) and (j, lines)
        Cosines along the read-out lines and across them.
    deviation : ndarray, shape (k + i, j)
        Standard deviations of the amplitudes of the products of a template or of a wave along lines with one across.
        Templates do not change from line to line: theirs is with the first wave, which is constant.
    """

    stream: Stream
    good: Mask
    templates: Image
    guess: Array
    along: Array
    across: Array
    deviation: Array

    @classmethod
    def of(cls, slope: Image, good: Mask, templates: Image, uneven: float, stream: Stream) -> "Sky":
        """The sky of an image.

        Parameters
        ----------
        slope : ndarray, shape (ny, nx)
        good : ndarray of bool, shape (ny, nx)
        templates : ndarray, shape (k, ny, nx)
            0 where unknown.
        uneven : float
            Standard deviation of what is smooth and not in the templates, over the level of the sky.
        stream : Stream
        """
        good = good & templates.any(axis=0)
        guess = _first_guess(slope, good, templates)
        seen = templates[:, ::3, ::3][:, good[::3, ::3]]
        level = float(np.median(np.abs(guess @ seen))) if seen.size else 0.0
        (along, slow), (across, fast) = (_cosines(n) for n in (stream.fast, stream.lines))
        square = np.add.outer(slow**2, fast**2)
        # of unit variance; a cosine that is not constant has half the mean square
        pairs = np.multiply.outer(*(np.where(number > 0, 2, 1) for number in (slow, fast)))
        power = pairs * 2 * np.pi / np.prod(np.divide(slope.shape, SMOOTH) + 2 * MARGIN) * np.exp(-square / 2)
        waves = uneven * level * np.sqrt(np.where(square < SHORTEST**2, power, 0))
        free = np.zeros((len(templates), len(across)))
        free[:, 0] = FREE * level / np.maximum(np.mean(np.abs(seen), axis=1), 1e-6) if seen.size else 0.0
        return cls(stream, good, templates, guess, along, across, np.concatenate([free, waves]))

    def light(self, weight: Image, number: Array) -> Light:
        """What cells see of it.

        Parameters
        ----------
        weight : ndarray, shape (ny, nx)
            Of the pixels; 0 for those that are not used.
        number : ndarray, shape (amplifiers, padded)
            Sums of them.
        """
        waves = (self.stream.upright(wave[:, None]) for wave in self.along.astype(np.float32))
        rows = np.stack([self.stream.add(weight * image) for image in (*self.templates, *waves)])
        return Light(rows / np.where(number > 0, number, 1), self.stream.of_lines(self.across), self.deviation)

    def image(self, amplitudes: Array) -> Image:
        """The sky that amplitudes of shape (k + i, j) make, shape (ny, nx)."""
        known = len(self.templates)
        templates = np.tensordot((self.guess + amplitudes[:known, 0]).astype(np.float32), self.templates, axes=1)
        smooth = (self.along.T @ amplitudes[known:]).astype(np.float32) @ self.across.astype(np.float32)
        return templates + self.stream.upright(smooth)


def _first_guess(slope: Image, good: Mask, templates: Image) -> Array:
    """Amplitudes of templates by least squares, sources clipped."""
    pixels = good[::3, ::3]
    design, values = templates[:, ::3, ::3][:, pixels].T.astype(float), slope[::3, ::3][pixels]
    found, keep = np.zeros(len(templates)), np.ones(len(values), bool)
    for _ in range(6):
        if not keep.any():
            break
        found = np.linalg.lstsq(design[keep], values[keep], rcond=None)[0]
        rest = values - design @ found
        keep = np.abs(rest - np.median(rest[keep])) <= 2.5 * spread(rest[keep])
    return found


def spread(values: NDArray) -> float:
    """Standard deviation, from the lower half, which sources leave alone."""
    low, middle = np.quantile(values, [0.159, 0.5])
    return float(middle - low)


def _cosines(n: int) -> tuple[Array, Array]:
    """Cosines over n pixels, shape (i, n), and their wave numbers in rad per correlation length.

    They are those of an axis that is longer, so that all of them being level at its ends does not show.
    """
    length = n + 2 * MARGIN * SMOOTH
    number = np.arange(int(SHORTEST / SMOOTH * length / np.pi) + 1, dtype=float) * (np.pi / length)
    return np.cos(np.outer(number, np.arange(n) + MARGIN * SMOOTH + 0.5)), number * SMOOTH
