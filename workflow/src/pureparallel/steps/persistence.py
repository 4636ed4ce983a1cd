"""Find the pixels that bright sources of earlier exposures, of whatever programme, left glowing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import UserError, batches, exposures, io, log
from ..core import persistence as model
from ..core import scattered
from ..exposures import DAY, Exposure
from ..provenance import Lineage

DO_NOT_USE, SATURATED = 1, 2

TOLERANCE = 15.0
"""s by which an exposure may seem to start before its predecessor has ended: one frame and the clock's rounding."""


def persistence(
    *,
    rates: Path,
    afterglow: Path,
    earlier: list[Path] | None = None,
    window: float = 7200.0,
    nsigma: float = 1.0,
    full_well: float = 50000.0,
    fractions: list[float] | None = None,
    times: list[float] | None = None,
    rescale: bool = True,
) -> None:
    """Predict the afterglow in every exposure of a chunk, and check the prediction by its own data.

    Parameters
    ----------
    rates : Path
        Folder that detector1 made of this chunk.
    afterglow : Path
        Output folder: per exposure <exposure>_persistence.fits with MASK, MEAN and SLOPE (DN/s expected on average and
        in the rate image), and <exposure>.metrics.json.
    earlier : list of Path
        Folders that detector1 made of other chunks, of any field: all that may hold exposures of the same detector.
    window : float
        How long before an exposure others are looked for, s.
    nsigma : float
        A pixel is masked if its afterglow may be brighter than so many of its own errors.
    full_well : float
        Of a pixel, DN.
    fractions : list of float
        What each family of traps holds when full, over the full well; by default 0.002 each.
    times : list of float
        Decay time of each family, s; by default 10, 100 and 1000.
    rescale : bool
        Measure the afterglow's amplitude in the exposure itself, and use it where it is significant.
    """
    logger = log.of("persistence")
    default = model.Traps()
    fractions, times = fractions or list(default.fractions), times or list(default.times)
    try:
        traps = model.Traps(tuple(fractions), tuple(times), full_well)
    except ValueError as error:
        raise UserError(f"persistence.fractions, persistence.times, persistence.full_well: {error}") from error
    options = {
        "window": window,
        "nsigma": nsigma,
        "full_well": full_well,
        "fractions": fractions,
        "times": times,
        "rescale": rescale,
    }
    own = exposures.in_folder(rates)
    known = {
        e.name: e for e in [*exposures.readable(earlier or []), *(e for e in own.values() if not isinstance(e, str))]
    }
    before = {name: preceding(e, known.values(), window) for name, e in own.items() if not isinstance(e, str)}
    items = {name: [e.path, *(b.path for b in before[name])] for name, e in own.items() if not isinstance(e, str)}
    items |= {name: [] for name, e in own.items() if isinstance(e, str)}

    def work(name: str, _: Sequence[Path], lineage: Lineage, folder: Path) -> Mapping[str, Any]:
        exposure = own[name]
        if isinstance(exposure, str):
            raise UserError(f"no rate image: {exposure}")
        return predict(exposure, before[name], traps, lineage, folder)

    batches.run(afterglow, items, work, step="persistence", options=options, logger=logger)


def preceding(exposure: Exposure, known: Iterable[Exposure], window: float) -> list[Exposure]:
    """Exposures of the same detector that ended within `window` s before this one started, in their order."""
    found = [
        other
        for other in known
        if other.name != exposure.name
        and other.header.get("DETECTOR") == exposure.header.get("DETECTOR")
        and other.header.get("EXPEND") is not None
        and -TOLERANCE <= (exposure.start - other.end) * DAY <= window
    ]
    return sorted(found, key=lambda other: (other.end, other.name))


