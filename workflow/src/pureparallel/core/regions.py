"""Regions that a user drew in SAOImage DS9: read strictly, and turned into masks.

Circles, ellipses, boxes and polygons in coordinates ``image``, ``icrs`` or ``fk5`` are understood; whatever else a file
holds is an error, for a region that is silently left out spoils the data that its author meant to save. All shapes
become polygons, so that the sky's may be projected point by point.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import UserError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SKY = ("icrs", "fk5", "j2000")

CAUSES = {"wisp": "WISP", "claw": "CLAW"}
"""Words in a region's ``text={...}`` or ``tag={...}`` that give its mask a bit of its own; all others are USER."""

CORNERS = 72
"""Of the polygon that stands for a circle or an ellipse."""

UNITS = {'"': 1 / 3600, "'": 1 / 60, "d": 1.0, "": 1.0}
"""Degrees per unit of a size on the sky; without a unit it is in degrees, as DS9 writes it."""


@dataclass(frozen=True)
class Region:
    """One region.

    Attributes
    ----------
    points : ndarray, shape (n, 2)
        Corners: x and y in 0-based pixels, or RA and Dec in degrees.
    sky : bool
        Which of both.
    cause : str
        Name of its bit.
    exclude : bool
        Drawn with a minus: what it covers is taken out of all others.
    """

    points: Array
    sky: bool
    cause: str
    exclude: bool


def parse(text: str, where: str) -> list[Region]:
    """Read a region file.

    Parameters
    ----------
    text : str
    where : str
        The file's name, for messages.

    Raises
    ------
    UserError
        For anything that is not understood, with the line.
    """
    system, regions = "", []
    for number, line in enumerate(text.splitlines(), start=1):
        place = f"{where}, line {number}"
        body, _, comment = line.partition("#")
        for part in filter(None, (p.strip() for p in body.split(";"))):
            word = part.lower()
            if word.startswith("global"):
                continue
            if re.fullmatch(r"[a-z0-9]+", word):
                if word not in ("image", *SKY):
                    raise UserError(
                        f"{place}: coordinates {part!r}; save the regions in image, icrs or fk5 coordinates"
                    )
                system = word
                continue
            if not system:
                raise UserError(f"{place}: a region before any line that names its coordinates, such as icrs or image")
            regions.append(_region(part, comment, system != "image", place))
    return regions


def _region(part: str, comment: str, sky: bool, place: str) -> Region:
    match = re.fullmatch(r"([+-]?)\s*([a-zA-Z]+)\s*[( ]\s*([^()]*?)\s*\)?", part)
    if match is None:
        raise UserError(f"{place}: {part!r} is not a region such as circle(x, y, r)")
    sign, shape, inside = match[1], match[2].lower(), match[3]
    values = [v for v in re.split(r"[\s,]+", inside) if v]
    expected = {"circle": 3, "ellipse": 5, "box": 5}.get(shape)
    if shape not in ("circle", "ellipse", "box", "polygon"):
        raise UserError(f"{place}: shape {shape!r}; there are circle, ellipse, box and polygon")
    if expected is not None and len(values) != expected:
        raise UserError(f"{place}: {shape} with {len(values)} numbers; it has {expected}")
    if shape == "polygon" and (len(values) < 6 or len(values) % 2):
        raise UserError(f"{place}: polygon with {len(values)} numbers; it has a pair for each of three corners or more")
    words = {w.lower() for label in re.findall(r"(?:text|tag)\s*=\s*[{'\"]([^}'\"]*)", comment) for w in label.split()}
    cause = next((CAUSES[word] for word in CAUSES if word in words), "USER")
    if shape == "polygon":
        corners = [_position(x, y, sky, place) for x, y in zip(values[::2], values[1::2], strict=True)]
        return Region(np.array(corners), sky, cause, sign == "-")
    centre = _position(values[0], values[1], sky, place)
    sizes = [_size(v, sky, place) for v in (values[2:4] if shape != "circle" else [values[2], values[2]])]
    angle = np.deg2rad(_number(values[4].removesuffix("d"), place)) if shape != "circle" else 0.0
    return Region(_outline(centre, sizes, angle, shape == "box", sky), sky, cause, sign == "-")


