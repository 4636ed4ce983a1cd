"""Mosaics and dispersed exposures of one simulated sky, and what is made of them, up to spec2; environment jwst.

``grism_scene.py <pixels> <seed> [wcs|all] [<filter> ...]`` writes grism.json in the working folder; with ``wcs``, of
grism_wcs alone. Images are made from the expected light, with noise; ramps play no part here. Detection is the truth's:
what is above the noise belongs to the brightest source near it. Of the second visit nothing is aligned.
"""

import json
import sys
import time
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np

PIXELS, SEED = int(sys.argv[1]), int(sys.argv[2])
PART = sys.argv[3] if len(sys.argv) > 3 else "all"
FILTERS = tuple(sys.argv[4:]) or ("F150W", "F200W")
FOLDER = Path.cwd()
CENTRE, EPOCH = (150.1, 2.2), 2024.5
SCALE, NATIVE = 0.04, 0.0656
DENSITY = 1.5 * min(1.0, 2 * (512 / PIXELS) ** 2)
"""Of sources, over the usual one: large images have no more than twice those of small ones."""
ZODIACAL, READ, GAIN, SECONDS = 0.6, 0.03, 1.61, 400.0
FULL = 45000 / 43
"""DN/s that saturate in the first group."""
CARRIED = 0.005
"""Arcsec per axis, scatter of exposures whose visit has been aligned."""
COMPACT, BLEND, WINGS = 5.0, 0.05, 0.03
"""Pixels, half-light radius of galaxies whose lines are measured; microns in which lines are one; and beyond them."""
STARS = 20.0
"""AB magnitude of stars that may saturate."""
BLIND = (0.62, -0.45)
"""Arcsec that the other visit's pointing is off."""
GRISMS = ("GR150R", "GR150C")
# roll, filter, grism: each of both grisms, and of another visit one
PLAN = {
    f"jw09999001001_02101_{i:05d}_nis": (37.0, filter, grism)
    for i, (filter, grism) in enumerate(product(FILTERS, GRISMS), start=1)
} | {f"jw09999002001_02101_{i:05d}_nis": (97.0, filter, GRISMS[i % 2]) for i, filter in enumerate(FILTERS, start=1)}


