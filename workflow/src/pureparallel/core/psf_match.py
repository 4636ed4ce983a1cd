"""Kernels that make stars of one filter look like those of another."""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.float64]

PENALTY = 1e-5
"""On the kernel's curvature, relative to the power of the star that is convolved: the least that leaves no ringing."""


def kernel(star: Array, target: Array, penalty: float = PENALTY) -> Array:
    """The kernel that turns one image of a star into another (Boucaud et al. 2016, A&A 596, A63).

    Where the star has little power, division would bring out noise: a penalty on the kernel's Laplacian, of which there
    is more at high frequencies, takes over there.

    Parameters
    ----------
    star, target : ndarray, shape (2 h + 1, 2 h + 1)
        Centred.
    penalty : float

    Returns
    -------
    ndarray, shape (2 h + 1, 2 h + 1)
        Its sum is that of the target over that of the star.
    """
    side = star.shape[0]
    size = fft.next_fast_len(2 * side, real=True)
    moved = tuple(_transform(image, size) for image in (star, target))
    f = fft.fftfreq(size)
    laplacian = 4 - 2 * np.cos(2 * np.pi * f[:, None]) - 2 * np.cos(2 * np.pi * f[: size // 2 + 1])
    power = np.abs(moved[0]) ** 2
    ratio = np.conj(moved[0]) * moved[1] / (power + penalty * laplacian**2 * power[0, 0])
    whole = fft.fftshift(fft.irfft2(ratio, (size, size)))
    low = size // 2 - side // 2
    return whole[low : low + side, low : low + side]


def _transform(image: Array, size: int) -> NDArray[np.complex128]:
    padded = np.zeros((size, size))
    padded[: image.shape[0], : image.shape[1]] = image
    return fft.rfft2(np.roll(padded, [-(n // 2) for n in image.shape], (0, 1)))


def convolve(image: NDArray, kernel: Array, rows: int = 1024) -> NDArray[np.float32]:
    """An image convolved with a kernel, strip by strip: memory holds few transforms.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Finite.
    kernel : ndarray, shape (2 h + 1, 2 h + 1)
    rows : int
        Of a strip.
    """
    from scipy.signal import fftconvolve

    half = kernel.shape[0] // 2
    padded = np.pad(image, half)
    result = np.empty(image.shape, np.float32)
    for low in range(0, image.shape[0], rows):
        high = min(low + rows, image.shape[0])
        result[low:high] = fftconvolve(padded[low : high + 2 * half], kernel, mode="valid")
    return result
