"""Files of sources: the catalogue and the segmentation map in the calibration pipeline's form, and the register."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import UserError, calibration, io, names
from .core import source_catalogue
from .core.grid import Grid
from .core.source_catalogue import FLAGS, MEANINGS
from .core.source_ids import Register
from .provenance import Lineage, sha256

if TYPE_CHECKING:
    from astropy.table import QTable

COLUMNS: dict[str, tuple[str | None, str]] = {
    "label": (None, "number of the source, the same in every run"),
    "xcentroid": (None, "windowed centroid, 0-based pixels of the mosaics"),
    "ycentroid": (None, "windowed centroid, 0-based pixels of the mosaics"),
    "sky_centroid": (None, "ICRS position of the centroid"),
    "ra": ("deg", "ICRS position of the centroid"),
    "dec": ("deg", "ICRS position of the centroid"),
    "isophotal_flux": ("Jy", "of the segment, in the mean of the filters"),
    "isophotal_flux_err": ("Jy", "its error, correlated noise and the source's own included"),
    "isophotal_abmag": (None, "AB magnitude of isophotal_flux; no unit, as the calibration pipeline expects"),
    "isophotal_abmag_err": (None, "its error, mag"),
    "isophotal_area": ("pix2", "area of the segment"),
    "semimajor_sigma": ("pix", "standard deviation of the smoothed light along the major axis"),
    "semiminor_sigma": ("pix", "the same along the minor axis"),
    "ellipticity": (None, "1 - semiminor_sigma / semimajor_sigma"),
    "orientation": ("deg", "of the major axis, from x towards y"),
    "a": ("arcsec", "semimajor_sigma on the sky"),
    "b": ("arcsec", "semiminor_sigma on the sky"),
    "theta": ("deg", "position angle of the major axis, from north to east"),
    "sky_bbox_ll": (None, "ICRS position of the lower left corner of the segment's box"),
    "sky_bbox_ul": (None, "of the upper left corner"),
    "sky_bbox_lr": (None, "of the lower right corner"),
    "sky_bbox_ur": (None, "of the upper right corner"),
    "kron_radius": (None, "unscaled Kron radius, in units of semimajor_sigma"),
    "kron_flux": ("Jy", "within 2.5 Kron radii, in the mean of the filters"),
    "kron_flux_err": ("Jy", "its error"),
    "half_light_radius": ("arcsec", "radius that holds half of kron_flux, not freed of the point-spread function"),
    "snr": (None, "significance of the peak as a small source, standard deviations of the true noise"),
    "snr_isophotal": (None, "isophotal_flux over its error"),
    "concentration": (None, "height of a wide over that of a narrow Gaussian fitted to it; larger if extended"),
    "concentration_err": (None, "its error"),
    "stellarity": (None, "probability of a point source"),
    "is_extended": (None, "stellarity below 0.5"),
    "n_filters": (None, "filters with data at its position"),
    "flags": (None, "; ".join(f"bit {FLAGS[name]} {name}: {meaning}" for name, meaning in MEANINGS.items())),
    "reliable": (None, "no flag of " + ", ".join(source_catalogue.DOUBTFUL)),
}
"""Unit and description of each column of the catalogue; then a column snr_<filter> each."""


CORNERS = {"ll": ("xmin", "ymin"), "ul": ("xmin", "ymax"), "lr": ("xmax", "ymin"), "ur": ("xmax", "ymax")}
"""Of a segment's box, by its edges."""

REGISTER = {
    "id": (None, "number of the source; it is never given again"),
    "ra": ("deg", "ICRS position where it was last seen"),
    "dec": ("deg", "ICRS position where it was last seen"),
    "first_seen": (None, "run that saw it first, by a digest of its mosaics"),
    "last_seen": (None, "run that saw it last"),
}
"""Unit and description of each column of the register."""


def catalogue_table(columns: Mapping[str, Any], grid: Grid, field: str) -> "QTable":
    """The catalogue, by ascending number.

    Parameters
    ----------
    columns : mapping of str to ndarray, shape (n,)
        Of the step detect, ``label`` included.
    grid : Grid
    field : str
    """
    from astropy import units
    from astropy.coordinates import SkyCoord
    from astropy.table import QTable

    if not len(columns["label"]):
        found: dict[str, Any] = {name: np.empty(0) for name in [*COLUMNS, *columns, *sum(CORNERS.values(), ())]}
    else:
        found = dict(columns)
        found["isophotal_abmag"], found["isophotal_abmag_err"] = source_catalogue.magnitudes(
            found["isophotal_flux"], found["isophotal_flux_err"]
        )
        found["snr_isophotal"] = found["isophotal_flux"] / found["isophotal_flux_err"]
        found["a"], found["b"] = (found[f"semi{axis}_sigma"] * grid.scale for axis in ("major", "minor"))
        found["theta"] = found["orientation"] % 180 - 90  # x grows to the west
        found["is_extended"] = found["stellarity"] < 0.5
    places = {"sky_centroid": (found["xcentroid"], found["ycentroid"])}
    for name, (x, y) in CORNERS.items():
        outwards = [0.5 if edge.endswith("max") else -0.5 for edge in (x, y)]
        places[f"sky_bbox_{name}"] = found[x] + outwards[0], found[y] + outwards[1]
    for name, (x, y) in places.items():
        found[name] = SkyCoord(*grid.to_sky(x, y), unit="deg")
    table = QTable(meta={"field": field, "flags": {f"bit {bit}": name for name, bit in FLAGS.items()}})
    extra = {name: (None, f"significance in {name[4:]}; NaN without data") for name in found if name[:5] == "snr_F"}
    order = np.argsort(found["label"])
    for name, (unit, description) in (COLUMNS | extra).items():
        values = found[name][order]
        table[name] = values if unit is None else values * units.Unit(unit)
        table[name].info.description = description
    for name, kind in {"label": int, "n_filters": int, "flags": int, "is_extended": bool, "reliable": bool}.items():
        table[name] = table[name].astype(kind)
    return table