def plan(exposure: str) -> dict:
    """What the simulator asks of an observation."""
    roll, filter, grism = PLAN[exposure]
    return {
        "exposure": exposure, "roll": roll, "filter": filter, "grism": grism, "seed": SEED, "centre": CENTRE,
        "frame": [1025 - PIXELS // 2, 1025 - PIXELS // 2, PIXELS, PIXELS], "dither": 0.8, "zodiacal": ZODIACAL,
        "scattered_sky": 0.1, "helium_sky": 0.1,
    }  # fmt: skip


def mosaics(table, frame) -> object:
    """Write the mosaics, the segments and the catalogue; return the catalogue."""
    from pureparallel.core import drizzling, grid
    from pureparallel.provenance import Lineage
    from pureparallel.simulate import observe, pointing
    from pureparallel.simulate.instrument import FILTERS as BANDS
    from pureparallel.steps import mosaic
    from scipy.ndimage import binary_dilation

    rng = np.random.default_rng(SEED)
    pointings = [
        pointing.dithered(observe.on_frame(CENTRE, (37.0, 97.0)[i % 2], frame), *rng.uniform(-1.2, 1.2, 2))
        for i in range(4)
    ]
    maps = [grid.PixelMap.of(partial(pointing.to_sky, pointing=one, frame=frame), frame.shape) for one in pointings]
    plane = grid.Grid.around(np.concatenate([one.corners() for one in maps]), SCALE, centre=CENTRE)
    significance = np.zeros(plane.shape)
    for filter in FILTERS:
        sums, seen = (drizzling.Sums.empty(plane.shape) for _ in range(2))
        factor = np.float32(BANDS[filter].photmjsr)
        for truly, positions in zip(pointings, maps, strict=True):
            draw = partial(observe.light, {"grism": None, "filter": filter}, frame=frame)
            found = observe.sources(table, truly, frame)
            light = draw(found)
            # wings of stars that are not seen are no sources, as detect has it
            hidden = [row["kind"] == "star" and row["mag_ref"] < STARS for row in table]
            alone = draw([one for one, star in zip(found, hidden, strict=True) if not (star and saturates(one, light))])
            error = np.sqrt(READ**2 + (light + 0.7) / GAIN / SECONDS)
            weight = np.full(frame.shape, 1 / (READ**2 + 0.7 / GAIN / SECONDS) / factor**2, np.float32)
            weight[binary_dilation(light > FULL, iterations=2)] = 0
            box = positions.box(plane)
            area = np.float32(observe_area() / positions.pixel_area())
            noise = rng.normal(0, error)
            for target, image in ((sums, light), (seen, alone)):
                parts = drizzling.drizzle_one(
                    (image + noise) * factor * area, weight, (error * factor * area) ** 2, positions.on(plane), box,
                    pixfrac=1.0,
                )  # fmt: skip
                target.add(box, *parts, SECONDS)
        mosaic.write(
            FOLDER / f"scene_{filter}_mosaic.fits", FOLDER / f"{filter}.jpg", sums, plane,
            [SimpleNamespace(name=f"jw09999001001_02101_{i + 1:05d}_nis") for i in range(4)],
            ("scene", filter), {"pixfrac": 1.0, "kernel": "square"}, Lineage.of("mosaic", []),
        )  # fmt: skip
        data, error, *_ = seen.finish()
        good = np.isfinite(data) & (error > 0)
        significance += np.where(good, data / np.where(good, error, 1), 0)
    return segments(table, significance / np.sqrt(len(FILTERS)), plane)


def observe_area() -> float:
    """Nominal solid angle of a pixel."""
    from pureparallel.simulate.instrument import PIXAR_SR

    return PIXAR_SR


def saturates(source, light) -> bool:
    """Whether the middle of a bright source is too bright, or not on the image."""
    x, y = round(source.x), round(source.y)
    ny, nx = light.shape
    if not (1 <= x < nx - 1 and 1 <= y < ny - 1):
        return True
    return bool(light[y - 1 : y + 2, x - 1 : x + 2].max() > FULL)


def segments(table, significance, plane):
    """Give what is above the noise to the sources: every pixel to the one that is brightest there."""
    from astropy.io import fits
    from astropy.table import Table
    from pureparallel import io
    from pureparallel.provenance import Lineage
    from scipy.ndimage import gaussian_filter, label

    smooth = gaussian_filter(significance, 1.5) * np.sqrt(4 * np.pi) * 1.5 / 1.6
    parts, _ = label(smooth > 2)
    x, y = plane.to_pixel(table["ra"], table["dec"])
    ny, nx = plane.shape
    labels, best, found = np.zeros(plane.shape, np.int32), np.zeros(plane.shape), set()
    for i, row in enumerate(table):
        column, line, reach = round(float(x[i])), round(float(y[i])), 120
        if not (2 <= column < nx - 2 and 2 <= line < ny - 2 and smooth[line, column] > 4):
            continue
        found.add(int(parts[line, column]))
        box = slice(max(line - reach, 0), line + reach), slice(max(column - reach, 0), column + reach)
        rows, columns = np.arange(ny)[box[0], None], np.arange(nx)[box[1]]
        size = np.hypot(row["re_arcsec"], 0.08) / SCALE
        away = np.hypot(rows - y[i], columns - x[i]) / size
        light = 10 ** (-0.4 * row["mag_ref"]) / size**2 * np.exp(-1.7 * away)
        nearer = light > best[box]
        labels[box][nearer], best[box][nearer] = row["id"], light[nearer]
    labels[~np.isin(parts, sorted(found - {0}))] = 0
    count = np.bincount(labels.ravel(), minlength=len(table) + 2)
    kept = [i for i, one in enumerate(table["id"]) if count[one] >= 9]
    labels[~np.isin(labels, np.asarray(table["id"])[kept])] = 0
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(labels, name="SCI")])
    hdus[1].header.update(plane.keywords())
    io.write_fits(FOLDER / "scene_segm.fits", hdus, Lineage.of("detect", []))
    catalogue = Table({"label": table["id"][kept], "ra": table["ra"][kept], "dec": table["dec"][kept]})
    catalogue.write(FOLDER / "scene_cat.ecsv", format="ascii.ecsv", overwrite=True)
    return catalogue


