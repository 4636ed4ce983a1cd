"""Reference files in the formats of CRDS for NIRISS imaging and wide-field slitless spectroscopy, and their cache.

Geometry, traces and sensitivities are those of the instrument; all else describes the simulated detector, and every
file says so. References of arrays have the frame of the exposures that they are for, so that nothing is cut out of
them. What is written here is exact: the reference files are the truth of `detector`, without noise of their own.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..acquire.references import types
from ..io import atomic_directory
from . import crds_cache
from .background import background_components
from .crds_cache import NOT_APPLICABLE, Rule
from .detector import Detector, make_detector
from .dispersion import Traces
from .instrument import (
    FILTERS,
    FWCPOS_REF,
    GRISM_CONFIGURATION,
    GRISMS,
    NIS_CEN,
    ORDERS,
    PIXAR_A2,
    PIXAR_SR,
    READOUT_FRAMES,
    Aperture,
    Frame,
    Readout,
)

Array = NDArray[np.float64]
EncircledEnergy = Callable[[str], tuple[Array, Array]]
Rules = dict[str, Rule]
Files = dict[tuple[str, ...], str]

IMAGE, WFSS = "NIS_IMAGE", "NIS_WFSS"

EXP_TYPE, DETECTOR = "META.EXPOSURE.TYPE", "META.INSTRUMENT.DETECTOR"
FILTER, PUPIL, READPATT = "META.INSTRUMENT.FILTER", "META.INSTRUMENT.PUPIL", "META.EXPOSURE.READPATT"

ALL_WHEELS = "|".join(("CLEAR", *GRISMS))
"""Values of FILTER, for references that serve direct and dispersed images."""

PIXEL_REFERENCES = ("mask", "gain", "readnoise", "saturation", "linearity", "superbias", "dark", "flat", "bkg")

DQ_BITS = {"DO_NOT_USE": 1, "DEAD": 2, "HOT": 4, "REFERENCE_PIXEL": 8, "NO_FLAT_FIELD": 16}
"""Bits of the references' own masks; the pipeline translates them by their names."""

ENERGIES = (20, 30, 40, 50, 60, 70, 80)
"""Encircled energies in percent for which the aperture correction is given."""

SKY_ANNULUS = (10.0, 15.0)
"""Pixels; where the catalogue step measures the sky around a source."""

AB_MINUS_VEGA = {"F090W": 0.50, "F115W": 0.76, "F140M": 1.12, "F150W": 1.23, "F158M": 1.32, "F200W": 1.69}
"""Magnitudes, rounded: of use only where somebody looks at Vega magnitudes."""

JUMP_PARAMETERS = {
    "expand_large_events": True,
    "rejection_threshold": 4.0,
    "flag_4_neighbors": True,
    "min_jump_to_flag_neighbors": 10.0,
    "max_jump_to_flag_neighbors": 200.0,
    "min_jump_area": 15.0,
    "min_sat_area": 5.0,
    "min_sat_radius_extend": 5.0,
    "sat_required_snowball": True,
    "sat_expand": 0,
    "expand_factor": 1.75,
    "edge_size": 20,
    "max_extended_radius": 100,
}
"""Of the jump step: those that CRDS has for NIRISS (jwst_niriss_pars-jumpstep_0081), with snowballs switched on and
the usual threshold and neighbours, as it has for imaging and slitless spectra."""


