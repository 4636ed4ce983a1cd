"""Combine a chunk of sources' NIRSpec slitlets into 2-D and optimally extracted 1-D spectra, with msaexp."""

import logging
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import UserError, io, log, names
from ..provenance import Lineage
from ..spectra import SLITLET_EXTENSIONS, bundle

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

PRODUCTS = ("SPEC1D", "SCI", "WHT", "PROFILE", "PROF1D", "BACKGROUND", "SLITS")
"""Extensions of an msaexp spectrum that are kept, in this order."""


def msa_extract(
    *,
    slitlets: list[Path],
    spectra: Path,
    metrics: Path,
    gratings: list[str],
    nod_background: bool = True,
    undo_pathloss: bool = True,
    undo_barshadow: bool = True,
    wave_sample: float = 1.05,
    cross_pixels: int = 13,
    pixfrac: float = 0.8,
) -> None:
    """Extract the spectra of all sources whose slitlets are given.

    Parameters
    ----------
    slitlets : list of Path
        Calibrated slitlets, named <exposure>_phot.<slitlet>.<source>.fits.
    spectra : Path
        Output: one FITS file with a STATUS table (a row per source, failed ones with their reason) and, per source
        and grating, the extensions of an msaexp spectrum with SOURCE and GRATING in their headers.
    metrics : Path
        Output: JSON.
    gratings : list of str
        Gratings to combine.
    nod_background : bool
        Subtract the other nod positions as background.
    undo_pathloss : bool
        Replace the pipeline's path-loss correction by that of the fitted profile.
    undo_barshadow : bool
        Replace the pipeline's bar-shadow correction by msaexp's.
    wave_sample : float
        Width of an output wavelength bin, in detector pixels.
    cross_pixels : int
        Half-height of the output 2-D spectrum in pixels.
    pixfrac : float
        Drizzle drop size.
    """
    logger = log.of("msa_extract")
    groups: dict[str, list[Path]] = {}
    for path in slitlets:
        groups.setdefault(names.parse_slitlet(path)[2], []).append(path)
    options = {
        "gratings": gratings,
        "nod_background": nod_background,
        "undo_pathloss": undo_pathloss,
        "undo_barshadow": undo_barshadow,
        "wave_sample": wave_sample,
        "cross_pixels": cross_pixels,
        "pixfrac": pixfrac,
    }
    lineage = Lineage.of("msa_extract", slitlets, **options)
    rows, extracted = [], []
    for i, (source, files) in enumerate(groups.items(), start=1):
        log.progress(logger, i, len(groups), source)
        row, found = attempt(source, files, options, logger)
        rows.append(row)
        extracted += [(source, grating, hdus) for grating, hdus in found.items()]
    io.write_fits(spectra, bundle(rows, extracted), lineage)
    failed = [row for row in rows if row["reason"]]
    io.write_json(
        metrics,
        {
            "sources": len(rows),
            "failed": {row["source"]: row["reason"] for row in failed},
            "slitlets": len(slitlets),
            "spectra": len(extracted),
        },
    )


def attempt(
    source: str, files: list[Path], options: dict[str, Any], logger: logging.Logger
) -> tuple[dict[str, Any], dict[str, "HDUList"]]:
    """Extract one source; whatever goes wrong with it becomes the reason in its row.

    Returns
    -------
    row : dict
        ``source, ra, dec, slitlets, reason``; the reason is empty where all went well.
    spectra : dict of HDUList
        By grating.
    """
    row = {"source": source, "ra": float("nan"), "dec": float("nan"), "slitlets": len(files), "reason": ""}
    found: dict[str, HDUList] = {}
    try:
        good = 0
        for path in files:
            science = io.open_fits(path, instrument="NIRSPEC", extensions=SLITLET_EXTENSIONS)["SCI"]
            good += int(np.isfinite(science.data).sum())
            for key, keyword in (("ra", "SRCRA"), ("dec", "SRCDEC")):
                if isinstance(science.header.get(keyword), (int, float)):
                    row[key] = float(science.header[keyword])
        if not good:
            raise UserError("all pixels of all slitlets are NaN")
        found = extract(source, files, options)
        if not found:
            row["reason"] = "msaexp finds no valid spectrum (one nod position only, or too few valid pixels)"
    except UserError as error:
        row["reason"] = str(error)
    except Exception as error:
        logger.warning("%s failed:\n%s", source, traceback.format_exc())
        row["reason"] = f"msaexp: {type(error).__name__}: {error}"
    if row["reason"]:
        logger.warning("%s: %s", source, row["reason"])
    return row, found


def extract(source: str, files: list[Path], options: dict[str, Any]) -> dict[str, "HDUList"]:
    """Spectra of one source by grating, from msaexp; what it writes by the way goes to a temporary folder."""
    import matplotlib.pyplot as plt
    from astropy.io import fits
    from msaexp import slit_combine

    with tempfile.TemporaryDirectory() as folder:
        combined = slit_combine.extract_spectra(
            target=source,
            root=str(Path(folder) / "msa"),
            files=[str(path) for path in files],
            do_gratings=list(options["gratings"]),
            join=[0, 3, 5],  # of the names' parts: visit, detector, slitlet
            diffs=options["nod_background"],
            undo_pathloss=options["undo_pathloss"],
            undo_barshadow=2 if options["undo_barshadow"] else False,
            drizzle_kws={
                "step": 1,
                "with_pathloss": options["undo_pathloss"],
                "wave_sample": options["wave_sample"],
                "ny": options["cross_pixels"],
                "dkws": {"oversample": 16, "pixfrac": options["pixfrac"]},
            },
            trace_with_ypos=options["nod_background"],
            get_xobj=False,
            make_2d_plots=False,
            protect_exception=False,
        )
        plt.close("all")
        return {
            hdus["SPEC1D"].header["GRATING"]: fits.HDUList([hdus[k].copy() for k in PRODUCTS if k in hdus])
            for hdus in (combined or {}).values()
        }
