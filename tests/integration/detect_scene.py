"""Mosaics of a simulated sky, deeper in galaxies than in noise, and what the step detect makes of them.

``scene PIXELS SEED`` writes ``scene_<filter>_mosaic.fits``, ``scene_truth.ecsv``: ``snr`` is what a filter matched to
a source's own light finds at best in all mosaics together, ``pair`` numbers the two members of the pairs put in.
``truth FIELD FILE`` writes the same table for mosaics of a simulated field, from its sky's truth.
``measure FIELD`` compares a catalogue with that table, into ``FIELD_measured.json``.
``punch`` writes ``punched_*``: the scene without the core of its brightest star. ``empty`` writes noise alone.
``pipeline FIELD`` reads the products as the calibration pipeline's slitless steps do, into ``FIELD_pipeline.json``.
"""

import json
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

FOLDER = Path.cwd()
FILTERS = ("F115W", "F150W", "F200W")
CENTRE, ROLLS, EXPOSURES = (150.1, 2.2), (37.0, 97.0), 3
SCALE, NATIVE = 0.04, 0.0656
SKY, READ, GAIN, SECONDS = 0.35, 0.03, 1.61, 100.0
"""Zodiacal light and read noise, DN/s; electrons per DN."""
FAINTEST = 28.5
SEPARATION = 0.5
"""Arcsec, of pairs."""
COLUMNS = ("id", "kind", "ra", "dec", "re_arcsec", "sersic_n", "axis_ratio", "mag_F150W", "snr", "pair")

NEAR = 0.16
"""Arcsec: nearer to a detection, or within a third of its half-light radius, a source is what was detected."""
BLEND = 0.2
"""Arcsec: sources nearer to a brighter one count as one with it."""
FREE = 1.0
"""Arcsec, from isolated sources to any that is not much fainter."""
LEAST = 3.0
"""True signal-to-noise of what can be detected."""