def build(
    cache: Path,
    frame: Frame,
    seed: int,
    filters: Iterable[str] = tuple(FILTERS),
    *,
    dark_groups: int = 12,
    encircled_energy: EncircledEnergy | None = None,
) -> None:
    """Write a cache with all references for one frame; an older one in its place is replaced whole.

    Parameters
    ----------
    cache : Path
        The cache's root; `crds_cache.environment` points the pipeline to it.
    frame : Frame
    seed : int
        Of the detector. The same seed makes the same arrays.
    filters : iterable of str
        Those for which there are flats, traces, backgrounds and tables.
    dark_groups : int
        Groups in the dark; the pipeline extrapolates it, exactly, to longer ramps.
    encircled_energy : callable, optional
        ``encircled_energy(filter)`` gives radii in pixels and fractions; that of `psf` if not given.
    """
    if encircled_energy is None:
        from . import psf

        encircled_energy = psf.encircled_energy
    names = [name for name in FILTERS if name in set(filters)]
    if unknown := sorted(set(filters) - set(names)):
        raise ValueError(f"filter {', '.join(unknown)}; there are {', '.join(FILTERS)}")
    detector = make_detector(frame, seed)
    traces = Traces.read(GRISM_CONFIGURATION)
    with atomic_directory(cache) as part:
        folder = crds_cache.reference_folder(part)
        folder.mkdir(parents=True)
        save = _Save(folder, frame)
        rules: Rules = {}
        rules |= _pixels(save, detector)
        rules |= _darks(save, detector, dark_groups)
        rules |= _flats(save, detector, names)
        rules |= _backgrounds(save, detector, names)
        rules |= _photometry(save, traces, names, encircled_energy)
        rules |= _geometry(save, names)
        rules |= _traces(save, traces, names)
        rules |= _parameters(save, names)
        crds_cache.write(part, rules, types())


@dataclass(frozen=True)
class _Save:
    """Completes a data model's header and writes it into `folder`; gives the file's name."""

    folder: Path
    frame: Frame

    def __call__(self, model: Any, kind: str, what: str, *labels: str, suffix: str = "fits") -> str:
        meta = model.meta
        meta.reftype, meta.telescope = kind, "JWST"
        meta.instrument.name, meta.instrument.detector = "NIRISS", "NIS"
        meta.useafter, meta.pedigree = crds_cache.USEAFTER.replace(" ", "T"), "DUMMY"
        meta.author, meta.description = crds_cache.AUTHOR, f"SIMULATED: {what}"
        if kind in PIXEL_REFERENCES:
            f = self.frame
            meta.subarray.name, meta.subarray.fastaxis, meta.subarray.slowaxis = f.subarray, -2, -1
            meta.subarray.xstart, meta.subarray.ystart = f.xstart, f.ystart
            meta.subarray.xsize, meta.subarray.ysize = f.nx, f.ny
        model.add_history_entry(f"Simulated by pureparallel.simulate.references: {what}.")
        name = "_".join(["jwst_niriss", kind, *(label.lower() for label in labels), "0001"]) + f".{suffix}"
        meta.filename = name
        model.save(self.folder / name)
        model.close()
        return name


def _flags(**masks: NDArray[np.bool_]) -> tuple[NDArray[np.uint32], NDArray[np.void]]:
    """A mask of flags by name, and the table that defines the bits."""
    dq = np.zeros(next(iter(masks.values())).shape, np.uint32)
    for name, mask in masks.items():
        dq[mask] |= np.uint32(DQ_BITS[name])
    rows = [(bit.bit_length() - 1, bit, name, name.replace("_", " ").lower()) for name, bit in DQ_BITS.items()]
    columns = [("BIT", "<i4"), ("VALUE", "<u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")]
    return dq, np.array(rows, dtype=columns)