def simulate() -> tuple:
    """Write all inputs; return the sky, the catalogue and true pointings and light by exposure."""
    from pureparallel import calibration, io
    from pureparallel.core import masks
    from pureparallel.core.pointing import Pointing
    from pureparallel.provenance import Lineage
    from pureparallel.simulate import header, observe, references, sky
    from pureparallel.simulate.detector import make_detector
    from pureparallel.simulate.instrument import Frame, Readout, seed_for

    frame = Frame(*plan(next(iter(PLAN)))["frame"])
    detector = make_detector(frame, SEED)
    references.build(FOLDER / "crds", frame, SEED, FILTERS)
    calibration.configure(FOLDER / "crds", "jwst_0001.pmap")
    calibration.ready(["jwst.assign_wcs", "jwst.flatfield"])
    from stdatamodels.jwst.datamodels import ImageModel

    wanted = sky.Detectable(10, FILTERS, 3e-17)
    table = sky.make(CENTRE, PIXELS / 512 * 0.28, SEED, 26.0, DENSITY, star_scale=4, epoch=EPOCH, detectable=wanted)
    sky.gaia_catalogue(table).write(FOLDER / "gaia.ecsv", format="ascii.ecsv", overwrite=True)
    catalogue = mosaics(table, frame)
    true, rows, lineage = {}, [], Lineage.of("simulate", [], seed=SEED)
    (FOLDER / "rates").mkdir(exist_ok=True)
    (FOLDER / "masks").mkdir(exist_ok=True)
    for exposure in PLAN:
        one = plan(exposure)
        truly = observe.true_pointing(one)
        blind = exposure[7:13] == "002001"
        off = np.array(BLIND if blind else seed_for(SEED, exposure, "carried").normal(0, CARRIED, 2)) / 3600
        told = Pointing(float(truly.ra + off[0] / np.cos(np.deg2rad(truly.dec))), float(truly.dec + off[1]), truly.roll)
        rows.append((exposure, exposure[7:13], told.ra, told.dec, told.roll, "pointing" if blind else "gaia"))
        found = observe.sources(table, truly, frame)
        light, level = observe.light(one, found, frame), observe.sky_level(one, frame)
        flat, error = detector.flat[one["filter"]], np.sqrt(READ**2 + (light + level) / GAIN / SECONDS)
        noise = error * seed_for(SEED, exposure, "noise").normal(size=frame.shape)
        meta = header.level1b(
            exposure=exposure, start="2024-07-01T06:00:00", filter=one["filter"], grism=one["grism"], frame=frame,
            readout=Readout("NIS", 6), header_pointing=told, guide_star=header.GuideStar("S1", 150.2, 2.3, 15.0),
            fwcpos=observe.fwcpos(one),
        )  # fmt: skip
        model = ImageModel(((light + level) * flat + noise).astype(np.float32))
        model.err, model.dq = error.astype(np.float32), detector.dead.astype(np.uint32)
        model.var_rnoise = np.full(frame.shape, READ**2, np.float32)
        model.var_poisson = (error**2 - READ**2).astype(np.float32)
        for key, value in meta.items():
            model[key] = value
        calibration.save(FOLDER / "rates" / f"{exposure}_rate.fits", model, lineage)
        io.write_json(FOLDER / "rates" / f"{exposure}.metrics.json", {"name": exposure, "reason": ""})
        bits = masks.combine({"GHOST": np.zeros(frame.shape, bool)})
        masks.write_mask(FOLDER / "masks" / f"{exposure}_mask.fits", bits, {}, lineage)
        true[exposure] = SimpleNamespace(pointing=truly, light=light, found=found, plan=one)
    tables(rows, lineage)
    return table, catalogue, true, frame