def scene(pixels: int, seed: int) -> None:
    """Write the mosaics and the truth."""
    from pureparallel.core import drizzling, grid
    from pureparallel.provenance import Lineage
    from pureparallel.simulate import observe, pointing, render
    from pureparallel.simulate.instrument import FILTERS as BANDS
    from pureparallel.simulate.instrument import Frame
    from pureparallel.steps import mosaic

    frame = Frame(1025 - pixels // 2, 1025 - pixels // 2, pixels, pixels)
    rng = np.random.default_rng(seed)
    table = sky(pixels, seed, rng)
    pointings = [
        pointing.dithered(observe.on_frame(CENTRE, ROLLS[i % 2], frame), *rng.uniform(-1.2, 1.2, 2))
        for i in range(EXPOSURES)
    ]
    maps = [grid.PixelMap.of(partial(pointing.to_sky, pointing=one, frame=frame), frame.shape) for one in pointings]
    plane = grid.Grid.around(np.concatenate([one.corners() for one in maps]), SCALE, centre=CENTRE)
    for filter in FILTERS:
        sums, factor = drizzling.Sums.empty(plane.shape), np.float32(BANDS[filter].photmjsr)
        for truly, positions in zip(pointings, maps, strict=True):
            light = render.direct_image(observe.sources(table, truly, frame), filter, frame.shape)
            error = np.sqrt(READ**2 + (light + SKY) / GAIN / SECONDS)
            weight = np.full(frame.shape, 1 / (READ**2 + SKY / GAIN / SECONDS) / factor**2, np.float32)
            weight[rng.uniform(size=frame.shape) < 0.005] = 0
            box = positions.box(plane)
            data, weight, variance = drizzling.drizzle_one(
                (light + rng.normal(0, error)) * factor, weight, (error * factor) ** 2, positions.on(plane), box,
                pixfrac=1.0,
            )  # fmt: skip
            sums.add(box, data, weight, variance, SECONDS)
        mosaic.write(
            FOLDER / f"scene_{filter}_mosaic.fits", FOLDER / f"{filter}.jpg", sums, plane,
            [SimpleNamespace(name=f"jw09999001001_02101_{i + 1:05d}_nis") for i in range(EXPOSURES)],
            ("scene", filter), {"pixfrac": 1.0, "kernel": "square"}, Lineage.of("mosaic", []),
        )  # fmt: skip
    write_truth("scene", table)


def sky(pixels: int, seed: int, rng):
    """The simulator's sky, and companions beside every third galaxy of 22 to 26 mag."""
    from astropy.table import vstack
    from pureparallel.simulate import sky as simulated

    radius = NATIVE * pixels / 2 / 60
    table = simulated.make(CENTRE, radius, seed, FAINTEST, margin_arcmin=0.1, star_scale=4, bright_star_mag=None)
    table["pair"] = 0
    small = table["re_arcsec"] < 0.25
    hosts = np.flatnonzero((table["mag_ref"] > 22) & (table["mag_ref"] < 26) & small & table["inside"])[::3]
    extra = table[[nearest(table, host, small, rng) for host in hosts]]
    angle = rng.uniform(0, 2 * np.pi, len(hosts))
    east = SEPARATION * np.sin(angle) / 3600 / np.cos(np.deg2rad(CENTRE[1]))
    extra["ra"], extra["dec"] = table["ra"][hosts] + east, table["dec"][hosts] + SEPARATION * np.cos(angle) / 3600
    table["pair"][hosts] = extra["pair"] = np.arange(1, len(hosts) + 1)
    extra["id"] = len(table) + np.arange(1, len(extra) + 1)
    table.meta, extra.meta = {}, {}
    return vstack([table, extra])


def nearest(table, host: int, small, rng) -> int:
    """A small source at most 1.5 mag from a host."""
    close = small & (np.abs(table["mag_ref"] - table["mag_ref"][host]) < 1.5)
    close[host] = False
    return int(rng.choice(np.flatnonzero(close)))


def write_truth(field: str, table) -> None:
    """Add signal-to-noise in the field's mosaics, and write what `measure` needs."""
    from astropy.io import fits
    from pureparallel.core.grid import Grid

    squares = np.zeros(len(table))
    for path in sorted(FOLDER.glob(f"{field}_F*_mosaic.fits")):
        with fits.open(path) as hdus:
            plane, weights, filter = Grid.of(hdus["SCI"].header), hdus["WHT"].data, hdus[0].header["FILTER"]
        squares += [signal(row, filter, plane, weights) for row in table]
    table["snr"] = np.sqrt(squares)
    table.meta = {}
    table[COLUMNS].write(FOLDER / f"{field}_truth.ecsv", format="ascii.ecsv", overwrite=True)


def truth(field: str, path: str) -> None:
    """The same of a simulated field."""
    from pureparallel.simulate.sky import read_truth

    table = read_truth(Path(path))
    table["pair"] = 0
    write_truth(field, table)


def signal(row, filter: str, plane, weights) -> float:
    """Squared signal-to-noise of a source's own light, as drizzled; 0 where no data are."""
    from pureparallel.core import drizzling
    from pureparallel.simulate import observe, render
    from pureparallel.simulate.instrument import FILTERS as BANDS
    from pureparallel.simulate.instrument import Frame

    x, y = (float(v) for v in plane.to_pixel(row["ra"], row["dec"]))
    if not (0 <= round(x) < plane.shape[1] and 0 <= round(y) < plane.shape[0]):
        return 0.0
    near, far = (
        weights[max(round(y) - size, 0) : round(y) + size + 1, max(round(x) - size, 0) : round(x) + size + 1]
        for size in (3, 60)
    )
    # a star's masked core has the weight that is around it
    weight = np.median(near) or np.percentile(far, 90)
    half = int(np.clip(15 + 4 * row["re_arcsec"] / NATIVE, 20, 100))
    frame = Frame.full()
    source = observe.sources([row], observe.on_frame(CENTRE, ROLLS[0], frame), frame)[0]
    stamp = render.direct_image(
        [render.Source(half + 0.3, half - 0.2, source.spectrum, source.lines, source.profile)], filter,
        (2 * half + 1, 2 * half + 1),
    )  # fmt: skip
    ratio = NATIVE / plane.scale
    rows, columns = np.indices(stamp.shape) * ratio
    side = int((2 * half + 1) * ratio)
    light, _, _ = drizzling.drizzle_one(
        stamp * BANDS[filter].photmjsr, np.ones(stamp.shape, np.float32), None, np.stack([columns, rows], -1),
        (slice(0, side), slice(0, side)), pixfrac=1.0,
    )  # fmt: skip
    return float(np.sum(light.astype(float) ** 2) * weight)


def measure(field: str) -> None:
    """Compare a catalogue with the truth."""
    from astropy.io import fits
    from astropy.table import QTable, Table
    from pureparallel.core.grid import Grid
    from scipy.ndimage import distance_transform_edt

    known, found = Table.read(FOLDER / f"{field}_truth.ecsv"), QTable.read(FOLDER / f"{field}_cat.ecsv")
    with fits.open(FOLDER / f"{field}_detection.fits") as hdus:
        plane, filters = Grid.of(hdus["SCI"].header), hdus["NFILTERS"].data
    x, y = plane.to_pixel(np.asarray(known["ra"]), np.asarray(known["dec"]))
    snr = np.asarray(known["snr"], float)
    depth = distance_transform_edt(np.pad(filters > 0, 1))[1:-1, 1:-1]
    columns, rows = (
        np.clip(np.rint(v).astype(int), 0, n - 1) for v, n in ((x, filters.shape[1]), (y, filters.shape[0]))
    )
    inside = (depth[rows, columns] * plane.scale > 0.3) & (snr > 0)
    at = np.asarray(found["xcentroid"]), np.asarray(found["ycentroid"])
    apart = np.hypot(x[:, None] - at[0], y[:, None] - at[1]) * plane.scale
    matches = apart < np.maximum(NEAR, np.asarray(known["re_arcsec"]) / 3)[:, None]
    close = np.hypot(x[:, None] - x, y[:, None] - y) * plane.scale
    alone = ~np.any((close < BLEND) & (snr > snr[:, None]), axis=1)
    free = ~np.any((close < FREE) & (snr > 0.3 * snr[:, None]) & (close > 0), axis=1)
    real, seen = (matches & (snr > LEAST)[:, None]).any(axis=0), matches.any(axis=1)
    trusted, sigma = np.asarray(found["reliable"], bool), np.asarray(found["snr"], float)
    sure = (matches & trusted).any(axis=1)
    pairs = [seen[known["pair"] == one] for one in range(1, int(known["pair"].max()) + 1)]
    bright = [
        np.all((snr > 10)[known["pair"] == one] & inside[known["pair"] == one]) for one in range(1, len(pairs) + 1)
    ]
    best = np.where(matches, apart, np.inf).argmin(axis=0)
    star = np.asarray(known["kind"])[best] == "star"
    error = np.array([apart[i, j] for j, i in enumerate(best)]) * 1000
    clean, extended = real & trusted, np.asarray(found["is_extended"], bool)
    numbers = {
        "sources": len(found),
        "purity": {str(least): counts(real[trusted & (sigma >= least)]) for least in (4.5, 5, 7, 10)},
        "purity_all": counts(real[sigma >= 5]),
        "complete": {name: counts(seen[these & inside & alone]) for name, these in bins(snr).items()},
        "complete_reliable": {name: counts(sure[these & inside & alone]) for name, these in bins(snr).items()},
        "complete_isolated": {name: counts(sure[these & inside & free]) for name, these in bins(snr).items()},
        "pairs": counts(np.array([one.all() for one, good in zip(pairs, bright, strict=True) if good], bool)),
        "stars_as_points": counts(~extended[clean & star & (sigma > 20)]),
        "galaxies_as_extended": counts(extended[clean & ~star & (sigma > 20)]),
        "offset_mas": {name: rms(error[clean & these]) for name, these in bins(sigma).items()},
        "false": [
            [round(float(v), 1) for v in (sigma[i], at[0][i], at[1][i])] + [int(found["flags"][i])]
            for i in np.flatnonzero(trusted & ~real & (sigma >= 5))
        ],
        "missed": [
            [str(known["kind"][i]), *(round(float(v), 1) for v in (known["mag_F150W"][i], snr[i], x[i], y[i]))]
            for i in np.flatnonzero(inside & alone & ~seen & (snr > 10))
        ],
    }  # fmt: skip
    (FOLDER / f"{field}_measured.json").write_text(json.dumps(numbers, indent=1))


def punch() -> None:
    """Mask the core of the brightest star, as saturated ones are, within half an arcsec."""
    from astropy.io import fits
    from astropy.table import Table
    from pureparallel.core.grid import Grid

    known = Table.read(FOLDER / "scene_truth.ecsv")
    stars = known[(known["kind"] == "star") & (known["snr"] > 0)]
    brightest = stars[stars["snr"].argmax()]
    for path in sorted(FOLDER.glob("scene_F*_mosaic.fits")):
        with fits.open(path) as hdus:
            x, y = Grid.of(hdus["SCI"].header).to_pixel(brightest["ra"], brightest["dec"])
            rows, columns = np.indices(hdus["SCI"].shape)
            core = np.hypot(columns - x, rows - y) < 0.5 / SCALE
            for name, value in (("SCI", np.nan), ("ERR", np.nan), ("WHT", 0), ("EXP", 0)):
                hdus[name].data[core] = value
            hdus.writeto(FOLDER / path.name.replace("scene", "punched"), checksum=True)
    (FOLDER / "punched.json").write_text(json.dumps([float(x), float(y)]))


def empty() -> None:
    """Write a mosaic of white noise."""
    from pureparallel.core import drizzling
    from pureparallel.core.grid import Grid
    from pureparallel.provenance import Lineage
    from pureparallel.steps import mosaic

    plane, ones = Grid(*CENTRE, SCALE, (200, 210), (100.0, 105.0)), np.ones((200, 210), np.float32)
    noise = np.random.default_rng(1).normal(size=plane.shape).astype(np.float32)
    sums = drizzling.Sums(noise, ones.copy(), ones.copy(), 100 * ones)
    mosaic.write(
        FOLDER / "empty_F115W_mosaic.fits", FOLDER / "empty.jpg", sums, plane,
        [SimpleNamespace(name="jw09999001001_02101_00001_nis")], ("empty", "F115W"),
        {"pixfrac": 1.0, "kernel": "square"}, Lineage.of("mosaic", []),
    )  # fmt: skip


def pipeline(field: str) -> None:
    """Read the products with the calibration pipeline."""
    from astropy.io import fits
    from astropy.wcs import WCS
    from pureparallel import calibration

    calibration.ready(["jwst.assign_wcs.util", "jwst.wfss_contam.observations", "stdatamodels.jwst.datamodels"])
    from jwst.assign_wcs.util import get_object_info
    from jwst.wfss_contam.observations import Observation
    from stdatamodels.jwst import datamodels

    objects = get_object_info(f"{field}_cat.ecsv")
    with datamodels.open(f"{field}_segm.fits") as model:
        labels, wcs, kind = np.array(model.data), model.meta.wcs, type(model).__name__
    header = fits.getheader(f"{field}_segm.fits", "SCI")
    image = fits.getdata(f"{field}_detection.fits", "SCI")
    off = corners = 0.0
    for one in objects:
        ra, dec = wcs(one.xcentroid, one.ycentroid)
        other = WCS(header).pixel_to_world_values(one.xcentroid, one.ycentroid)
        place = one.sky_centroid.icrs.ra.deg, one.sky_centroid.icrs.dec.deg
        off = max(off, *(abs(a - b) * 3.6e6 for here in ((ra, dec), other) for a, b in zip(here, place, strict=True)))
        rows, columns = np.nonzero(labels == one.label)
        for corner, x, y in (
            (one.sky_bbox_ll, columns.min() - 0.5, rows.min() - 0.5),
            (one.sky_bbox_ur, columns.max() + 0.5, rows.max() + 0.5),
            (one.sky_bbox_ul, columns.min() - 0.5, rows.max() + 0.5),
            (one.sky_bbox_lr, columns.max() + 0.5, rows.min() - 0.5),
        ):
            ra, dec = WCS(header).pixel_to_world_values(x, y)
            corners = max(corners, abs(corner.ra.deg - ra) * 3.6e6, abs(corner.dec.deg - dec) * 3.6e6)
    found = {
        "model": kind, "dtype": str(labels.dtype), "off_mas": float(off), "corners_mas": float(corners),
        "labels": sorted(int(one.label) for one in objects), "extended": sum(bool(one.is_extended) for one in objects),
        "brighter": sum(bool(one.isophotal_abmag < 25) for one in objects),
        "segments": sorted(int(one) for one in np.unique(labels[labels > 0])),
    }  # fmt: skip
    if objects:
        seen = Observation(np.nan_to_num(image), labels, None, wcs)
        found["dispersed"] = sorted(int(one) for one in seen.source_ids)
    Path(f"{field}_pipeline.json").write_text(json.dumps(found))


def bins(snr):
    """Which sources are in each range of signal-to-noise."""
    edges = {"5-7": (5, 7), "7-10": (7, 10), "10-15": (10, 15), "10-": (10, np.inf)}
    return {name: (snr >= low) & (snr < high) for name, (low, high) in edges.items()}


def counts(which) -> list[int]:
    """How many of how many."""
    return [int(np.sum(which)), len(which)]


def rms(errors) -> float | None:
    """Per axis."""
    return float(np.sqrt(np.mean(errors**2) / 2)) if len(errors) else None


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "scene":
        scene(*map(int, arguments))
    else:
        {"truth": truth, "measure": measure, "punch": punch, "empty": empty, "pipeline": pipeline}[what](*arguments)
