"""Many spectra in one FITS file, the hand-off between the steps of a chunk."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

SLITLET_EXTENSIONS = ("SCI", "ERR", "DQ", "WAVELENGTH")
"""What a calibrated slitlet must hold."""


def bundle(rows: list[dict[str, Any]], extracted: list[tuple[str, str, "HDUList"]]) -> "HDUList":
    """One FITS file of many spectra: STATUS, then every spectrum's extensions with SOURCE, GRATING and EXTVER."""
    from astropy.io import fits
    from astropy.table import Table

    # FITS strings are ASCII, and a table's cell is one line
    ascii_rows = [row | {"reason": plain_text(row["reason"])} for row in rows]
    status = fits.BinTableHDU(Table(rows=ascii_rows), name="STATUS")
    hdus = fits.HDUList([fits.PrimaryHDU(), status])
    for version, (source, grating, spectrum) in enumerate(extracted, start=1):
        for hdu in spectrum:
            hdu.header["SOURCE"] = (source, "source of this spectrum")
            hdu.header["GRATING"] = grating
            hdu.ver = version
            hdus.append(hdu)
    return hdus


def unbundle(hdus: "HDUList", source: str) -> list["HDUList"]:
    """The spectra of one source in a bundle, one HDUList per grating."""
    from astropy.io import fits

    versions: dict[int, list[Any]] = {}
    for hdu in hdus[2:]:
        if hdu.header["SOURCE"] == source:
            versions.setdefault(hdu.ver, []).append(hdu)
    return [fits.HDUList([fits.PrimaryHDU(), *members]) for members in versions.values()]


def plain_text(text: str) -> str:
    """`text` on one line, in ASCII."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()
