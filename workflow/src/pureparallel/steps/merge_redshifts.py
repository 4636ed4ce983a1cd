"""Gather a field's chunks into its redshift table and one spectrum file per source."""

import html
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import UserError, io, log, names, page
from ..core.catalogue import summary
from ..provenance import Lineage
from ..spectra import unbundle

if TYPE_CHECKING:
    from astropy.io.fits import HDUList
    from astropy.table import Row, Table


def merge_redshifts(
    *,
    field: str,
    spectra: list[Path],
    redshifts: list[Path],
    table: Path,
    folder: Path,
    overview: Path,
    metrics: Path,
    max_failed_fraction: float = 0.2,
) -> None:
    """Merge all chunks of a field.

    Parameters
    ----------
    field : str
        Name of the field.
    spectra : list of Path
        Inputs: the chunks' spectra, in order.
    redshifts : list of Path
        Inputs: the chunks' redshifts, in the same order.
    table : Path
        Output: FITS with REDSHIFTS (a row per source), ZGRID and PZ.
    folder : Path
        Output: folder of <field>_<source>_spec.fits, each with its sidecar.
    overview : Path
        Output: the table as an HTML page.
    metrics : Path
        Output: JSON.
    max_failed_fraction : float
        Fraction of failed sources above which this step fails and lists them.
    """
    from astropy.io import fits
    from astropy.table import Table, vstack

    logger = log.of("merge_redshifts")
    lineage = Lineage.of("merge_redshifts", [*spectra, *redshifts], max_failed_fraction=max_failed_fraction)
    chunks = [io.open_fits(path, extensions=("REDSHIFTS", "ZGRID", "PZ")) for path in redshifts]
    merged = vstack(
        [Table.read(chunk["REDSHIFTS"], mask_invalid=False) for chunk in chunks], metadata_conflicts="silent"
    )
    refuse_failures(merged, max_failed_fraction, field)

    with io.atomic_directory(folder) as part:
        for path, chunk_path, chunk in zip(spectra, redshifts, chunks, strict=True):
            bundle = io.open_fits(path, extensions=("STATUS",))
            made_from = Lineage.of("merge_redshifts", [path, chunk_path])
            for source in chunk["REDSHIFTS"].data["id"]:
                one = spectrum(bundle, chunk, str(source), field)
                if one is not None:
                    io.write_fits(part / names.spectrum_file(field, str(source)), one, made_from)
    hdus = fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.BinTableHDU(merged, name="REDSHIFTS"),
            chunks[0]["ZGRID"].copy(),
            fits.ImageHDU(np.vstack([chunk["PZ"].data for chunk in chunks]), name="PZ"),
        ]
    )
    hdus[0].header["FIELD"] = field
    io.write_fits(table, hdus, lineage)
    io.write_text(overview, overview_page(field, merged))
    io.write_json(metrics, {"field": field, **summary(list(merged))})
    logger.info("%s: %d sources, %d with flag 3", field, len(merged), int(np.sum(merged["flag"] == 3)))


def refuse_failures(table: "Table", limit: float, field: str) -> None:
    """Raise UserError if more than the fraction `limit` of the sources failed, with their reasons."""
    failed = table[table["flag"] == 0]
    if len(failed) <= limit * len(table):
        return
    reasons = Counter(str(reason) for reason in failed["reason"])
    listed = "\n".join(f"  {count} x {reason}" for reason, count in reasons.most_common(10))
    raise UserError(
        f"field {field}: {len(failed)} of {len(table)} sources failed, more than max_failed_fraction: {limit} allows "
        f"(config/fields/{field}.yaml). Mend their inputs, take them out of the manifest or raise the limit:\n{listed}"
    )


def spectrum(bundle: "HDUList", chunk: "HDUList", source: str, field: str) -> "HDUList | None":
    """One source's spectra and models; None where there is no spectrum."""
    from astropy.io import fits

    spectra = unbundle(bundle, source)
    if not spectra:
        return None
    models = [hdu for hdu in chunk if hdu.name == "MODEL" and hdu.header["SOURCE"] == source]
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header["FIELD"], hdus[0].header["SOURCE"] = field, source
    for version, one in enumerate(spectra, start=1):
        grating = one[1].header["GRATING"]
        for hdu in [*one[1:], *(model for model in models if model.header["GRATING"] == grating)]:
            copied = hdu.copy()
            copied.ver = version
            hdus.append(copied)
    return hdus


def overview_page(field: str, table: "Table") -> str:
    """The redshift table as a self-contained HTML page."""
    columns = [
        "id",
        "RA",
        "Dec",
        "z",
        "z 16 %",
        "z 84 %",
        "flag",
        "χ²/ν",
        "2nd/1st peak",
        "detected lines (1e-18 erg/s/cm²)",
        "reason",
    ]
    rows = []
    for row in table:
        numbers = [f"{row['ra']:.6f}", f"{row['dec']:.6f}", f"{row['z']:.4f}"]
        numbers += [f"{row['z_low']:.4f}", f"{row['z_high']:.4f}", str(row["flag"])]
        numbers += [f"{row['chi2_dof']:.2f}", f"{row['peak_ratio']:.1e}"]
        rows.append([str(row["id"]), *numbers, detected(row), str(row["reason"])])
    count = f"{len(table)} source{'s' if len(table) != 1 else ''}"
    text = f"{count}. Flags: 3 two or more lines, 2 one line and photometry, 1 less, 0 failed."
    return page.document(f"{field}: redshifts", f"<p>{html.escape(text)}</p>" + page.table(columns, rows))


def detected(row: "Row") -> str:
    """Lines at S/N >= 3 with their fluxes, strongest first."""
    found: list[tuple[float, str]] = []
    for name in row.colnames:
        flux: Any = row[name]
        if name.startswith("flux_") and not name.startswith("flux_err_") and np.isfinite(flux):
            err = row["flux_err_" + name.removeprefix("flux_")]
            if flux >= 3 * err:
                found.append((flux, f"{name.removeprefix('flux_')} {flux * 1e18:.2f} ± {err * 1e18:.2f}"))
    return ", ".join(text for _, text in sorted(found, reverse=True))
