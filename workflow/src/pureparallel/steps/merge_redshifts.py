"""Gather a field's chunks into its redshift table and one spectrum file per source."""

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from .. import UserError, io, log, names, page, slitless_spectra, slitless_stacks
from ..core.catalogue import rebinned, summary
from ..core.redshift import Array, log_grid
from ..provenance import Lineage
from ..slitless_stacks import Stacks
from ..spectra import unbundle

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, ImageHDU
    from astropy.table import Row, Table


def merge_redshifts(
    *,
    field: str,
    spectra: list[Path],
    redshifts: list[Path],
    stacks: list[Path] | None = None,
    photometry: Path | None = None,
    table: Path,
    folder: Path,
    overview: Path,
    metrics: Path,
    max_failed_fraction: float = 0.2,
) -> None:
    """Merge all chunks of a field, of slitless sources and of NIRSpec's.

    Parameters
    ----------
    field : str
        Name of the field.
    spectra : list of Path
        Inputs: the chunks' spectra, from stack or msa_extract, in order.
    redshifts : list of Path
        Inputs: the chunks' redshifts, in the same order.
    stacks : list of Path
        Inputs: the 2-D spectra of the chunks of slitless sources, in the same order. Optional.
    photometry : Path
        Input: photometry of the slitless sources, whose magnitudes join the table. Optional.
    table : Path
        Output: FITS with REDSHIFTS (a row per source), ZGRID and PZ.
    folder : Path
        Output: folder of <field>_<source>_spec.fits, each with its sidecar.
    overview : Path
        Output: the table as an HTML page.
    metrics : Path
        Output: JSON.
    max_failed_fraction : float
        Fraction of failed sources above which this step fails and lists them; slitless sources that no exposure has
        a spectrum of do not count.
    """
    logger = log.of("merge_redshifts")
    inputs = [*spectra, *redshifts, *(stacks or []), *([photometry] if photometry else [])]
    lineage = Lineage.of("merge_redshifts", inputs, max_failed_fraction=max_failed_fraction)
    chunks = [Chunk.read(*paths) for paths in zip(spectra, redshifts, strict=True)]
    merged, grid, pdfs = together(chunks)
    refuse_failures(merged[np.concatenate([chunk.tried for chunk in chunks])], max_failed_fraction, field)
    add_magnitudes(merged, photometry)
    images = iter(stacks or [])
    if stacks and len(stacks) != sum(chunk.slitless for chunk in chunks):
        raise UserError(f"merge_redshifts: {len(stacks)} stacks are not one for each chunk of slitless spectra")
    with io.atomic_directory(folder) as part:
        for chunk in chunks:
            write_spectra(part, chunk, next(images, None) if chunk.slitless else None, field)
    io.write_fits(table, product(field, merged, grid, pdfs), lineage)
    io.write_text(overview, overview_page(field, merged))
    slitless = sum(len(chunk.rows) for chunk in chunks if chunk.slitless)
    counts = {"slitless": slitless, "msa": len(merged) - slitless}
    io.write_json(metrics, {"field": field, **summary(list(merged)), "sources_by_kind": counts})
    logger.info("%s: %d sources, %d with flag 3", field, len(merged), int(np.sum(merged["flag"] == 3)))


