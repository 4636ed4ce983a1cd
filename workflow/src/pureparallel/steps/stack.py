"""Stack the slitless cut-outs of a chunk of sources by grism, filter and roll, and extract their spectra."""

import resource
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import UserError, io, log, names, scenes, slitless_spectra, slitless_stacks, spec2_files
from ..core import extraction, stacking
from ..core.dispersed import SAMPLES
from ..core.extraction import Columns
from ..core.ramps import DO_NOT_USE
from ..core.stacking import Combined, Plane
from ..provenance import Lineage
from ..slitless_spectra import Setup
from ..spec2_files import Pixels

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.table import Table

Array = NDArray[np.float64]

ROUND = 0.25
"""Å: automatic steps are multiples of this, so that further exposures leave them as they are."""

ROWS = 4, 24
"""Rows of a 2-D stack beyond the source's own light, and on either side at most."""

SHOWN = 4
"""Sources in the figure."""


def stack(
    *,
    field: str,
    cutouts: list[Path],
    catalogue: Path,
    index: int,
    of: int,
    spectra: Path,
    stacks: Path,
    figure: Path,
    metrics: Path,
    bin_width: float = 0.0,
    roll_tolerance: float = 2.0,
    nsigma: float = 5.0,
    tolerance: float = 0.3,
    contamination_error: float = 0.05,
    least_light: float = 0.3,
) -> None:
    """Stack and extract the spectra of a chunk of sources.

    Parameters
    ----------
    field : str
        Name of the field.
    cutouts : list of Path
        Input: folders that spec2 made, of all chunks of the field.
    catalogue : Path
        Input: catalogue of sources.
    index : int
        Number of the chunk, from 1: sources belong to it whose id leaves index - 1 when divided by the number of
        chunks, so that sources keep their chunk whatever else is found.
    of : int
        Number of chunks.
    spectra : Path
        Output: FITS file of the chunk's 1-D spectra.
    stacks : Path
        Output: FITS file of the chunk's 2-D stacks.
    figure : Path
        Output: PNG, the sources with the most significant lines.
    metrics : Path
        Output: JSON.
    bin_width : float
        Å per bin of wavelength; 0 for that of the detector's pixels.
    roll_tolerance : float
        Degrees by which position angles differ at most that are stacked together.
    nsigma : float
        Errors by which an outlier is off.
    tolerance : float
        Part of the light of source and contamination that is no outlier.
    contamination_error : float
        Part of the contamination's model that is taken as its error in each pixel. What it is wrong by as a whole is
        for fit_redshift to know.
    least_light : float
        Part of the source's light across the dispersion that must be on good pixels for a column to be used.
    """
    from ..core.plot_stack import sheet

    start, logger = time.process_time(), log.of("stack")
    if not 1 <= index <= of:
        raise UserError(f"stack: there is no chunk {index} of {of}")
    options = {
        "bin_width": bin_width, "roll_tolerance": roll_tolerance, "nsigma": nsigma, "tolerance": tolerance,
        "contamination_error": contamination_error, "least_light": least_light,
    }  # fmt: skip
    files, missing = find(cutouts)
    lineage = Lineage.of("stack", [*files, catalogue], index=index, of=of, **options)
    table = scenes.read_table(catalogue)
    mine = np.flatnonzero(np.asarray(table["label"]) % of == index - 1)
    ids = [int(one) for one in table["label"][mine]]
    result = Result([], [], [], {one: [] for one in ids})
    for exposures in by_setup(files, bin_width):
        add_setup(result, ids, exposures, options)
        logger.info("%s %s: %d exposures", exposures.grism, exposures.filter, len(exposures.paths))
    sources = source_rows(table[mine], result, missing)
    slitless_spectra.write(spectra, sources, result.setups, lineage)
    slitless_stacks.write(stacks, result.rows, result.images, lineage)
    io.write_figure(figure, sheet(field, chosen(result), result.setups, result.rows, result.images))
    reasons = Counter(str(reason) for reason in sources["reason"] if reason)
    measured = {
        "field": field, "index": index, "of": of, "exposures": len(files), "left_out": missing, "sources": len(ids),
        "spectra": len(result.rows), "without": dict(sorted(reasons.items())),
        "bins": {setup.filter: {"number": len(setup.wave), "step": 1e4 * float(np.median(np.diff(setup.wave)))}
                 for setup in result.setups},
        "rejected": float(np.mean([row["rejected"] for row in result.rows])) if result.rows else None,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "cpu_seconds": round(time.process_time() - start, 2),
    }  # fmt: skip
    io.write_json(metrics, measured)


