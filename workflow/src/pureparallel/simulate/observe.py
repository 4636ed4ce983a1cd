"""One exposure of the simulated sky: where the telescope truly pointed, what its header says, and the light it took."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import background, render, sed
from .dispersion import Traces
from .header import GuideStar
from .instrument import FWCPOS_REF, GRISM_CONFIGURATION, PIXEL_SCALE, Frame, Readout, seed_for
from .pointing import Pointing, dithered, to_pixel, to_sky
from .ramp import Previous
from .schedule import visit

if TYPE_CHECKING:
    from astropy.table import Row, Table

Array = NDArray[np.float64]
Observation = Mapping[str, Any]
"""What `schedule.observation` gives."""

JITTER = 0.005
"""Arcsec per axis: an exposure's own error of its header pointing, about that of fine guidance between dithers."""

FWCPOS_ERROR = 0.1
"""Degrees; how far from its nominal position the filter wheel comes to rest, at most."""

PERSISTS = 23.0
"""AB magnitude in F150W of the faintest sources that are drawn for their persistence: what is fainter leaves less than
an electron."""

ZODIACAL_SPREAD = 0.1
"""Relative scatter of the zodiacal light between visits."""


def on_frame(centre: Sequence[float], roll: float, frame: Frame) -> Pointing:
    """The pointing that puts a sky position on the middle of the frame."""
    ra, dec = centre
    pointing = Pointing(ra, dec, roll)
    for _ in range(4):  # the frame's middle moves with the reference point; what is left shrinks a thousandfold a turn
        x, y = (frame.nx - 1) / 2, (frame.ny - 1) / 2
        now_ra, now_dec = (float(value) for value in to_sky(x, y, pointing, frame))
        east = (ra - now_ra + 180) % 360 - 180
        pointing = Pointing((pointing.ra + east) % 360, pointing.dec + dec - now_dec, roll)
    return pointing


def true_pointing(observation: Observation, of: Mapping[str, Any] | None = None) -> Pointing:
    """Where an exposure was truly taken: the field's centre, off by the prime's dither.

    Parameters
    ----------
    observation : mapping
    of : mapping, optional
        Its ``previous``, to be asked for instead.
    """
    one = observation if of is None else of
    frame = Frame(*observation["frame"])
    moves = seed_for(observation["seed"], one["exposure"], "dither").normal(0, observation["dither"], 2)
    return dithered(on_frame(observation["centre"], one["roll"], frame), *moves)


def header_pointing(observation: Observation, truth: Pointing) -> Pointing:
    """What the header says of the pointing: wrong by the visit's error, and by its guide star's where that is wrong."""
    seed, name = observation["seed"], visit(observation["exposure"])
    draw = seed_for(seed, name, "pointing_error")
    far = observation["pointing_error"] * np.sqrt(draw.uniform())
    angle, roll = draw.uniform(0, 2 * np.pi), draw.uniform(-1, 1) * observation["roll_error"]
    wrong = observation["guide_star_error"] if observation["wrong_guide_star"] else 0.0
    wrong_angle = draw.uniform(0, 2 * np.pi)
    own = seed_for(seed, observation["exposure"], "jitter").normal(0, JITTER, 2)
    east = far * np.cos(angle) + wrong * np.cos(wrong_angle) + own[0]
    north = far * np.sin(angle) + wrong * np.sin(wrong_angle) + own[1]
    ra = (truth.ra + east / 3600 / np.cos(np.deg2rad(truth.dec))) % 360
    return Pointing(float(ra), float(truth.dec + north / 3600), float((truth.roll + roll) % 360))


def guide_star(observation: Observation) -> GuideStar:
    """The star that the telescope says it guided on: one per observation, another where that is the wrong one."""
    name = observation["exposure"][7:10] + ("-wrong-" + visit(observation["exposure"])[3:]) * bool(
        observation["wrong_guide_star"]
    )
    draw = seed_for(observation["seed"], name, "guide_star")
    ra, dec = observation["centre"]
    east, north = draw.uniform(-0.1, 0.1, 2)
    number = int(draw.integers(10**9, 10**10))
    position = float((ra + east / np.cos(np.deg2rad(dec))) % 360), float(np.clip(dec + north, -90, 90))
    return GuideStar(f"S{number}", *position, round(float(draw.uniform(13, 17)), 2))


def fwcpos(observation: Observation) -> float | None:
    """Where the filter wheel came to rest in the visit, degrees; None for a direct image."""
    if observation["grism"] is None:
        return None
    draw = seed_for(observation["seed"], visit(observation["exposure"]), observation["grism"], "filter_wheel")
    return float(FWCPOS_REF[observation["grism"]] + draw.uniform(-FWCPOS_ERROR, FWCPOS_ERROR))