def tables(rows: list, lineage, others: dict[str, str] | None = None) -> None:
    """Write the solution of the direct images and the table of exposures; `others` have no solution, but a reason."""
    from astropy.io import fits
    from astropy.table import Table
    from pureparallel import io

    groups = Table(
        rows=[("001001", "gaia", 9, 0.3, 0.003), ("002001", "002001", 0, 0.5, 0.5)],
        names=["group", "part", "sources", "shift_error", "relative_error"],
    )
    exposures = Table(rows=rows, names=["exposure", "group", "ra", "dec", "roll", "rung"])
    carried = np.asarray(exposures["group"]) == "001001"
    exposures["part"] = np.where(carried, "gaia", "002001")
    exposures["corners"] = np.where(carried[:, None, None], np.zeros((4, 2)), np.nan)
    used = [(row[0], True, "") for row in rows] + [(name, not why, why) for name, why in (others or {}).items()]
    verdicts = Table(rows=used, names=["exposure", "use", "reason"])
    for path, content in (
        ("solution.fits", {"GROUPS": groups, "EXPOSURES": exposures}), ("exposures.fits", {"EXPOSURES": verdicts})
    ):  # fmt: skip
        hdus = fits.HDUList([fits.PrimaryHDU(), *(fits.BinTableHDU(one, name=name) for name, one in content.items())])
        io.write_fits(FOLDER / path, hdus, lineage)


def inputs() -> dict:
    """What both steps are given."""
    return {
        "catalogue": FOLDER / "scene_cat.ecsv", "segmentation": FOLDER / "scene_segm.fits",
        "mosaics": [FOLDER / f"scene_{filter}_mosaic.fits" for filter in FILTERS], "references": FOLDER / "crds",
        "gaia": [FOLDER / "gaia.ecsv"],
    }  # fmt: skip


def direct_image(filter: str) -> dict[str, str]:
    """Write mosaic, segments and catalogue as the pipeline wants them; their names by what it calls them."""
    from astropy import units
    from astropy.coordinates import SkyCoord
    from astropy.io import fits
    from astropy.table import QTable, Table
    from jwst.assign_wcs.pointing import create_fitswcs
    from pureparallel.core.grid import Grid
    from scipy.ndimage import find_objects
    from stdatamodels.jwst.datamodels import ImageModel, SegmentationMapModel

    with fits.open(FOLDER / f"scene_{filter}_mosaic.fits") as hdus:
        image, grid = np.nan_to_num(hdus["SCI"].data), Grid.of(hdus["SCI"].header)
    labels = fits.getdata(FOLDER / "scene_segm.fits", "SCI")
    known, boxes = Table.read(FOLDER / "scene_cat.ecsv"), find_objects(labels)
    names = {"direct_image": f"direct_{filter}_i2d.fits", "segmentation_map": f"direct_{filter}_segm.fits"}
    models = ImageModel(image.astype(np.float32)), SegmentationMapModel(labels.astype(np.uint32))
    for model, name in zip(models, names.values(), strict=True):
        for key, value in grid.keywords().items():
            if key.lower() != "radesys":
                setattr(model.meta.wcsinfo, key.lower(), value)
        model.meta.wcs = create_fitswcs(model)
        model.meta.instrument.name = "NIRISS"
        model.save(FOLDER / name)
    table = QTable({"label": np.asarray(known["label"])})
    table["sky_centroid"] = SkyCoord(known["ra"], known["dec"], unit="deg")
    table["xcentroid"], table["ycentroid"] = grid.to_pixel(known["ra"], known["dec"])
    flux = np.bincount(labels.ravel(), image.ravel().astype(float))[known["label"]] * grid.pixel_area * 1e12
    table["isophotal_abmag"] = 23.9 - 2.5 * np.log10(np.maximum(flux, 1e-6))
    table["isophotal_abmag_err"] = 0.05
    table["is_extended"] = True
    for key, (row, column) in {"ll": (0, 0), "ul": (1, 0), "lr": (0, 1), "ur": (1, 1)}.items():
        ends = [[(s.start, s.stop) for s in boxes[i - 1]] for i in known["label"]]
        x, y = np.transpose([(sx[column], sy[row]) for sy, sx in ends])
        table[f"sky_bbox_{key}"] = SkyCoord(*grid.to_sky(x, y), unit=units.deg)
    table.write(FOLDER / f"direct_{filter}_cat.ecsv", format="ascii.ecsv", overwrite=True)
    return names | {"source_catalog": f"direct_{filter}_cat.ecsv"}


