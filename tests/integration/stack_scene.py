"""Cut-outs of simulated dispersed exposures with known lines, and what stack makes of them; environment jwst.

``stack_scene.py <pixels> <seed> [filter ...]`` writes stack.json in the working folder. Traces are the pipeline's own;
the light is the simulator's, with noise, a few hits, and contamination that is known to a few per cent. Profiles are
true but for the noise of a direct image. `blank` cut-outs, at the same places, hold noise alone.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

PIXELS, SEED = int(sys.argv[1]), int(sys.argv[2])
FILTERS = tuple(sys.argv[3:]) or ("F115W", "F150W", "F200W")
FOLDER = Path.cwd()
CENTRE = (150.1, 2.2)
SOURCES, READ, GAIN, SECONDS, SKY = 14, 0.03, 1.61, 500.0, 0.6
WRONG = 0.03
"""Part by which the contamination's model is wrong."""
HITS = 30
"""Of one pixel, per exposure, that nobody has found."""
ROLLS = {"001": 37.0, "002": 97.0}
STEP = 46.75


def plans() -> dict[str, dict]:
    """Observations by exposure: both grisms at two rolls, and of one a second dither."""
    found = {}
    for visit, roll in ROLLS.items():
        for number, (filter, grism) in enumerate(((f, g) for f in FILTERS for g in ("GR150R", "GR150C")), start=1):
            for dither in (1, 2) if (visit, number) == ("001", 1) else (1,):
                name = f"jw09999{visit}001_{number:02d}101_{dither:05d}_nis"
                found[name] = {
                    "exposure": name, "roll": roll, "filter": filter, "grism": grism, "seed": SEED, "centre": CENTRE,
                    "frame": [1025 - PIXELS // 2, 1025 - PIXELS // 2, PIXELS, PIXELS], "dither": 0.8,
                }  # fmt: skip
    return found


def with_lines(found: list, index: list[int]) -> list:
    """The sources, those of `index` with one line of their own in every filter."""
    from pureparallel.simulate.instrument import FILTERS as BANDS
    from pureparallel.simulate.instrument import seed_for
    from pureparallel.simulate.render import EmissionLine

    changed = list(found)
    for i in index:
        draw = seed_for(SEED, "line", str(i))
        lines = []
        for filter in ("F115W", "F150W", "F200W"):
            band = BANDS[filter]
            wave, flux = draw.uniform(band.wave_min + 0.06, band.wave_max - 0.06), 10 ** draw.uniform(-16.3, -15.6)
            lines.append(EmissionLine(float(wave), float(flux)))
        changed[i] = replace(found[i], lines=tuple(lines))
    return changed


def stamp(source, filter: str, along_x: bool) -> tuple:
    """Profiles along and across the dispersion from the noiseless direct image, sampled twice a pixel."""
    from pureparallel.core import cutouts
    from pureparallel.simulate import render

    half, light = 40, np.zeros((162, 162))
    for i in (0, 1):
        for j in (0, 1):
            # the light a half pixel farther on is that of a source a half pixel back
            moved = replace(source, x=half - j / 2, y=half - i / 2, lines=())
            light[i::2, j::2] = render.direct_image([moved], filter, (81, 81))
    return cutouts.edge_on(light, (-float(half), -float(half)), 2, along_x)


def exposure(plan: dict, table, index: list[int], frame) -> None:
    """Write the cut-outs of one exposure, and the same of nothing."""
    from pureparallel import calibration, grisms, io, spec2_files
    from pureparallel.core import cutouts
    from pureparallel.provenance import Lineage
    from pureparallel.simulate import header, observe, render
    from pureparallel.simulate.instrument import Readout, seed_for
    from stdatamodels.jwst.datamodels import ImageModel

    name, truly = plan["exposure"], observe.true_pointing(plan)
    found = with_lines(observe.sources(table, truly, frame), index)
    meta = header.level1b(
        exposure=name, start="2024-07-01T06:00:00", filter=plan["filter"], grism=plan["grism"], frame=frame,
        readout=Readout("NIS", 6), header_pointing=truly, guide_star=header.GuideStar("S1", 150.2, 2.3, 15.0),
        fwcpos=observe.fwcpos(plan),
    )  # fmt: skip
    model = ImageModel(np.zeros(frame.shape, np.float32))
    for key, value in meta.items():
        model[key] = value
    lineage = Lineage.of("simulate", [], seed=SEED)
    (FOLDER / "rates").mkdir(exist_ok=True)
    calibration.save(FOLDER / "rates" / f"{name}_rate.fits", model, lineage)
    chain = calibration.Chain("spec2pipeline")
    optics = grisms.optics(grisms.open_dispersed(FOLDER / "rates" / f"{name}_rate.fits", truly, chain), (1,))
    light, draw = observe.light(plan, found, frame), seed_for(SEED, name, "noise")
    error = np.sqrt(READ**2 + (light + SKY) / GAIN / SECONDS)
    noise = draw.normal(0, error)
    hits = np.zeros(frame.shape)
    hits.ravel()[draw.choice(hits.size, HITS, replace=False)] = 15 * READ
    dq = (draw.uniform(size=frame.shape) < 0.005).astype(np.uint32)
    rows, places, models, profiles, own = [], [], [], [], []
    for i in index:
        source = found[i]
        place = cutouts.place(optics, source.x, source.y, 12.0)
        reason = place if isinstance(place, str) else ""
        rows.append({
            "id": int(table["id"][i]), "ra": table["ra"][i], "dec": table["dec"][i], "x": source.x, "y": source.y,
            "flux": 1.0, "mag": 23.9, "snr": 10.0, "fitted": False, "complete": 1.0, "contamination": 0.0,
            "reason": reason,
        })  # fmt: skip
        if reason:
            places.append(None), models.append(None), profiles.append(None), own.append(0)
            continue
        whole, smooth = (
            render.dispersed_image(
                [one], observe._traces(), plan["grism"], plan["filter"], frame.shape, orders=(1,),
                fwcpos=observe.fwcpos(plan),
            )
            for one in (source, replace(source, lines=()))
        )  # fmt: skip
        places.append(place), models.append(place.of(smooth).astype(np.float32)), own.append(whole)
        profiles.append(stamp(source, plan["filter"], place.along_x))
    keys = {
        "EXPOSURE": name, "INSTRUME": "NIRISS", "GRISM": plan["grism"], "FILTER": plan["filter"],
        "DISPAXIS": 1 if optics.along_x else 2, "EXPTIME": SECONDS, "WAVE_LOW": optics.orders[1].extracted[0],
        "WAVE_UP": optics.orders[1].extracted[1], "WAVEERR": 0.03, "PIXSCALE": 0.0656, "ROLL_REF": plan["roll"],
        "MAGLIMIT": 27.0,
    }  # fmt: skip
    for kind in ("cut", "blank"):
        (FOLDER / kind).mkdir(exist_ok=True)
        io.write_json(FOLDER / kind / f"{name}.metrics.json", {"name": name, "reason": ""})
        blank = kind == "blank"
        spec2_files.write(
            FOLDER / kind / f"{name}_spec2.fits", keys, [dict(row) for row in rows], places,
            [model if model is None or not blank else 0 * model for model in models], profiles,
            {"SCI": noise if blank else light + noise + hits, "ERR": error, "DQ": dq, "TOTAL": 0 * light}, lineage,
        )  # fmt: skip
    contaminate(FOLDER / "cut" / f"{name}_spec2.fits", places, light, own)


def contaminate(path: Path, places: list, light, own: list) -> None:
    """Give a file its contamination: true but for `WRONG`."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        parts = [(1 + WRONG) * np.ravel(place.of(light - one)) for place, one in zip(places, own, strict=True) if place]
        fits.setval(path, "SIMULATD", value=True)
        hdu = fits.ImageHDU(np.concatenate(parts).astype(np.float32), hdus["CONTAM"].header)
        kept = fits.HDUList([hdu if one.name == "CONTAM" else one.copy() for one in hdus])
    kept.writeto(path, overwrite=True, checksum=True)


def run(kind: str, index: int = 1, of: int = 1) -> float:
    """The step on one kind of cut-outs; CPU seconds."""
    from pureparallel.steps.stack import stack

    start = time.process_time()
    stack(
        field="scene", cutouts=[FOLDER / kind], catalogue=FOLDER / "cat.ecsv", index=index, of=of,
        spectra=FOLDER / f"{kind}_spectra.fits", stacks=FOLDER / f"{kind}_stacks.fits",
        figure=FOLDER / f"{kind}.png", metrics=FOLDER / f"{kind}.json",
    )  # fmt: skip
    return time.process_time() - start


def seen_as(setup, i: int, wave: float):
    """A line of unit flux in the bins of a spectrum, as the contract of its profile has it."""
    from scipy.interpolate import CubicSpline

    profile = np.maximum(setup.profile[i], 0)
    half = len(profile) // 2
    fine = np.arange(-half * setup.dispersion[i], half * setup.dispersion[i])
    light = np.cumsum(np.maximum(CubicSpline(np.arange(-half, half + 1) * setup.dispersion[i], profile)(fine), 0))
    bins = setup.wave * 1e4
    step = bins[1] - bins[0]
    edges = np.stack([bins - step / 2, bins + step / 2]) - wave
    return np.diff(np.interp(edges, fine + 0.5, light / light[-1], left=0, right=1), axis=0)[0] / step


def lines(setups: list, table, index: list[int], found: list) -> list[dict]:
    """Every known line: measured over true flux, its error, and by how many bins it is off."""
    at = {str(table["id"][i]): i for i in index}
    results = []
    for setup in setups:
        bins = setup.wave * 1e4
        for k, source in enumerate(setup.source):
            true = found[at[str(source)]]
            smooth = true.spectrum(setup.wave) / 1e-20
            for line in true.lines:
                wave, flux = line.wave_micron * 1e4, line.flux / 1e-20
                use = (np.abs(bins - wave) < 800) & (setup.err[k] > 0)
                whole = bins[0] + 300 < wave < bins[-1] - 300 and use.sum() > 24
                if not whole or np.median(np.abs(setup.contamination[k][use])) > 0.3 * np.median(smooth):
                    continue
                one = flux * seen_as(setup, k, wave)
                slope = flux * (seen_as(setup, k, wave + 10) - seen_as(setup, k, wave - 10)) / 20
                forms = np.stack([one, smooth, smooth * (bins - wave) / 800, slope])[:, use] / setup.err[k][use]
                covariance = np.linalg.inv(forms @ forms.T)
                best = covariance @ forms @ (setup.flux[k] / setup.err[k])[use]
                results.append({
                    "source": str(source), "grism": setup.grism, "filter": setup.filter, "ratio": float(best[0]),
                    "roll": float(setup.roll[k]), "error": float(np.sqrt(covariance[0, 0])),
                    "shift": float(best[3] / best[0] / STEP), "shift_error": float(np.sqrt(covariance[3, 3]) / STEP),
                })  # fmt: skip
    return results


def blanks(setups: list) -> dict[str, float]:
    """Scatter of sums over 1, 3 and 10 bins of nothing, over their errors."""
    found: dict[str, list] = {"1": [], "3": [], "10": []}
    for setup in setups:
        for flux, error in zip(setup.flux, setup.err, strict=True):
            good = error > 0
            for size, values in found.items():
                count = good.sum() // int(size) * int(size)
                total = flux[good][:count].reshape(-1, int(size)).sum(axis=1)
                values.append(total / np.sqrt((error[good][:count] ** 2).reshape(-1, int(size)).sum(axis=1)))
    return {size: float(np.std(np.concatenate(values))) for size, values in found.items()}


def main() -> None:
    """Everything."""
    from pureparallel import calibration, slitless_spectra
    from pureparallel.simulate import observe, references, sky
    from pureparallel.simulate.instrument import Frame

    observations = plans()
    frame = Frame(*next(iter(observations.values()))["frame"])
    references.build(FOLDER / "crds", frame, SEED, FILTERS)
    calibration.configure(FOLDER / "crds", "jwst_0001.pmap")
    calibration.ready(["jwst.assign_wcs"])
    table = sky.make(CENTRE, PIXELS / 512 * 0.28, SEED, 25.0, 1.0)
    galaxies = np.flatnonzero(table["inside"] & (table["kind"] == "galaxy") & (table["mag_ref"] > 20))
    index = [int(i) for i in galaxies[np.argsort(table["mag_ref"][galaxies])][:SOURCES]]
    chosen = table[index]["id", "ra", "dec"]
    chosen.rename_column("id", "label")
    chosen.meta.clear()
    chosen.write(FOLDER / "cat.ecsv", format="ascii.ecsv", overwrite=True)
    for plan in observations.values():
        exposure(plan, table, index, frame)
    seconds = {kind: run(kind) for kind in ("cut", "blank")}
    setups = {kind: slitless_spectra.read(FOLDER / f"{kind}_spectra.fits")[1] for kind in seconds}
    first = observe.sources(table, observe.true_pointing(next(iter(observations.values()))), frame)
    found = {
        "exposures": len(observations), "sources": len(index), "cpu": seconds["cut"],
        "lines": lines(setups["cut"], table, index, with_lines(first, index)), "blank": blanks(setups["blank"]),
        "metrics": json.loads((FOLDER / "cut.json").read_text()),
    }  # fmt: skip
    (FOLDER / "stack.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
