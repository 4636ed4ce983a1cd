"""What a raw exposure says about itself: the keywords of Level 1b, as a real NIRISS pure-parallel exposure has them.

Only what the observatory would know is written: the header's pointing, not the true one, and no dither, because that
was the invisible prime's. Guide stars, times and programmes are simulated, and the programme's title says so.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..io import atomic
from .instrument import FILTERS, FWCPOS_REF, GRISMS, NIS_CEN, Frame, Readout
from .pointing import Pointing, boresight, linear_wcs, s_region

FWCPOS_CLEAR = 74.0
"""Filter-wheel position of CLEAR in degrees. Simulated; nothing reads it."""

PRD_VERSION = "PRDOPSSOC-072"

MJD_EPOCH = datetime(1858, 11, 17)


@dataclass(frozen=True)
class GuideStar:
    """The star that the telescope says it guided on: name, ICRS position in deg, magnitude of the guider's band."""

    name: str
    ra: float
    dec: float
    magnitude: float


def level1b(
    *,
    exposure: str,
    start: str,
    filter: str,
    grism: str | None,
    frame: Frame,
    readout: Readout,
    header_pointing: Pointing,
    guide_star: GuideStar,
    target: tuple[float, float] | None = None,
    fwcpos: float | None = None,
    visit_exposures: int = 1,
    label: str = "SIMULATED",
) -> dict[str, Any]:
    """Metadata of a raw exposure.

    Parameters
    ----------
    exposure : str
        ``jw<ppppp><ooo><vvv>_<ggsaa>_<eeeee>_nis``; programme, observation and visit follow from it.
    start : str
        UTC of the reset, ISO 8601 without a zone.
    filter : str
    grism : str or None
        None is a direct image.
    frame : Frame
    readout : Readout
    header_pointing : Pointing
        What the header says, rightly or not.
    guide_star : GuideStar
    target : (float, float), optional
        TARG_RA and TARG_DEC in deg. None is the header's pointing; real ones are (0, 0) now and then.
    fwcpos : float, optional
        Filter-wheel position, deg; None is the nominal one.
    visit_exposures : int
        Exposures planned in the visit.
    label : str
        OBSLABEL.

    Returns
    -------
    dict
        Path in the data model, as ``meta.instrument.filter``, to value.

    Raises
    ------
    ValueError
        If the name, filter or grism is not one of NIRISS.
    """
    match = re.fullmatch(r"jw(\d{5})(\d{3})(\d{3})_(\d{2})(\d)([0-9a-z]{2})_(\d{5})_nis", exposure)
    if match is None:
        raise ValueError(f"{exposure!r} is not the name of a NIRISS exposure")
    if filter not in FILTERS or grism not in (None, *GRISMS):
        raise ValueError(f"{filter!r} with {grism!r}: not elements of NIRISS")
    start_time = datetime.fromisoformat(start)
    target = (header_pointing.ra, header_pointing.dec) if target is None else target
    nominal = FWCPOS_CLEAR if grism is None else FWCPOS_REF[grism]
    parts = {
        "": _file(exposure),
        "program": _program(),
        "observation": _observation(match, start_time, _seconds(frame, readout), label, grism),
        "visit": {
            "type": "PARALLEL_PURE", "status": "SUCCESSFUL", "start_time": _stamp(start_time - timedelta(minutes=10)),
            "total_exposures": visit_exposures, "internal_target": False, "too_visit": False, "tsovisit": False,
            "exp_only": False, "crowded_field": False, "engineering_quality": "OK",
            "engdb_pointing_quality": "CALCULATED_TRACK_TR_202111",
        },
        "target": {
            "proposer_name": "PARALLEL", "catalog_name": "PARALLEL", "type": "FIXED", "category": "Parallel",
            "ra": target[0], "dec": target[1], "proposer_ra": target[0], "proposer_dec": target[1],
            "ra_uncertainty": 0.0, "dec_uncertainty": 0.0, "proper_motion_ra": 0.0, "proper_motion_dec": 0.0,
            "proper_motion_epoch": "2000-01-01 00:00:00", "source_type_apt": "UNKNOWN",
        },
        "instrument": {
            "name": "NIRISS", "detector": "NIS", "filter": grism or "CLEAR", "pupil": filter,
            "filter_position": nominal if fwcpos is None else fwcpos, "focus_position": 0.0,
            "filter_wheel_tolerance": "within commanded tolerance",
        },
        "exposure": _exposure(start_time, frame, readout, grism),
        "subarray": {
            "name": frame.subarray, "xstart": frame.xstart, "ystart": frame.ystart,
            "xsize": frame.nx, "ysize": frame.ny, "fastaxis": -2, "slowaxis": -1,
        },
        # a parallel's dithers are the prime's: its own header knows of none
        "dither": {"primary_type": "NONE", "position_number": 1, "total_points": 1, "x_offset": 0.0, "y_offset": 0.0},
        "guidestar": _guide_star(guide_star, start_time, _seconds(frame, readout), header_pointing),
        **_geometry(header_pointing, frame),
    }  # fmt: skip
    return {
        f"meta.{group}.{key}" if group else f"meta.{key}": value
        for group, keys in parts.items()
        for key, value in keys.items()
    }