def sources(table: "Table", pointing: Pointing, frame: Frame) -> list[render.Source]:
    """The sky's sources on the detector.

    Parameters
    ----------
    table : Table
        Of `sky.make`.
    pointing : Pointing
        The true one.
    frame : Frame
    """
    return [_source(row, pointing, frame) for row in table]


def _source(row: "Row", pointing: Pointing, frame: Frame) -> render.Source:
    angle, step = np.deg2rad(row["pa_deg"]), 0.1 / 3600
    galaxy = row["kind"] == "galaxy"
    # a second point along the major axis tells the axis' direction on the detector
    ra = row["ra"] + np.array([0, step * np.sin(angle) / np.cos(np.deg2rad(row["dec"]))]) * galaxy
    dec = row["dec"] + np.array([0, step * np.cos(angle)]) * galaxy
    x, y = to_pixel(ra, dec, pointing, frame)
    profile = None
    if galaxy:
        along = float(np.degrees(np.arctan2(y[1] - y[0], x[1] - x[0])))
        profile = render.Sersic(row["re_arcsec"] / PIXEL_SCALE, row["sersic_n"], row["axis_ratio"], along)
    lines = sed.lines(row) if galaxy else ()
    return render.Source(float(x[0]), float(y[0]), lambda wave: sed.spectrum(row, wave), lines, profile)


def sky_level(observation: Observation, frame: Frame) -> Array | float:
    """Light of the sky in DN/s: one number for a direct image, shape (ny, nx) for a dispersed one."""
    filter, grism = observation["filter"], observation["grism"]
    draw = seed_for(observation["seed"], visit(observation["exposure"]), "zodiacal")
    zodiacal = observation["zodiacal"] * float(np.exp(draw.normal(0, ZODIACAL_SPREAD)))
    if grism is None:
        return zodiacal * background.imaging_rate(filter)
    shares = {"zodiacal": 1.0, "scattered": observation["scattered_sky"], "helium": observation["helium_sky"]}
    components = background.background_components(grism, filter, frame)
    level = zodiacal * background.zodiacal_rate(grism, filter)
    return level * sum((shares[name] * component for name, component in components.items()), np.zeros(frame.shape))


def light(
    observation: Observation, found: Sequence[render.Source], frame: Frame, of: Mapping[str, Any] | None = None
) -> Array:
    """Noiseless light of the sources, without sky, in DN/s; shape (ny, nx)."""
    one = observation if of is None else of
    if one["grism"] is None:
        return render.direct_image(found, one["filter"], frame.shape)
    return render.dispersed_image(
        found, _traces(), one["grism"], one["filter"], frame.shape, fwcpos=fwcpos({**observation, **one})
    )


def bright(
    observation: Observation, found: Sequence[render.Source], *, above: float = 100.0
) -> list[tuple[float, float, float]]:
    """Sources that make ghosts: x, y and DN/s, of their zeroth orders where a grism is in the beam."""
    filter, grism = observation["filter"], observation["grism"]
    result = []
    for source in found:
        rate = render.count_rate(filter, source)
        if rate < above:
            continue
        if grism is None:
            result.append((source.x, source.y, rate))
            continue
        band = render.FILTERS[filter]
        wave = np.linspace(band.wave_min, band.wave_max, 100)
        dx, dy = _traces().displace(grism, filter, 0, source.x, source.y, wave, fwcpos(observation))
        weight = source.spectrum(wave) * _traces().sensitivity(grism, filter, 0, wave)
        total = float(np.trapezoid(weight, wave * 1e4))
        shares = weight / weight.sum()
        result.append((source.x + float(dx @ shares), source.y + float(dy @ shares), total))
    return result


def previous(observation: Observation, table: "Table", frame: Frame) -> Previous | None:
    """The light of the exposure before this one, as the detector remembers it."""
    before = observation["previous"]
    if before is None:
        return None
    brightest = table[np.asarray(table["mag_ref"]) < PERSISTS]
    found = sources(brightest, true_pointing(observation, before), frame)
    readout = Readout(before["readpatt"], before["ngroups"])
    seconds = readout.ngroups * readout.group_time(frame)
    gone = (datetime.fromisoformat(observation["start"]) - datetime.fromisoformat(before["start"])).total_seconds()
    return Previous(light(observation, found, frame, before) * seconds, max(gone - seconds, 0.0))


@cache
def _traces() -> Traces:
    return Traces.read(GRISM_CONFIGURATION)