def predict(
    exposure: Exposure, before: Sequence[Exposure], traps: model.Traps, lineage: Lineage, folder: Path
) -> Mapping[str, Any]:
    """Predict one exposure's afterglow, write it, and give its metrics."""
    hdus = exposures.read_rate(exposure.path)
    rate, error = (np.asarray(hdus[name].data, float) for name in ("SCI", "ERR"))
    good = (hdus["DQ"].data & DO_NOT_USE == 0) & np.isfinite(rate) & (error > 0)
    seconds = (exposure.end - exposure.start) * DAY
    if seconds <= 0:
        raise UserError(f"{exposure.path}: EXPEND is not after EXPSTART")
    hit = np.zeros(rate.shape, bool)
    fluences = []
    for other in before:
        collected, struck = fluence(other, traps.full_well)
        part, cut = overlap(exposure, rate.shape, other, collected.shape)
        whole = np.zeros(rate.shape)
        whole[part] = collected[cut]
        hit[part] |= struck[cut]
        # an end a little after the start is a rounding of the clock
        fluences.append(model.Earlier(min((other.end - exposure.start) * DAY, 0.0), whole))
    nothing = model.Prediction(np.zeros(rate.shape), np.zeros(rate.shape), np.zeros(rate.shape, np.int16))
    expected = model.predict(fluences, 0.0, seconds, exposure.group_times(), traps) if fluences else nothing
    choice = {key: lineage.options[key] for key in ("nsigma", "rescale")}
    glow = model.check(expected, hit, rate - scattered.background(rate, good), error, good, **choice)
    write(folder / f"{exposure.name}_persistence.fits", glow, before, error, lineage)
    return {
        "earlier": [other.name for other in before],
        "seconds_since": (exposure.start - before[-1].end) * DAY if before else None,
        "masked": float(glow.mask.mean()),
        "masked_pixels": int(glow.mask.sum()),
        "brightest": float(glow.mean.max()),
        "amplitudes": [
            {"earlier": before[i].name, "kind": kind, **asdict(one), "applied": one.applied}
            for (i, kind), one in glow.amplitudes.items()
        ],
    }


def fluence(exposure: Exposure, full_well: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Charge that an earlier exposure collected, and the pixels that particles filled.

    Pixels that are of no use in every exposure, such as hot ones, are of no use in this one either.
    """
    hdus = exposures.read_rate(exposure.path)
    dq = hdus["DQ"].data
    saturated = dq & SATURATED != 0
    rate = np.where((dq & DO_NOT_USE != 0) & ~saturated, 0, np.asarray(hdus["SCI"].data, float))
    return model.fluence(rate, saturated, float(exposure.key("EFFEXPTM")), full_well)


def overlap(
    one: Exposure, shape: tuple[int, int], other: Exposure, other_shape: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where two exposures of one detector show the same pixels: slices (rows, columns) of each."""
    slices = []
    for axis, (n, m) in enumerate(zip(shape, other_shape, strict=True)):
        start, other_start = one.corner[1 - axis], other.corner[1 - axis]
        low, high = max(start, other_start), min(start + n, other_start + m)
        high = max(low, high)
        slices.append((slice(low - start, high - start), slice(low - other_start, high - other_start)))
    return (slices[0][0], slices[1][0]), (slices[0][1], slices[1][1])


def write(
    path: Path, glow: model.Glow, before: Sequence[Exposure], error: NDArray[np.float64], lineage: Lineage
) -> None:
    """Write MASK, MEAN and SLOPE; what is far below the noise is written as zero, and the files shrink tenfold."""
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    primary.header["NEARLIER"] = (len(before), "earlier exposures that were looked at")
    for n, ((i, kind), one) in enumerate(glow.amplitudes.items(), start=1):
        primary.header[f"AMPLI{n:03d}"] = (one.applied, "factor on the model's prediction")
        primary.header[f"AMPLF{n:03d}"] = (f"{before[i].name} {kind}", "what it was measured for")
    hdus = fits.HDUList([primary, fits.ImageHDU(glow.mask.astype(np.uint8), name="MASK")])
    visible = glow.mean > 0.1 * error
    for name, image in (("MEAN", glow.mean), ("SLOPE", glow.slope)):
        shown = np.where(visible | glow.mask, image, 0).astype(np.float32)
        hdu = fits.CompImageHDU(shown, name=name, compression_type="GZIP_2", quantize_level=0)
        hdu.header["BUNIT"] = "DN/s"
        hdus.append(hdu)
    io.write_fits(path, hdus, lineage)
