"""Light of sources that a mosaic shows in part: what lies beyond its edge or in its holes, as another filter has it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float32]
Labels = NDArray[np.integer]

LEAST = 0.2
"""Of a source's light, what both mosaics must show for the rest to be taken from the other one."""


def fill(
    image: Image, error: Image, labels: Labels, others: Sequence[tuple[Image, Image]]
) -> tuple[Image, Image]:  # fmt: skip
    """Fill the gaps of segments with other filters' light, in the source's own colour.

    Parameters
    ----------
    image, error : ndarray, shape (ny, nx)
        NaN where nothing is known; not changed.
    labels : ndarray of int, shape (ny, nx)
        Segments; 0 where there is none.
    others : sequence of (image, error)
        Of other filters, the most alike first.

    Returns
    -------
    image, error : ndarray, shape (ny, nx)
    """
    lacking = np.unique(labels[~np.isfinite(image) & (labels > 0)])
    boxes = ndimage.find_objects(labels) if len(lacking) else []
    image, error = image.copy(), error.copy()
    for label in lacking:
        box = boxes[label - 1]
        mine, light, sigma = labels[box] == label, image[box], error[box]
        for other, other_error in others:
            there = mine & np.isfinite(other[box])
            gap, both = there & ~np.isfinite(light), there & np.isfinite(light)
            shared, total = other[box][both].sum(), other[box][there].sum()
            if gap.any() and shared > LEAST * total and total > 0 and light[both].sum() > 0:
                colour = light[both].sum() / shared
                light[gap], sigma[gap] = other[box][gap] * colour, other_error[box][gap] * colour
    return image, error