def _pixels(save: _Save, d: Detector) -> Rules:
    """Bad pixels, gain, read noise, saturation, non-linearity and bias."""
    from stdatamodels.jwst import datamodels as dm

    none, definition = _flags(DO_NOT_USE=np.zeros(d.frame.shape, bool))
    dq, _ = _flags(DO_NOT_USE=d.hot | d.dead, HOT=d.hot, DEAD=d.dead, REFERENCE_PIXEL=d.reference_pixel)
    coefficients = np.stack([np.zeros_like(d.linearity), np.ones_like(d.linearity), d.linearity])
    noise = dm.ReadnoiseModel(data=d.read_noise * np.float32(np.sqrt(2)))  # the pipeline wants that of a difference
    noise.meta.exposure.readpatt, noise.meta.bunit_data = "ANY", "DN"
    bias = dm.SuperBiasModel(data=d.bias, err=np.zeros_like(d.bias), dq=none, dq_def=definition)
    bias.meta.exposure.readpatt = "ANY"
    gain = dm.GainModel(data=d.gain)
    gain.meta.bunit_data = "ELECTRONS/DN"
    files = {
        "mask": save(dm.MaskModel(dq=dq, dq_def=definition), "mask", "hot, dead and reference pixels"),
        "gain": save(gain, "gain", "gain in e/DN"),
        "readnoise": save(noise, "readnoise", "noise in DN of the difference of two reads of a frame"),
        "saturation": save(
            dm.SaturationModel(data=d.saturation, dq=none, dq_def=definition), "saturation", "raw DN at saturation"
        ),
        "linearity": save(
            dm.LinearityModel(coeffs=coefficients, dq=none, dq_def=definition), "linearity", "quadratic correction"
        ),
        "superbias": save(bias, "superbias", "bias in DN"),
    }
    return {kind: Rule((DETECTOR,), {("NIS",): name}) for kind, name in files.items()}


def _darks(save: _Save, d: Detector, groups: int) -> Rules:
    """Accumulated dark current, for both readout patterns."""
    from stdatamodels.jwst import datamodels as dm

    none, definition = _flags(DO_NOT_USE=np.zeros(d.frame.shape, bool))
    files: Files = {}
    for pattern in READOUT_FRAMES:
        readout = Readout(pattern, groups)
        times = readout.group_times(d.frame).astype(np.float32)
        model = dm.DarkModel(data=times[:, None, None] * d.dark, dq=none, dq_def=definition)
        model.average_dark_current = d.dark * d.gain  # e/s: for the noise that it adds
        exposure = model.meta.exposure
        exposure.readpatt, exposure.ngroups = pattern, groups
        exposure.nframes, exposure.groupgap = readout.nframes, readout.groupgap
        files["NIS", pattern] = save(model, "dark", f"dark current as {pattern} accumulates it", pattern)
    return {"dark": Rule((DETECTOR, READPATT), files)}


def _flats(save: _Save, d: Detector, filters: Sequence[str]) -> Rules:
    """One flat per filter, for direct and for dispersed images."""
    from stdatamodels.jwst import datamodels as dm

    dq, definition = _flags(DO_NOT_USE=d.dead, NO_FLAT_FIELD=d.dead)
    files: Files = {}
    for name in filters:
        model = dm.FlatModel(data=d.flat[name], err=np.full_like(d.flat[name], 0.002), dq=dq, dq_def=definition)
        model.meta.instrument.filter, model.meta.instrument.pupil = "CLEAR", name
        model.meta.instrument.p_filter = f"{ALL_WHEELS}|"
        files["NIS", ALL_WHEELS, name] = save(model, "flat", f"flat field of {name}", name)
    return {"flat": Rule((DETECTOR, FILTER, PUPIL), files)}


def _backgrounds(save: _Save, d: Detector, filters: Sequence[str]) -> Rules:
    """Dispersed zodiacal light, as the detector sees it: the pipeline subtracts it before it divides by the flat."""
    from stdatamodels.jwst import datamodels as dm

    dq, definition = _flags(DO_NOT_USE=d.dead | d.hot)
    files: Files = {(IMAGE, "ANY", "ANY"): NOT_APPLICABLE}
    for grism in GRISMS:
        for name in filters:
            light = background_components(grism, name, d.frame)["zodiacal"]
            data = (light * d.flat[name]).astype(np.float32)
            model = dm.WfssBkgModel(data=data, err=np.full_like(data, 0.01), dq=dq, dq_def=definition)
            model.meta.exposure.type = WFSS
            model.meta.instrument.filter, model.meta.instrument.pupil = grism, name
            what = f"dispersed zodiacal light, {grism} and {name}"
            files[WFSS, grism, name] = save(model, "bkg", what, grism, name)
    return {"bkg": Rule((EXP_TYPE, FILTER, PUPIL), files)}