@dataclass(frozen=True)
class Chunk:
    """What was made of a chunk of sources, slitless ones or NIRSpec's.

    Attributes
    ----------
    paths : tuple of Path
        Of spectra and redshifts.
    spectra, redshifts : HDUList
    rows : Table
        REDSHIFTS.
    grid : ndarray, shape (z,)
    pdfs : ndarray, shape (s, z)
        Probability per bin of `grid`.
    """

    paths: tuple[Path, Path]
    spectra: "HDUList"
    redshifts: "HDUList"
    rows: "Table"
    grid: Array
    pdfs: Array

    @classmethod
    def read(cls, spectra: Path, redshifts: Path) -> Self:
        """Read both files."""
        from astropy.table import Table

        of_sources = io.open_fits(spectra)
        if not {"SOURCES", "STATUS"} & {hdu.name for hdu in of_sources}:
            raise UserError(f"{spectra}: neither spectra from stack (SOURCES) nor from msa_extract (STATUS)")
        found = io.open_fits(redshifts, extensions=("REDSHIFTS", "ZGRID", "PZ"))
        rows = Table.read(found["REDSHIFTS"], mask_invalid=False)
        rows.convert_bytestring_to_unicode()
        grid = np.asarray(found["ZGRID"].data["z"], float)
        pdfs = np.zeros((0, len(grid))) if found["PZ"].data is None else np.asarray(found["PZ"].data, float)
        return cls((spectra, redshifts), of_sources, found, rows, grid, pdfs)

    @property
    def slitless(self) -> bool:
        """Whether its spectra are slitless."""
        return "SOURCES" in self.spectra

    @property
    def tried(self) -> NDArray[np.bool_]:
        """Sources that could have a redshift, shape (s,): NIRSpec's all, slitless ones those with a spectrum."""
        if not self.slitless:
            return np.ones(len(self.rows), bool)
        return np.array([not str(reason).strip() for reason in self.spectra["SOURCES"].data["reason"]], bool)

    def spectrum(self, source: str, field: str) -> "HDUList | None":
        """One source's spectra and models; None where there is no spectrum."""
        if not self.slitless:
            return msa_spectrum(self.spectra, self.redshifts, source, field)
        found = slitless_spectra.of_source(self.spectra, self.redshifts, source)
        if found is not None:
            found[0].header["FIELD"], found[0].header["SOURCE"] = field, source
        return found


def together(chunks: Sequence[Chunk]) -> tuple["Table", Array, Array]:
    """All rows, and their P(z) on one grid: that of the chunks, or the finest over the range of all if they differ."""
    from astropy.table import vstack

    merged = vstack([chunk.rows for chunk in chunks], metadata_conflicts="silent")
    twice = [source for source, count in Counter(map(str, merged["id"])).items() if count > 1]
    if twice:
        raise UserError(f"source {twice[0]} is in two chunks or branches: {', '.join(str(c.paths[1]) for c in chunks)}")
    grids = [chunk.grid for chunk in chunks]
    if all(np.array_equal(grid, grids[0]) for grid in grids):
        return merged, grids[0], np.vstack([chunk.pdfs for chunk in chunks])
    step = min(float(np.diff(np.log1p(grid)).min()) for grid in grids)
    grid = log_grid(min(float(one[0]) for one in grids), max(float(one[-1]) for one in grids), step)
    return merged, grid, np.vstack([rebinned(chunk.pdfs, chunk.grid, grid) for chunk in chunks])


def add_magnitudes(table: "Table", photometry: Path | None) -> None:
    """Add the sources' ``mag`` (AB) in the filter ``mag_filter``, F150W or the middle one, NaN where there is none."""
    from astropy.table import Table

    mags, filter = np.full(len(table), np.nan), ""
    if photometry is not None:
        measured = Table.read(io.open_fits(photometry, extensions=("PHOTOMETRY",))["PHOTOMETRY"], mask_invalid=False)
        known = [
            name.removeprefix("flux_") for name in measured.colnames if re.fullmatch(rf"flux_{names.FILTER}", name)
        ]
        if not known:
            raise UserError(f"{photometry}: no flux in any filter; make it again by photometry")
        filter = "F150W" if "F150W" in known else known[len(known) // 2]
        flux = dict(zip(map(str, measured["id"]), np.asarray(measured[f"flux_{filter}"], float), strict=True))
        found = np.array([flux.get(str(source), np.nan) for source in table["id"]], float)
        mags = 23.9 - 2.5 * np.log10(np.where(found > 0, found, np.nan))
    place = table.colnames.index("dec") + 1
    table.add_column(mags, name="mag", index=place)
    table["mag"].unit = "mag"
    table.add_column(np.where(np.isfinite(mags), filter, ""), name="mag_filter", index=place + 1)


def product(field: str, merged: "Table", grid: Array, pdfs: Array) -> "HDUList":
    """The field's FITS file."""
    from astropy.io import fits
    from astropy.table import Table

    hdus = fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.BinTableHDU(merged, name="REDSHIFTS"),
            fits.BinTableHDU(Table({"z": grid}), name="ZGRID"),
            fits.ImageHDU(pdfs.astype(np.float32), name="PZ"),
        ]
    )
    hdus[0].header["FIELD"] = field
    return hdus