def _number(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise UserError(f"{place}: {text!r} is not a number") from error
    if not np.isfinite(value):
        raise UserError(f"{place}: {text!r} is not a finite number")
    return value


def _position(first: str, second: str, sky: bool, place: str) -> tuple[float, float]:
    """0-based pixels, or degrees from degrees or from hours, minutes, seconds and degrees, minutes, seconds."""
    if not sky:
        return _number(first, place) - 1, _number(second, place) - 1
    ra = _sexagesimal(first, place) * 15 if ":" in first else _number(first.removesuffix("d"), place)
    dec = _sexagesimal(second, place) if ":" in second else _number(second.removesuffix("d"), place)
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise UserError(f"{place}: {first}, {second} is not a position on the sky")
    return ra, dec


def _sexagesimal(text: str, place: str) -> float:
    parts = text.lstrip("+-").split(":")
    if len(parts) != 3:
        raise UserError(f"{place}: {text!r} does not have three parts, as 10:00:24.1")
    whole, minutes, seconds = (_number(part, place) for part in parts)
    return (-1 if text.startswith("-") else 1) * (whole + minutes / 60 + seconds / 3600)


def _size(text: str, sky: bool, place: str) -> float:
    """Pixels or degrees; not negative."""
    unit = text[-1] if text[-1] in "\"'dpi" else ""
    value = _number(text.removesuffix(unit), place)
    if unit and (unit in "pi") == sky:
        raise UserError(f"{place}: size {text!r} is not in the units of its position")
    if value < 0:
        raise UserError(f"{place}: size {text!r} is negative")
    return value * UNITS[unit] if sky else value


def _outline(centre: tuple[float, float], sizes: Sequence[float], angle: float, box: bool, sky: bool) -> Array:
    """Corners of a box (whole sizes) or an ellipse (semi-axes), turned anticlockwise as seen with north up."""
    if box:
        u, v = np.array([-0.5, 0.5, 0.5, -0.5]) * sizes[0], np.array([-0.5, -0.5, 0.5, 0.5]) * sizes[1]
    else:
        turn = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
        # corners as far outside as edges are inside, so that the area is the ellipse's
        far = np.sqrt(2 * np.pi / CORNERS / np.sin(2 * np.pi / CORNERS))
        u, v = far * sizes[0] * np.cos(turn), far * sizes[1] * np.sin(turn)
    x, y = u * np.cos(angle) - v * np.sin(angle), u * np.sin(angle) + v * np.cos(angle)
    if not sky:
        return np.stack([centre[0] + x, centre[1] + y], axis=1)
    # with north up, x grows to the west; offsets on the tangent plane, which regions are small on
    dec = centre[1] + y
    return np.stack([(centre[0] - x / np.cos(np.deg2rad(centre[1]))) % 360, np.clip(dec, -90, 90)], axis=1)


def rasterise(
    regions: Sequence[Region], shape: tuple[int, int], to_pixel: Callable[[Array, Array], tuple[Array, Array]]
) -> dict[str, Mask]:
    """Masks by cause.

    Parameters
    ----------
    regions : sequence of Region
    shape : (int, int)
    to_pixel : callable
        0-based pixels x, y of RA and Dec in degrees.
    """
    masks: dict[str, Mask] = {}
    excluded = np.zeros(shape, bool)
    for region in regions:
        x, y = to_pixel(*region.points.T) if region.sky else region.points.T
        inside = polygon(np.asarray(x), np.asarray(y), shape)
        if region.exclude:
            excluded |= inside
        else:
            masks[region.cause] = masks.get(region.cause, np.zeros(shape, bool)) | inside
    return {cause: mask & ~excluded for cause, mask in masks.items()}


def polygon(x: Array, y: Array, shape: tuple[int, int]) -> Mask:
    """Pixels whose centres lie in a polygon, by the even-odd rule; nothing where a corner cannot be projected."""
    covered = np.zeros(shape, bool)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return covered
    rows = slice(max(int(np.floor(y.min())), 0), min(int(np.ceil(y.max())) + 1, shape[0]))
    columns = slice(max(int(np.floor(x.min())), 0), min(int(np.ceil(x.max())) + 1, shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return covered
    v, u = np.mgrid[rows, columns]
    part = np.zeros(u.shape, bool)
    for x1, y1, x2, y2 in zip(x, y, np.roll(x, -1), np.roll(y, -1), strict=True):
        if y1 == y2:
            continue
        crosses = (v >= min(y1, y2)) & (v < max(y1, y2))
        part ^= crosses & (u < x1 + (v - y1) * (x2 - x1) / (y2 - y1))
    covered[rows, columns] = part
    return covered