def aperture_correction(radius: float, radii: Array, fractions: Array) -> float:
    """Total flux over what an aperture holds once the mean of `SKY_ANNULUS` is subtracted.

    Parameters
    ----------
    radius : float
        Of the aperture, pixels.
    radii, fractions : ndarray, shape (n,)
        Encircled energy.
    """
    inner, outer, own = (float(np.interp(r, radii, fractions)) for r in (*SKY_ANNULUS, radius))
    sky = (outer - inner) / (SKY_ANNULUS[1] ** 2 - SKY_ANNULUS[0] ** 2) * radius**2
    return 1 / (own - sky)


def _photometry(save: _Save, traces: Traces, filters: Sequence[str], encircled_energy: EncircledEnergy) -> Rules:
    """Flux calibration of images and spectra, aperture corrections, and Vega magnitudes."""
    from astropy.table import Table
    from stdatamodels.jwst import datamodels as dm

    text = [("filter", "S12"), ("pupil", "S12")]
    rows: list[tuple] = [("CLEAR", n, FILTERS[n].photmjsr, 0.01 * FILTERS[n].photmjsr) for n in filters]
    image = dm.NisImgPhotomModel(phot_table=np.array(rows, [*text, ("photmjsr", "<f4"), ("uncertainty", "<f4")]))
    spectra = dm.NisWfssPhotomModel(phot_table=_spectral_response(traces, filters))
    spectra.phot_unit, spectra.wave_unit = "MJy micron s / (DN sr)", "micron"
    for model, kind in ((image, IMAGE), (spectra, WFSS)):
        model.meta.exposure.type = kind
        model.meta.photometry.pixelarea_steradians, model.meta.photometry.pixelarea_arcsecsq = PIXAR_SR, PIXAR_A2

    rows = []
    for name in filters:
        radii, fractions = encircled_energy(name)
        for percent in ENERGIES:
            radius = float(np.interp(percent / 100, fractions, radii))
            correction = aperture_correction(radius, radii, fractions)
            rows.append(("CLEAR", name, percent / 100, radius, correction, *SKY_ANNULUS))
    numbers = [(c, "<f4") for c in ("eefraction", "radius", "apcorr", "skyin", "skyout")]
    apcorr = dm.NisImgApcorrModel(apcorr_table=np.array(rows, [text[0], ("pupil", "S15"), *numbers]))
    apcorr.meta.exposure.type = IMAGE

    vega = dm.ABVegaOffsetModel()
    offsets = np.array([AB_MINUS_VEGA[n] for n in filters], np.float32)
    columns = {"filter": ["CLEAR"] * len(filters), "pupil": list(filters), "abvega_offset": offsets}
    vega.abvega_offset = Table(columns)
    photom: Files = {
        (IMAGE,): save(image, "photom", "MJy/sr per DN/s", "image"),
        (WFSS,): save(spectra, "photom", "inverse sensitivities of the grisms, from GRISM_NIRISS V3", "wfss"),
    }
    file = save(apcorr, "apcorr", "aperture corrections of the simulated PSF")
    vega_file = save(vega, "abvegaoffset", "AB minus Vega magnitudes", suffix="asdf")
    return {
        "photom": Rule((EXP_TYPE,), photom),
        "apcorr": Rule((EXP_TYPE,), {(IMAGE,): file, (WFSS,): NOT_APPLICABLE}),
        "abvegaoffset": Rule((), {(): vega_file}),
    }