def judge_wcs(true: dict, path: Path) -> dict:
    """By exposure, pixels by which its traces are off."""
    from astropy.table import Table
    from pureparallel import calibration, grisms
    from pureparallel.core.pointing import Pointing

    found = {}
    for row in Table.read(path, hdu="EXPOSURES"):
        name = str(row["exposure"])
        chain = calibration.Chain("spec2pipeline")
        rate = FOLDER / "rates" / f"{name}_rate.fits"
        truly, mine = (
            grisms.optics(grisms.open_dispersed(rate, one, chain), (1,))
            for one in (true[name].pointing, Pointing(*(float(row[key]) for key in ("ra", "dec", "roll"))))
        )
        x, y = (v.ravel() for v in np.meshgrid([0.0, PIXELS - 1], [0.0, PIXELS - 1]))
        there = mine.direct(*truly.sky(x, y))
        off = np.mean([there[0] - x, there[1] - y], axis=1)
        along, across = (off if mine.along_x else off[::-1]).tolist()
        error = [float(row[f"error_{axis}"]) for axis in ("xy" if mine.along_x else "yx")]
        found[name] = {
            "grism": mine.grism, "filter": mine.filter, "rung": str(row["rung"]), "along": along, "across": across,
            "error_along": error[0], "error_across": error[1], "traces": int(row["traces"]),
        }  # fmt: skip
    return found


def judge_spec2(table, catalogue, true: dict, frame) -> dict:
    """Contamination, spectra and lines of all cut-outs against what was drawn."""
    from pureparallel import spec2_files
    from pureparallel.simulate import observe, render

    index = {int(one): i for i, one in enumerate(table["id"])}
    found: dict = {"overlap": [], "lines": [], "spectra": [], "cpu": [], "contributors": []}
    for name, one in true.items():
        cutouts = spec2_files.read(FOLDER / "spectra" / f"{name}_spec2.fits")
        metrics = json.loads((FOLDER / "spectra" / f"{name}.metrics.json").read_text())
        found["cpu"].append(metrics["cpu_seconds"])
        found["contributors"].append(len(catalogue))
        known = {int(label) for label in catalogue["label"]} | {int(i) for i in table["id"][table["mag_ref"] < 20]}
        modelled = [one.found[index[i]] for i in sorted(known)]
        light = observe.light(one.plan, modelled, frame)
        np.save(FOLDER / f"truth_{name}.npy", light.astype(np.float32))
        draw = partial(
            render.dispersed_image, traces=observe._traces(), grism=one.plan["grism"], filter=one.plan["filter"],
            shape=frame.shape, orders=(1,), fwcpos=observe.fwcpos(one.plan),
        )  # fmt: skip
        for row in cutouts.sources[cutouts.sources["ny"] > 0]:
            source = one.found[index[int(row["id"])]]
            pixels = cutouts.of(int(row["id"]))
            own = draw([source])
            continuum = draw([render.Source(source.x, source.y, source.spectrum, (), source.profile)])
            cut = partial(cut_like, row, pixels.sci.shape, one.plan["grism"].endswith("C"))
            found["overlap"] += [overlap(int(row["id"]), name, pixels, cut(light - own), cut(own))]
            if row["complete"] > 0.98 and row["contamination"] < 0.2:
                found["spectra"] += [flux_ratio(pixels, cut(continuum), source, one.plan["filter"])]
                found["lines"] += lines(pixels, cut(own), cut(continuum), source, one.plan["filter"])
    found["overlap"] = [row for row in found["overlap"] if row]
    found["spectra"] = [row for row in found["spectra"] if row]
    return found


def cut_like(row, shape: tuple[int, int], along_x: bool, image):
    """The part of an image that a row's cut-out is."""
    ny, nx = shape if along_x else shape[::-1]
    part = image[row["low"] : row["low"] + ny, row["left"] : row["left"] + nx]
    return part if along_x else part.T


def overlap(identifier: int, name: str, pixels, others, own) -> dict | None:
    """Where others' light is bright on a source's trace: how much of it the model misses."""
    noise = np.median(pixels.err[pixels.err > 0])
    on = (own > 0.1 * own.max()) & (others > 3 * noise)
    if on.sum() < 50 or others[on].sum() < 0.3 * own[on].sum():
        return None
    off = pixels.contam[on] - others[on]
    return {
        "id": identifier, "exposure": name, "pixels": int(on.sum()), "brightness": float(others[on].mean() / noise),
        "net": float(off.sum() / others[on].sum()), "absolute": float(np.abs(off).sum() / others[on].sum()),
    }  # fmt: skip