def _seconds(frame: Frame, readout: Readout) -> float:
    return readout.ngroups * readout.group_time(frame)


def _stamp(time: datetime) -> str:
    return time.isoformat(sep=" ", timespec="milliseconds")


def _mjd(time: datetime) -> float:
    return (time - MJD_EPOCH) / timedelta(days=1)


def _file(exposure: str) -> dict[str, Any]:
    return {
        "telescope": "JWST", "origin": "SIMULATED", "time_sys": "UTC", "time_unit": "s", "prd_software_version":
        PRD_VERSION, "data_processing_software_version": "simulated", "oss_software_version": "simulated",
        "guide_star_catalog_version": "simulated", "filename": f"{exposure}_uncal.fits",
        "hga_move": False, "compress": False, "bunit_data": "DN",
    }  # fmt: skip


def _program() -> dict[str, Any]:
    return {
        "title": "SIMULATED pure-parallel survey: not an observation", "pi_name": "SIMULATED", "category": "GO",
        "sub_category": "NONE", "science_category": "Galaxies", "continuation_id": 0,
    }  # fmt: skip


def _observation(match: re.Match[str], start: datetime, seconds: float, label: str, grism: str | None) -> dict:
    program, observation, visit, group, sequence, activity, number = match.groups()
    end = start + timedelta(seconds=seconds)
    return {
        "date": start.date().isoformat(), "time": start.time().isoformat("milliseconds"),
        "date_beg": start.isoformat(timespec="milliseconds"), "date_end": end.isoformat(timespec="milliseconds"),
        "obs_id": f"V{program}{observation}{visit}P{'0' * 8}{group}{sequence}{activity}",
        "visit_id": f"{program}{observation}{visit}", "program_number": program, "observation_number": observation,
        "visit_number": visit, "visit_group": group, "sequence_id": sequence, "activity_id": activity,
        "exposure_number": str(int(number)), "observation_label": label, "bkgdtarg": False,
        "template": "NIRISS Wide Field Slitless Spectroscopy" if grism else "NIRISS Imaging",
    }  # fmt: skip


def _exposure(start: datetime, frame: Frame, readout: Readout, grism: str | None) -> dict[str, Any]:
    seconds, frame_time = _seconds(frame, readout), readout.frame_time(frame)
    begin, middle, end = (_mjd(start + timedelta(seconds=s)) for s in (0, seconds / 2, seconds))
    return {
        "count": 1, "prime_parallel": "PARALLEL_PURE", "type": "NIS_WFSS" if grism else "NIS_IMAGE",
        "start_time": begin, "mid_time": middle, "end_time": end, "start_time_mjd": begin, "mid_time_mjd": middle,
        "end_time_mjd": end, "readpatt": readout.pattern, "noutputs": 4 if frame.is_full else 1,
        "nints": 1, "integration_start": 1, "integration_end": 1, "ngroups": readout.ngroups,
        "nframes": readout.nframes, "frame_divisor": readout.nframes, "groupgap": readout.groupgap,
        "drop_frames1": 0, "drop_frames3": 0, "nsamples": 1, "sample_time": 10.0, "frame_time": frame_time,
        "group_time": readout.group_time(frame), "integration_time": seconds, "exposure_time": seconds,
        "effective_exposure_time": seconds, "measurement_time": (readout.ngroups - 1) * readout.group_time(frame),
        "duration": seconds + frame_time, "elapsed_exposure_time": seconds, "nresets_at_start": 1,
        "nresets_between_ints": 0, "zero_frame": False, "data_problem": False, "sca_num": 496, "datamode": 0,
        "segment_number": 1, "segment_total": 1,
    }  # fmt: skip