def _spectral_response(traces: Traces, filters: Sequence[str]) -> NDArray[np.void]:
    """MJy/sr per DN/s times the dispersion in μm per pixel: what the pipeline multiplies by.

    ``f_λ = counts / (sensitivity Δλ)`` becomes ``f_ν = f_λ λ² / c`` per solid angle of a pixel. Wavelengths at which
    an order has less than 0.5 % of its peak sensitivity are not calibrated: their response is 0.
    """
    count, rows = 600, []
    for grism in GRISMS:
        for name in filters:
            for order in ORDERS:
                wave = np.linspace(FILTERS[name].wave_min - 0.02, FILTERS[name].wave_max + 0.02, count)
                sensitivity = traces.sensitivity(grism, name, order, wave)
                used = sensitivity > 0.005 * sensitivity.max()
                with np.errstate(divide="ignore"):
                    response = 1e17 * (wave * 1e4) ** 2 / 2.99792458e18 / (PIXAR_SR * sensitivity * 1e4)
                response = np.where(used, response, 0)
                rows.append((grism, name, order, 1.0, 0.01, count, wave, response, 0.02 * response))
    curves = [(column, "<f4", (count,)) for column in ("wavelength", "relresponse", "reluncertainty")]
    numbers = [("order", "<i2"), ("photmjsr", "<f4"), ("uncertainty", "<f4"), ("nelem", "<i2")]
    return np.array(rows, [("filter", "S12"), ("pupil", "S15"), *numbers, *curves])


def _geometry(save: _Save, filters: Sequence[str]) -> Rules:
    """Distortion, and offsets between filters, which are none."""
    from astropy import units as u
    from stdatamodels.jwst import datamodels as dm

    model = dm.DistortionModel(model=distortion(NIS_CEN), input_units=u.pix, output_units=u.arcsec)
    model.meta.exposure.type, model.meta.exposure.p_exptype = IMAGE, f"{IMAGE}|{WFSS}|"
    offsets = dm.FilteroffsetModel()
    offsets.filters = [{"filter": "CLEAR", "pupil": n, "row_offset": 0.0, "column_offset": 0.0} for n in filters]
    offsets.meta.exposure.type, offsets.meta.input_units = IMAGE, u.pix
    file = save(model, "distortion", f"{NIS_CEN.name} of SIAF (PRDOPSSOC-072)", suffix="asdf")
    none = save(offsets, "filteroffset", "no offsets between filters", suffix="asdf")
    return {
        "distortion": Rule((EXP_TYPE,), {(f"{IMAGE}|{WFSS}",): file}),
        "filteroffset": Rule((EXP_TYPE,), {(IMAGE,): none, (WFSS,): NOT_APPLICABLE}),
    }


def distortion(aperture: Aperture) -> Any:
    """Model from 0-based full-frame pixels to V2 and V3 in arcsec, with a polynomial inverse.

    The inverse is fitted to the forward polynomials over the detector, to better than 1e-3 pixel; SIAF's own has
    their degree and is worse.
    """
    from astropy.modeling.models import AffineTransformation2D, Mapping, Polynomial2D, Shift

    def powers(degree: int) -> list[tuple[int, int]]:
        return [(p - q, q) for p in range(degree + 1) for q in range(p + 1)]

    def polynomial(degree: int, coefficients: Iterable[float]) -> Any:
        pairs = zip(powers(degree), coefficients, strict=True)
        return Polynomial2D(degree, **{f"c{i}_{j}": float(c) for (i, j), c in pairs})

    grid = np.linspace(0, 2047, 64)
    x, y = (g.ravel() for g in np.meshgrid(grid, grid))
    ideal = np.array(aperture.to_ideal(x, y))
    scale, degree = np.abs(ideal).max(), aperture.degree
    terms = np.stack([(ideal[0] / scale) ** i * (ideal[1] / scale) ** j for i, j in powers(degree + 1)], axis=1)
    pixels = np.stack([x + 1 - aperture.x_ref, y + 1 - aperture.y_ref], axis=1)
    fitted = np.linalg.lstsq(terms, pixels)[0].T / [scale ** (i + j) for i, j in powers(degree + 1)]

    m, reference = aperture.rotation, [aperture.v2_ref, aperture.v3_ref]
    centre = Shift(1 - aperture.x_ref) & Shift(1 - aperture.y_ref)
    both = Mapping((0, 1, 0, 1))
    to_ideal = polynomial(degree, aperture.x_coefficients) & polynomial(degree, aperture.y_coefficients)
    from_ideal = polynomial(degree + 1, fitted[0]) & polynomial(degree + 1, fitted[1])
    forward = centre | both | to_ideal | AffineTransformation2D(matrix=m, translation=reference)
    back = Shift(-reference[0]) & Shift(-reference[1]) | AffineTransformation2D(matrix=np.linalg.inv(m))
    forward.inverse = back | both | from_ideal | Shift(aperture.x_ref - 1) & Shift(aperture.y_ref - 1)
    forward.name = "distortion"
    return forward


