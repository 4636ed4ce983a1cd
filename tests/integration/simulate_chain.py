"""Simulate a direct and a dispersed NIRISS exposure and reduce both by jwst's Detector1; run in environment jwst.

Writes the pulls of the rate images against the truth to chain.json.
"""

import json
import os
import sys
from pathlib import Path

SEED = int(sys.argv[1])
FOLDER = Path.cwd()
FILTER, EXPOSURES = "F200W", {"jw09999001001_02101_00001_nis": None, "jw09999001001_02101_00002_nis": "GR150R"}


def main() -> None:
    """Simulate, save, reduce, compare."""
    import numpy as np
    from pureparallel.simulate import background, crds_cache, header, pointing, ramp, references, render, sed, sky
    from pureparallel.simulate.detector import make_detector
    from pureparallel.simulate.dispersion import Traces
    from pureparallel.simulate.effects import Effects
    from pureparallel.simulate.instrument import GRISM_CONFIGURATION, PIXEL_SCALE, Frame, Readout, seed_for

    frame, readout = Frame(897, 897, 256, 256), Readout("NIS", 6)
    references.build(FOLDER / "crds", frame, SEED, [FILTER])
    os.environ.update(crds_cache.environment(FOLDER / "crds"))
    table = sky.make((53.15, -27.8), 0.14, SEED, 26.0)
    truly = pointing.Pointing(53.15, -27.8, 37.0)
    # the field's centre, and with it the aperture's reference, on the frame's own centre
    ra, dec = pointing.to_sky(127.5, 127.5, truly, frame)
    truly = pointing.Pointing(2 * truly.ra - float(ra), 2 * truly.dec - float(dec), truly.roll)

    def source(row: object) -> render.Source:
        """A row of the sky on the detector."""
        step = 0.1 / 3600
        angle = np.deg2rad(row["pa_deg"])
        east, north = step * np.sin(angle) / np.cos(np.deg2rad(row["dec"])), step * np.cos(angle)
        x, y = pointing.to_pixel([row["ra"], row["ra"] + east], [row["dec"], row["dec"] + north], truly, frame)
        along = float(np.degrees(np.arctan2(y[1] - y[0], x[1] - x[0])))
        profile = None
        if row["kind"] == "galaxy":
            profile = render.Sersic(row["re_arcsec"] / PIXEL_SCALE, row["sersic_n"], row["axis_ratio"], along)
        lines = sed.lines(row) if profile else ()
        return render.Source(float(x[0]), float(y[0]), lambda wave: sed.spectrum(row, wave), lines, profile)

    sources = [source(row) for row in table]
    detector, traces = make_detector(frame, SEED), Traces.read(GRISM_CONFIGURATION)
    found = {}
    for exposure, grism in EXPOSURES.items():
        if grism is None:
            rate = render.direct_image(sources, FILTER, frame.shape) + background.imaging_rate(FILTER)
        else:
            zodiacal = background.background_components(grism, FILTER, frame)["zodiacal"]
            rate = render.dispersed_image(sources, traces, grism, FILTER, frame.shape)
            rate = rate + zodiacal * background.zodiacal_rate(grism, FILTER)
        exposed = ramp.expose(
            rate, detector, readout, Effects(), lambda name, exposure=exposure: seed_for(SEED, exposure, name),
            filter=FILTER, grism=grism,
        )  # fmt: skip
        meta = header.level1b(
            exposure=exposure, start="2024-07-01T00:00:00", filter=FILTER, grism=grism, frame=frame, readout=readout,
            header_pointing=truly, guide_star=header.GuideStar("S1", 53.2, -27.7, 15.0),
        )  # fmt: skip
        uncal = FOLDER / f"{exposure}_uncal.fits"
        header.save(uncal, exposed.counts, meta)
        found[grism or "direct"] = pulls(uncal, exposed)
    (FOLDER / "chain.json").write_text(json.dumps(found))


def pulls(uncal: Path, exposed: object) -> dict[str, float]:
    """Median and scaled MAD of (rate - truth) / error, over pixels that no event or blemish touches."""
    import numpy as np
    from jwst.pipeline import Detector1Pipeline

    rate = Detector1Pipeline.call(str(uncal), steps={"jump": {"maximum_cores": "1"}})
    good = np.asarray(rate.dq) == 0
    for name in ("cosmic_ray", "snowball_core", "snowball_halo", "saturated", "column_jump"):
        good &= ~exposed.mask(name).any(axis=0)
    pull = ((rate.data - exposed.truth["rate"]) / rate.err)[good]
    median = float(np.median(pull))
    mad = float(1.4826 * np.median(np.abs(pull - median)))
    return {"median": median, "mad": mad, "pixels": int(good.sum()), "bright": float(np.max(exposed.truth["rate"]))}


if __name__ == "__main__":
    main()