def _guide_star(star: GuideStar, start: datetime, seconds: float, pointing: Pointing) -> dict[str, Any]:
    return {
        "gs_order": 1, "gs_id": star.name, "gs_ra": star.ra, "gs_dec": star.dec, "gs_mag": star.magnitude,
        "gs_ura": 0.0, "gs_udec": 0.0, "gs_umag": 0.05, "gs_pcs_mode": "FINEGUIDE",
        "gs_start_time": _stamp(start - timedelta(minutes=5)),
        "gs_stop_time": _stamp(start + timedelta(seconds=seconds)),
        "visit_end_time": _stamp(start + timedelta(hours=1)), "gs_v3_pa_science": boresight(pointing)[2],
    }  # fmt: skip


def _geometry(pointing: Pointing, frame: Frame) -> dict[str, dict[str, Any]]:
    ra_v1, dec_v1, pa_v3 = boresight(pointing)
    return {
        "aperture": {
            "name": NIS_CEN.name, "pps_name": NIS_CEN.name,
            "position_angle": (pointing.roll + NIS_CEN.v3_idl_y_angle) % 360,
        },
        "wcsinfo": {
            **linear_wcs(pointing, frame), "wcsaxes": 2, "ctype1": "RA---TAN", "ctype2": "DEC--TAN",
            "cunit1": "deg", "cunit2": "deg", "s_region": s_region(pointing, frame),
            "ra_ref": pointing.ra, "dec_ref": pointing.dec, "roll_ref": pointing.roll,
            "v2_ref": NIS_CEN.v2_ref, "v3_ref": NIS_CEN.v3_ref, "vparity": NIS_CEN.v_idl_parity,
            "v3yangle": NIS_CEN.v3_idl_y_angle, "siaf_xref_sci": NIS_CEN.x_ref, "siaf_yref_sci": NIS_CEN.y_ref,
            "velosys": 0.0, "specsys": "BARYCENT",
        },
        "pointing": {"ra_v1": ra_v1, "dec_v1": dec_v1, "pa_v3": pa_v3},
        "velocity_aberration": {"scale_factor": 1.0, "va_ra_ref": pointing.ra, "va_dec_ref": pointing.dec},
        "coordinates": {"reference_frame": "ICRS"},
        "ephemeris": {"reference_frame": "EME2000", "type": "Predicted"},
    }  # fmt: skip


def save(path: Path, counts: NDArray[np.uint16], meta: Mapping[str, Any]) -> None:
    """Write a raw exposure that passes as Level 1b; its primary header says SIMULATD = T.

    Parameters
    ----------
    path : Path
    counts : ndarray of uint16, shape (ngroups, ny, nx)
    meta : mapping
        Of `level1b`. Its file name is replaced by the path's.

    Raises
    ------
    ValueError
        If the counts do not have the shape or type that the metadata speaks of.
    """
    shape = tuple(meta[f"meta.{key}"] for key in ("exposure.ngroups", "subarray.ysize", "subarray.xsize"))
    if counts.shape != shape or counts.dtype != np.uint16:
        raise ValueError(f"counts are {counts.dtype} of shape {counts.shape}, not uint16 of shape {shape}")
    from stdatamodels.jwst.datamodels import Level1bModel

    times, groups = _times(meta)
    with Level1bModel(counts[None], strict_validation=True) as model, atomic(path) as part:
        for key, value in {**meta, "meta.filename": path.name}.items():
            model[key] = value
        model.int_times = np.array([times], model.get_dtype("int_times"))
        model.group = np.array(groups, model.get_dtype("group"))
        model.extra_fits = {"PRIMARY": {"header": [["SIMULATD", True, "simulated: no telescope has seen this"]]}}
        # given a path, the model would name itself after it
        with part.open("wb") as file:
            model.to_fits(file)


def _times(meta: Mapping[str, Any]) -> tuple[tuple, list[tuple]]:
    """Rows of INT_TIMES and GROUP. Barycentric times are those of the telescope: the simulated Earth stands still."""
    begin, middle, end = (meta[f"meta.exposure.{name}_time"] for name in ("start", "mid", "end"))
    start = datetime.fromisoformat(meta["meta.observation.date_beg"])
    columns, rows = meta["meta.subarray.xsize"], meta["meta.subarray.ysize"]
    groups = []
    for number in range(1, meta["meta.exposure.ngroups"] + 1):
        time = start + timedelta(seconds=number * meta["meta.exposure.group_time"])
        day = (time - datetime(2000, 1, 1)).days
        ms = (time - datetime.combine(time.date(), datetime.min.time())) // timedelta(milliseconds=1)
        stamp, mjd = time.isoformat(timespec="milliseconds"), _mjd(time)
        groups.append((1, number, day, ms, 0, stamp, columns, rows, 0, 0, "COMPLETE", mjd, mjd))
    return (1, begin, middle, end, begin, middle, end), groups
