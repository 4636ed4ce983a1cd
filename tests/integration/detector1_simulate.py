"""Simulate raw NIRISS exposures with their references; run in environment jwst.

``detector1_simulate.py <pixels> <seed> <exposure>...`` with an exposure as ``F200W:CLEAR:NIS:6`` writes, in the working
folder, ``crds/`` and for each exposure ``{exposure}_uncal.fits`` and ``{exposure}_truth.fits``. `pixels` is the size of
a cut from the middle of the detector; 2048 is the full frame.
"""

import sys
from pathlib import Path

PIXELS, SEED = int(sys.argv[1]), int(sys.argv[2])
CENTRE = (53.15, -27.8)


def main(folder: Path, exposures: list[str]) -> None:
    """Sky, references, and every exposure."""
    import numpy as np
    from pureparallel.provenance import Lineage
    from pureparallel.simulate import background, header, pointing, ramp, references, render, sed, sky
    from pureparallel.simulate.detector import make_detector
    from pureparallel.simulate.dispersion import Traces
    from pureparallel.simulate.effects import Effects
    from pureparallel.simulate.instrument import GRISM_CONFIGURATION, PIXEL_SCALE, Frame, Readout, seed_for

    start = (2048 - PIXELS) // 2 + 1
    frame = Frame(start, start, PIXELS, PIXELS)
    wanted = [one.split(":") for one in exposures]
    references.build(folder / "crds", frame, SEED, sorted({one[0] for one in wanted}))
    table = sky.make(CENTRE, min(0.28, PIXELS / 512 * 0.28), SEED, 25.5)
    truly = pointing.Pointing(*CENTRE, 37.0)
    ra, dec = pointing.to_sky((PIXELS - 1) / 2, (PIXELS - 1) / 2, truly, frame)
    truly = pointing.Pointing(2 * truly.ra - float(ra), 2 * truly.dec - float(dec), truly.roll)

    def source(row: object) -> render.Source:
        """A row of the sky on the detector."""
        step, angle = 0.1 / 3600, np.deg2rad(row["pa_deg"])
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
    light = {}
    for number, (name, wheel, pattern, groups) in enumerate(wanted, start=1):
        grism = None if wheel == "CLEAR" else wheel
        exposure = f"jw09999001001_02101_{number:05d}_nis"
        if (name, grism) not in light:
            light[name, grism] = scene(sources, name, grism, frame, traces, render, background)
        readout = Readout(pattern, int(groups))
        exposed = ramp.expose(
            light[name, grism], detector, readout, Effects(), lambda what, e=exposure: seed_for(SEED, e, what),
            filter=name, grism=grism,
        )  # fmt: skip
        meta = header.level1b(
            exposure=exposure, start=f"2024-07-01T{number % 24:02d}:00:00", filter=name, grism=grism, frame=frame,
            readout=readout, header_pointing=truly, guide_star=header.GuideStar("S1", 53.2, -27.7, 15.0),
        )  # fmt: skip
        header.save(folder / f"{exposure}_uncal.fits", exposed.counts, meta)
        ramp.write_truth(folder / f"{exposure}_truth.fits", exposed, Lineage.of("simulate", [], seed=SEED))


def scene(sources, name, grism, frame, traces, render, background):
    """Light of all sources and the sky, DN/s."""
    if grism is None:
        return render.direct_image(sources, name, frame.shape) + background.imaging_rate(name)
    zodiacal = background.background_components(grism, name, frame)["zodiacal"]
    dispersed = render.dispersed_image(sources, traces, grism, name, frame.shape)
    return dispersed + zodiacal * background.zodiacal_rate(grism, name)


if __name__ == "__main__":
    main(Path.cwd(), sys.argv[3:])