def register_table(register: Register, field: str) -> "QTable":
    """The register as it is written."""
    from astropy import units
    from astropy.table import QTable

    values = (register.id, register.ra, register.dec, register.first, register.last)
    table = QTable(meta={"field": field})
    for (name, (unit, description)), column in zip(REGISTER.items(), values, strict=True):
        table[name] = column if unit is None else column * units.Unit(unit)
        table[name].info.description = description
    return table


def read_register(path: Path, field: str) -> Register:
    """The register of a field, empty where there is none yet.

    Raises
    ------
    UserError
        If it is not a register, or that of another field.
    """
    from astropy.table import Table

    if not path.is_file():
        return Register.empty()
    mend = "mend it, or delete it to number all sources anew"
    try:
        table = Table.read(path, format="ascii.ecsv")
    except Exception as reason:
        raise UserError(f"{path}: not a table in ECSV ({reason}); {mend}") from reason
    missing = set(REGISTER) - set(table.colnames)
    if missing:
        raise UserError(f"{path}: no column {', '.join(sorted(missing))}; {mend}")
    if table.meta.get("field", field) != field:
        raise UserError(f"{path}: the register of field {table.meta['field']}, not of {field}; {mend}")
    table.sort("id")
    numbers = np.asarray(table["id"], np.int64)
    if len(numbers) and (numbers[0] < 1 or np.any(np.diff(numbers) == 0)):
        raise UserError(f"{path}: column id has a number twice, or one below 1; {mend}")
    first, last = (np.asarray(table[name], str) for name in ("first_seen", "last_seen"))
    return Register(numbers, np.asarray(table["ra"], float), np.asarray(table["dec"], float), first, last)


def write_ecsv(path: Path, table: "QTable", lineage: Lineage) -> None:
    """Write a table as ECSV with its lineage beside it, atomically."""
    with io.atomic(path) as part:
        table.write(part, format="ascii.ecsv", overwrite=True)
        io.write_json(names.sidecar(path), lineage.to_dict(product=path.name, digest=sha256(part)))


def write_segmentation(path: Path, labels: NDArray[np.uint32], grid: Grid, lineage: Lineage) -> None:
    """Write a segmentation map as the calibration pipeline's data model, with world coordinates in both forms."""
    calibration.ready(["stdatamodels.jwst.datamodels"])
    from stdatamodels.jwst.datamodels import SegmentationMapModel

    model = SegmentationMapModel(data=labels)
    for key, value in grid.keywords().items():
        if key not in ("RADESYS",):
            setattr(model.meta.wcsinfo, key.lower(), value)
    model.meta.wcs = gwcs_of(grid)
    calibration.save(path, model, lineage)


def gwcs_of(grid: Grid) -> Any:
    """A grid's world coordinates for the calibration pipeline, a gwcs.WCS from 0-based pixels to ICRS."""
    import gwcs  # type: ignore[import-not-found]
    from astropy import units
    from astropy.coordinates import ICRS
    from astropy.modeling import models

    step = grid.scale / 3600
    to_sky = (
        models.Shift(-grid.origin[0]) & models.Shift(-grid.origin[1])
        | models.Scale(-step) & models.Scale(step)
        | models.Pix2Sky_TAN()
        | models.RotateNative2Celestial(grid.ra, grid.dec, 180.0)
    )
    detector = gwcs.coordinate_frames.Frame2D(name="detector", axes_order=(0, 1), unit=(units.pix, units.pix))
    sky = gwcs.coordinate_frames.CelestialFrame(
        name="world", axes_order=(0, 1), reference_frame=ICRS(), unit=(units.deg, units.deg)
    )
    found = gwcs.WCS([(detector, to_sky), (sky, None)])
    found.bounding_box = ((-0.5, grid.shape[1] - 0.5), (-0.5, grid.shape[0] - 0.5))
    return found
