"""Where a grism sends the light: the simulator's own evaluation of NIRISS's trace polynomials and sensitivities.

Nothing of the pipeline is used here, so that what the pipeline makes of simulated exposures is a test of it. The
convention is that of the GRISMCONF files (N. Pirzkal): the offset from the direct image is a polynomial of a parameter
t, whose coefficients are polynomials of the position in the direct image; the wavelength is linear in t.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .instrument import FWCPOS_REF

Array = NDArray[np.float64]

Key = tuple[str, str, int]
"""Grism, filter, order."""


@dataclass(frozen=True)
class Trace:
    """Polynomials of one order.

    Attributes
    ----------
    displ : ndarray, shape (2,)
        Wavelength in μm is ``displ[0] + displ[1] t``.
    dispx, dispy : ndarray, shape (3, 6)
        Offset in pixels: powers of t, each with the terms 1, x, y, x², xy, y².
    wave, sensitivity : ndarray, shape (n,)
        μm; DN/s per erg/s/cm²/Å, per Å of wavelength.
    """

    displ: Array
    dispx: Array
    dispy: Array
    wave: Array
    sensitivity: Array


@dataclass(frozen=True)
class Traces:
    """All orders of both grisms through all filters, read by `Traces.read`."""

    table: dict[Key, Trace]

    @classmethod
    def read(cls, path: Path) -> "Traces":
        """Read the trace configuration: the extensions TRACE and SENS, a row for each grism, filter and order."""
        from ..io import open_fits

        hdus = open_fits(path, extensions=("TRACE", "SENS"))
        sensitivities = {_key(row): row for row in hdus["SENS"].data}
        table = {}
        for row in hdus["TRACE"].data:
            key = _key(row)
            sens = sensitivities[key]
            table[key] = Trace(
                displ=np.array(row["displ"], float),
                dispx=np.array(row["dispx"], float),
                dispy=np.array(row["dispy"], float),
                wave=np.array(sens["wavelength"], float),
                sensitivity=np.array(sens["sensitivity"], float),
            )
        return cls(table)

    def orders(self, grism: str, filter: str) -> tuple[int, ...]:
        """Orders that are known for a grism and filter, ascending."""
        return tuple(sorted(order for g, f, order in self.table if (g, f) == (grism, filter)))

    def displace(
        self,
        grism: str,
        filter: str,
        order: int,
        x: ArrayLike,
        y: ArrayLike,
        wave_micron: ArrayLike,
        fwcpos: float | None = None,
    ) -> tuple[Array, Array]:
        """Offset of the light of a wavelength from its source's position in the direct image.

        Parameters
        ----------
        grism, filter : str
        order : int
            -1 to 3.
        x, y : array_like
            Position in the direct image, 0-based pixels of the subarray, as the pipeline evaluates the polynomials.
        wave_micron : array_like
            Broadcast against x and y.
        fwcpos : float, optional
            Position of the filter wheel, degrees; by default the one that the polynomials hold for. The grism turns
            with the wheel: from x towards y by the reference position minus this one.

        Returns
        -------
        dx, dy : ndarray
            Pixels.
        """
        trace = self._trace(grism, filter, order)
        x, y = np.asarray(x, float), np.asarray(y, float)
        t = self.parameter(grism, filter, order, wave_micron)
        dx, dy = _polynomial(trace.dispx, x, y, t), _polynomial(trace.dispy, x, y, t)
        if fwcpos is None or fwcpos == FWCPOS_REF[grism]:
            return dx, dy
        angle = np.deg2rad(FWCPOS_REF[grism] - fwcpos)
        return np.cos(angle) * dx - np.sin(angle) * dy, np.sin(angle) * dx + np.cos(angle) * dy

    def wavelength(self, grism: str, filter: str, order: int, t: ArrayLike) -> Array:
        """Wavelength in μm at the parameter t of the trace."""
        displ = self._trace(grism, filter, order).displ
        return displ[0] + displ[1] * np.asarray(t, float)

    def parameter(self, grism: str, filter: str, order: int, wave_micron: ArrayLike) -> Array:
        """Parameter t of the trace at a wavelength in μm; the inverse of `wavelength`."""
        displ = self._trace(grism, filter, order).displ
        return (np.asarray(wave_micron, float) - displ[0]) / displ[1]

    def sensitivity(self, grism: str, filter: str, order: int, wave_micron: ArrayLike) -> Array:
        """DN/s per erg/s/cm²/Å, per Å of wavelength; the table's value between its points, 0 outside of it.

        The flux of a line (erg/s/cm²) times this is its rate in DN/s, summed over all pixels.
        """
        trace = self._trace(grism, filter, order)
        return np.interp(np.asarray(wave_micron, float), trace.wave, trace.sensitivity, left=0.0, right=0.0)

    def _trace(self, grism: str, filter: str, order: int) -> Trace:
        try:
            return self.table[grism, filter, order]
        except KeyError as error:
            raise ValueError(f"no trace of order {order} for {grism} and {filter}") from error


def _key(row: np.void) -> Key:
    return str(row["grism"]).strip(), str(row["filter"]).strip(), int(row["order"])


def _polynomial(coefficients: Array, x: Array, y: Array, t: Array) -> Array:
    """Sum over powers of t of polynomials in x and y; all broadcast."""
    total = np.zeros(())
    for c in coefficients[::-1]:
        total = total * t + (c[0] + (c[1] + c[3] * x + c[4] * y) * x + (c[2] + c[5] * y) * y)
    return total