def _traces(save: _Save, traces: Traces, filters: Sequence[str]) -> Rules:
    """Trace polynomials and wavelength ranges."""
    from astropy import units as u
    from astropy.modeling.models import Polynomial1D, Polynomial2D
    from stdatamodels.jwst import datamodels as dm

    def surfaces(rows: Array) -> list[Any]:
        names = ("c0_0", "c1_0", "c0_1", "c2_0", "c1_1", "c0_2")
        return [Polynomial2D(2, **dict(zip(names, map(float, row), strict=True))) for row in rows]

    files: Files = {(IMAGE, "ANY", "ANY"): NOT_APPLICABLE}
    for grism in GRISMS:
        for name in filters:
            found = [traces.table[grism, name, order] for order in ORDERS]
            model = dm.NIRISSGrismModel(
                displ=[Polynomial1D(1, c0=o.displ[0], c1=o.displ[1]) for o in found],
                invdispl=[Polynomial1D(1, c0=-o.displ[0] / o.displ[1], c1=1 / o.displ[1]) for o in found],
                dispx=[surfaces(o.dispx) for o in found],
                dispy=[surfaces(o.dispy) for o in found],
                orders=list(ORDERS),
                fwcpos_ref=FWCPOS_REF[grism],
            )
            model.meta.exposure.type = WFSS
            model.meta.input_units = model.meta.output_units = u.micron
            model.meta.instrument.filter, model.meta.instrument.pupil = grism, name
            what = f"traces of GRISM_NIRISS V3, {grism} and {name}"
            files[WFSS, grism, name] = save(model, "specwcs", what, grism, name, suffix="asdf")
    ranges = dm.WavelengthrangeModel(
        wrange=[[order, n, FILTERS[n].wave_min, FILTERS[n].wave_max] for n in filters for order in sorted(ORDERS)],
        wrange_selector=list(filters),
        order=sorted(ORDERS),
        extract_orders=[[n, [1]] for n in filters],
        wunits=u.micron,
    )
    ranges.meta.exposure.type = WFSS
    file = save(ranges, "wavelengthrange", "where the filters let half of the light through", suffix="asdf")
    return {
        "specwcs": Rule((EXP_TYPE, FILTER, PUPIL), files),
        "wavelengthrange": Rule((EXP_TYPE,), {(WFSS,): file, (IMAGE,): NOT_APPLICABLE}),
    }


def _parameters(save: _Save, filters: Sequence[str]) -> Rules:
    """Parameters of the jump step; all other steps have their defaults."""
    kind = "pars-jumpstep"
    name = f"jwst_niriss_{kind}_0001.asdf"
    bands = "|".join(filters)
    valid = {"p_filter": f"{ALL_WHEELS}|", "p_pupil": f"{bands}|"}
    crds_cache.write_parameters(save.folder / name, "jwst.jump.jump_step.JumpStep", JUMP_PARAMETERS, valid)
    return {kind: Rule((FILTER, PUPIL), {(ALL_WHEELS, bands): name})}