def find(folders: Sequence[Path]) -> tuple[list[Path], dict[str, str]]:
    """Files of cut-outs, and the reason of each exposure that has none."""
    files, missing = [], {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder")
        for path in sorted(folder.glob("*.metrics.json")):
            name = names.check("exposure", path.name.removesuffix(".metrics.json"), where=str(path))
            reason = str(io.read_json(path).get("reason") or "")
            if reason:
                missing[name] = reason
            else:
                files.append(folder / f"{name}{spec2_files.SUFFIX}")
    return files, missing


@dataclass(frozen=True)
class Exposures:
    """The exposures of one grism and filter, and the bins of all exposures through that filter.

    Attributes
    ----------
    grism, filter : str
    paths : list of Path
    wave : ndarray, shape (n,)
        Å.
    """

    grism: str
    filter: str
    paths: list[Path]
    wave: Array


def by_setup(files: Sequence[Path], bin_width: float = 0.0) -> list[Exposures]:
    """Exposures by filter and grism; both grisms of a filter share their bins."""
    found: dict[tuple[str, str], list[tuple[Path, Header, float]]] = {}
    for path in files:
        header, wave = spec2_files.peek(path)
        native = float(np.median(np.abs(np.diff(wave)))) * 1e4 if len(wave) > 1 else np.nan
        found.setdefault((header["FILTER"], header["GRISM"]), []).append((path, header, native))
    grids = {}
    for filter in {key[0] for key in found}:
        of_filter = [one for key, several in found.items() if key[0] == filter for one in several]
        steps = np.array([one[2] for one in of_filter if np.isfinite(one[2])])
        width = bin_width or (round(float(np.mean(steps)) / ROUND) * ROUND if len(steps) else 100.0)
        low, up = (pick(one[1][key] for one in of_filter) for pick, key in ((min, "WAVE_LOW"), (max, "WAVE_UP")))
        grids[filter] = stacking.bins(low * 1e4, up * 1e4, width)
    return [
        Exposures(grism, filter, [one[0] for one in found[filter, grism]], grids[filter])
        for filter, grism in sorted(found)
    ]


@dataclass(frozen=True)
class Result:
    """What is gathered, setup by setup: spectra; rows and images of the 2-D stacks; reasons by source."""

    setups: list[Setup]
    rows: list[dict[str, Any]]
    images: list[NDArray[np.float32]]
    reasons: dict[int, list[str]]


@dataclass(frozen=True)
class Piece:
    """A source's cut-out in one exposure, and what was made of it."""

    header: "Header"
    pixels: Pixels
    profile: Array
    columns: Columns


def add_setup(
    result: Result, ids: Sequence[int], exposures: Exposures, options: Mapping[str, Any]
) -> None:  # fmt: skip
    """Stack all sources of one grism and filter."""
    pieces: dict[int, list[Piece]] = {one: [] for one in ids}
    for path in exposures.paths:
        cuts = spec2_files.read(path)
        rows = {int(row["id"]): row for row in cuts.sources}
        for one in ids:
            pixels = cuts.of(one)
            if pixels is None:
                reason = str(rows[one]["reason"]) if one in rows else "not in the catalogue that it was cut by"
                result.reasons[one].append(reason)
            else:
                pieces[one].append(extracted(cuts.header, pixels, options))
    found = []
    for one in ids:
        for group in by_roll(pieces[one], options["roll_tolerance"]):
            spectrum = stacked(group, exposures.wave, options)
            if (spectrum.error > 0).any():
                found.append((one, group, spectrum))
            else:
                result.reasons[one].append("too little of its light is on good pixels")
    if found:
        result.setups.append(setup_of(exposures, found))
        result.images.extend(picture(group, exposures.wave) for _, group, _ in found)
        result.rows.extend(row_of(one, exposures, group, spectrum) for one, group, spectrum in found)


def extracted(header: "Header", pixels: Pixels, options: Mapping[str, Any]) -> Piece:
    """Extract one cut-out."""
    profile = extraction.profile_on(pixels.across, pixels.trace, len(pixels.sci), SAMPLES)
    found = extraction.columns(
        pixels.sci, pixels.err, pixels.dq & DO_NOT_USE != 0, pixels.contam, pixels.model, profile,
        pixels.wavelength * 1e4, extraction.smeared(pixels.response, pixels.along, SAMPLES),
        least=options["least_light"], nsigma=options["nsigma"], tolerance=options["tolerance"],
        contamination_error=options["contamination_error"],
    )  # fmt: skip
    kept = Pixels(**{name: one.copy() for name, one in pixels._asdict().items()})  # not the whole file's arrays
    return Piece(header, kept, profile, found)


def by_roll(pieces: Sequence[Piece], tolerance: float) -> list[list[Piece]]:
    """Pieces whose position angles are alike, by that of the first of them."""
    groups: list[list[Piece]] = []
    for piece in pieces:
        for group in groups:
            if abs((piece.header["ROLL_REF"] - group[0].header["ROLL_REF"] + 180) % 360 - 180) <= tolerance:
                group.append(piece)
                break
        else:
            groups.append([piece])
    return groups


def stacked(group: list[Piece], wave: Array, options: Mapping[str, Any]) -> Combined:
    """One spectrum of a group of cut-outs; columns that disagree are dropped from its pieces."""
    off = stacking.disagree([piece.columns for piece in group], wave, options["nsigma"], options["tolerance"])
    for piece, columns in zip(group, off, strict=True):
        piece.columns.variance[columns] = np.inf
        piece.columns.good[:, columns] = False
    return stacking.combine([piece.columns for piece in group], wave)


def picture(group: Sequence[Piece], wave: Array) -> NDArray[np.float32]:
    """The 2-D stack of a group."""
    across = np.cumsum(group[0].pixels.across)
    own = np.flatnonzero((across > 0.01 * across[-1]) & (across < 0.99 * across[-1]))
    half = int(np.ceil(np.abs(own - len(across) // 2).max(initial=0) / SAMPLES))
    planes = []
    for piece in group:
        pixels = piece.pixels
        unit = extraction.density(piece.columns.wave, extraction.smeared(pixels.response, pixels.along, SAMPLES))
        lit = piece.columns.good & (unit > 0)
        data = np.where(lit, pixels.sci - pixels.contam, 0) * unit
        variance = np.where(lit, pixels.err, 1).astype(float) ** 2 * unit**2
        planes.append(
            Plane(data, pixels.model * unit, pixels.contam * unit, variance, lit, pixels.trace, piece.columns.wave)
        )
    return stacking.picture(planes, wave, min(half + ROWS[0], ROWS[1]))


def roll_of(group: Sequence[Piece]) -> float:
    """Mean position angle in degrees."""
    first = float(group[0].header["ROLL_REF"])
    return (first + float(np.mean([(p.header["ROLL_REF"] - first + 180) % 360 - 180 for p in group]))) % 360


def setup_of(exposures: Exposures, found: Sequence[tuple[int, list[Piece], Combined]]) -> Setup:
    """The spectra of a grism and filter."""
    step = float(exposures.wave[1] - exposures.wave[0])
    profiles = [line_profile(group, spectrum, step) for _, group, spectrum in found]
    most = max(len(one) for one in profiles)
    values = {
        name: np.array([getattr(spectrum, name) for *_, spectrum in found])
        for name in ("flux", "error", "contamination")
    }
    return Setup(
        exposures.grism, exposures.filter, exposures.wave / 1e4, np.array([str(one) for one, *_ in found]),
        np.array([roll_of(group) for _, group, *_ in found]), np.full(len(found), step / 2),
        np.array([np.pad(one, (most - len(one)) // 2) for one in profiles]),
        values["flux"], values["error"], values["contamination"],
    )  # fmt: skip


def line_profile(group: Sequence[Piece], spectrum: Combined, step: float) -> Array:
    """The source's light along the dispersion, towards long wavelengths, as the stacking leaves it."""
    parts = []
    for piece in group:
        wave, along = piece.columns.wave, piece.pixels.along
        native = float(np.median(np.diff(wave)))
        parts.append(
            stacking.seen_through(along if native > 0 else along[::-1], abs(native) / SAMPLES, spectrum.kernel, step)
        )
    most = max(len(one) for one in parts)
    return np.mean([np.pad(one, (most - len(one)) // 2) for one in parts], axis=0)


def row_of(one: int, exposures: Exposures, group: Sequence[Piece], spectrum: Combined) -> dict[str, Any]:
    """What STACKS says of a spectrum."""
    seen, used, could = spectrum.error > 0, 0, 0
    for piece in group:
        on = piece.profile > 0.1 * piece.profile.max()
        could += int(np.sum(on & (piece.pixels.dq & DO_NOT_USE == 0) & np.isfinite(piece.pixels.err)))
        used += int(np.sum(on & piece.columns.good))
    native = float(np.median(np.abs(np.diff(group[0].columns.wave))))
    return {
        "source": str(one), "grism": exposures.grism, "filter": exposures.filter, "roll": roll_of(group),
        "exposures": len(group), "seconds": float(sum(piece.header["EXPTIME"] for piece in group)),
        "rejected": 1 - used / could if could else 0.0,
        "snr": float(np.median(spectrum.flux[seen] / spectrum.error[seen])),
        "wave_error": native * float(np.mean([piece.header["WAVEERR"] for piece in group])),
        "wave_first": exposures.wave[0] / 1e4, "wave_step": (exposures.wave[1] - exposures.wave[0]) / 1e4,
        "ny": 0, "nx": 0, "pixel": float(group[0].header["PIXSCALE"]), "first": 0,
    }  # fmt: skip


def source_rows(table: "Table", result: Result, missing: Mapping[str, str]) -> "Table":
    """The chunk's sources, with the most frequent reason of those without a spectrum."""
    from astropy.table import Table

    have = {row["source"] for row in result.rows}
    reasons = []
    for one in table["label"]:
        told = Counter(result.reasons[int(one)]).most_common(1)
        none = "no dispersed exposure" + "".join(f"; {name}: {why}" for name, why in list(missing.items())[:1])
        reasons.append("" if str(one) in have else told[0][0] if told else none)
    return Table(
        {
            "id": np.array([str(one) for one in table["label"]], "U20"),
            "ra": np.asarray(table["ra"], float), "dec": np.asarray(table["dec"], float),
            "reason": np.array(reasons, f"U{max(map(len, reasons), default=0) or 1}"),
        }
    )  # fmt: skip


def chosen(result: Result) -> list[str]:
    """Sources with the most significant lines: by the second best of their spectra, as one alone may be an outlier."""
    found: dict[str, list[float]] = {}
    for setup in result.setups:
        for source, value in zip(setup.source, stacking.liveliness(setup.flux, setup.err), strict=True):
            found.setdefault(str(source), []).append(float(value))
    return sorted(found, key=lambda source: -sorted([0.0, *found[source]])[-2])[:SHOWN]