def write_spectra(folder: Path, chunk: Chunk, stacks: Path | None, field: str) -> None:
    """Write a file per source of a chunk."""
    made_from = Lineage.of("merge_redshifts", [*chunk.paths, *([stacks] if stacks else [])])
    images = slitless_stacks.read(stacks) if stacks else None
    for source in map(str, chunk.rows["id"]):
        one = chunk.spectrum(source, field)
        if one is None:
            continue
        if images is not None:
            one.extend(image_hdus(images, source, one))
        io.write_fits(folder / names.spectrum_file(field, source), one, made_from)


def image_hdus(stacks: Stacks, source: str, spectra: "HDUList") -> Iterator["ImageHDU"]:
    """A source's 2-D spectra: a cube STACK (data, error, own light, contamination) per table SPECTRUM, by EXTVER."""
    from astropy.io import fits

    versions = {tuple(hdu.header[key] for key in ("GRISM", "FILTER", "ROLL")): hdu.ver for hdu in spectra[1:]}
    for row in stacks.table[np.asarray(stacks.table["source"], str) == source]:
        version = versions.get((str(row["grism"]), str(row["filter"]), float(row["roll"])))
        if version is None:
            continue
        cube = stacks.of(row).astype(np.float32)
        about = {f"PLANE{i}": name for i, name in enumerate(slitless_stacks.IMAGES, start=1)}
        about |= {"BUNIT": slitless_spectra.FLUX_UNIT, "GRISM": str(row["grism"]), "FILTER": str(row["filter"])}
        wave = {
            "CTYPE1": "WAVE",
            "CUNIT1": "um",
            "CRPIX1": 1.0,
            "CRVAL1": row["wave_first"],
            "CDELT1": row["wave_step"],
        }
        across = {"CUNIT2": "arcsec", "CRPIX2": (cube.shape[1] + 1) / 2, "CRVAL2": 0.0, "CDELT2": row["pixel"]}
        header = fits.Header(about | {"ROLL": float(row["roll"])} | wave | across)
        yield fits.ImageHDU(cube, header, name="STACK", ver=version)


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


def msa_spectrum(bundle: "HDUList", chunk: "HDUList", source: str, field: str) -> "HDUList | None":
    """One NIRSpec source's spectra and models; None where there is no spectrum."""
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
        "mag",
        "z",
        "z 16 %",
        "z 84 %",
        "flag",
        "χ²/ν",
        "2nd/1st peak",
        "photometric z",
        "detected lines (1e-18 erg/s/cm²)",
        "reason",
    ]
    rows = []
    for row in table:
        numbers = [f"{row['ra']:.6f}", f"{row['dec']:.6f}", f"{row['mag']:.2f}", f"{row['z']:.4f}"]
        numbers += [f"{row['z_low']:.4f}", f"{row['z_high']:.4f}", str(row["flag"])]
        numbers += [f"{row['chi2_dof']:.2f}", f"{row['peak_ratio']:.1e}", f"{row['z_phot']:.2f}"]
        rows.append(
            [str(row["id"]), *("" if one == "nan" else one for one in numbers), detected(row), str(row["reason"])]
        )
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