def flux_ratio(pixels, continuum, source, filter: str) -> list | None:
    """Continuum of noiseless light by the file's response, over the truth; and its signal to noise."""
    from pureparallel.simulate.instrument import FILTERS as BANDS

    band, wave = BANDS[filter], pixels.wavelength
    inside = (wave > band.wave_min + 0.02) & (wave < band.wave_max - 0.02)
    micro = source.spectrum(wave) * (wave * 1e4) ** 2 / 2.99792458e18 * 1e29
    if inside.sum() < 20:
        return None
    ratio = float(np.median((continuum.sum(axis=0) / pixels.response)[inside] / micro[inside]))
    return [ratio, float(micro[inside].mean())]


def lines(pixels, own, continuum, source, filter: str) -> list:
    """Measured over true flux of each line and its blends that no other is near, well inside the filter; its error.

    First without noise, all light; then with it, where the line is bright, made up for what is left out.
    """
    from pureparallel.simulate.instrument import FILTERS as BANDS

    band, found = BANDS[filter], []
    if source.profile is not None and source.profile.re > COMPACT:
        return []
    known = pixels.response > 0.05 * pixels.response.max()
    # DN/s over DN/s per uJy is uJy per column, times the frequency of a column
    step = np.abs(np.gradient(pixels.wavelength)) * 1e4
    unit = 1e-29 * 2.99792458e18 / (pixels.wavelength * 1e4) ** 2 * step / np.where(known, pixels.response, np.inf)
    for line in source.lines:
        away = np.array([abs(other.wave_micron - line.wave_micron) for other in source.lines])
        flux = np.array([other.flux for other in source.lines])
        blend = float(flux[away < BLEND].sum())
        inside = band.wave_min + 0.06 < line.wave_micron < band.wave_max - 0.06
        beside = flux[(away >= BLEND) & (away < BLEND + 2 * WINGS)].max(initial=0.0)
        if not inside or line.flux < max(1e-17, flux[away < BLEND].max()) or beside > 0.02 * line.flux:
            continue
        at = np.abs(pixels.wavelength - line.wave_micron) < BLEND + WINGS
        true = (own - continuum) * unit * at
        bright = (true > 0.03 * true.max()) & (pixels.err > 0)
        seen = float(((pixels.sci - pixels.contam - continuum) * unit)[bright].sum())
        error = float(np.sqrt(((pixels.err * unit)[bright] ** 2).sum()))
        part = float(true[bright].sum()) / blend
        found.append([float(true.sum()) / blend, seen / part / blend, error / part / blend])
    return found


def main() -> None:
    """All steps on one scene."""
    from pureparallel.steps.background_wfss import background_wfss
    from pureparallel.steps.grism_wcs import grism_wcs
    from pureparallel.steps.spec2 import spec2

    table, catalogue, true, frame = simulate()
    given, start = inputs(), time.process_time()
    grism_wcs(
        field="scene", rates=[FOLDER / "rates"], exposures=FOLDER / "exposures.fits", solution=FOLDER / "solution.fits",
        table=FOLDER / "wcs.fits", figure=FOLDER / "wcs.png", metrics=FOLDER / "wcs.json", **given,
    )  # fmt: skip
    found = {"wcs_cpu": time.process_time() - start, "wcs": judge_wcs(true, FOLDER / "wcs.fits")}
    if PART == "all":
        background_wfss(
            rates=FOLDER / "rates", masks=FOLDER / "masks", exposures=FOLDER / "exposures.fits",
            wcs=FOLDER / "wcs.fits", subtracted=FOLDER / "dispersed", figures=FOLDER / "figures_sky", **given,
        )  # fmt: skip
        spec2(
            dispersed=FOLDER / "dispersed", wcs=FOLDER / "wcs.fits", spectra=FOLDER / "spectra",
            figures=FOLDER / "figures", **given,
        )  # fmt: skip
        found |= judge_spec2(table, catalogue, true, frame)
    (FOLDER / "grism.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
