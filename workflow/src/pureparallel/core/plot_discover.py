"""Figures of what was observed where: the fields on the sky, and a field's exposures by filter."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .palette import CONTINUUM, INK, MARK, MODEL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

GALACTIC_POLE, GALACTIC_CENTRE = (192.85948, 27.12825), (266.405, -28.936)
ECLIPTIC_POLE, EQUINOX = (270.0, 66.5607), (0.0, 0.0)

WAYS = {"": MARK, "GR150R": MODEL, "GR150C": CONTINUUM}
"""Colours of direct exposures and of those through each grism."""


def _unit(ra: Any, dec: Any) -> Array:
    ra, dec = np.deg2rad(ra), np.deg2rad(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _great_circle(pole: tuple[float, float], through: tuple[float, float]) -> Array:
    """RA and Dec, degrees, along the great circle of a pole, shape (361, 2)."""
    a, c = _unit(*through), _unit(*pole)
    a -= (a @ c) * c
    a /= np.linalg.norm(a)
    turn = np.deg2rad(np.arange(361.0))[:, None]
    x, y, z = (np.cos(turn) * a + np.sin(turn) * np.cross(c, a)).T
    return np.column_stack([np.rad2deg(np.arctan2(y, x)) % 360, np.rad2deg(np.arcsin(np.clip(z, -1, 1)))])


def _on_map(sky: Array) -> tuple[Array, Array]:
    """Map coordinates, radians: RA grows to the left, 180 degrees in the middle."""
    return np.deg2rad(180 - sky[:, 0] % 360), np.deg2rad(sky[:, 1])


def _broken(x: Array, y: Array) -> tuple[Array, Array]:
    """A line with gaps where it leaves the map on one side."""
    at = np.flatnonzero(np.abs(np.diff(x)) > 1) + 1
    return np.insert(x, at, np.nan), np.insert(y, at, np.nan)


def sky_figure(fields: Mapping[str, Array]) -> "Figure":
    """The survey's fields on the sky, larger for more exposures.

    Parameters
    ----------
    fields : mapping of str to ndarray, shape (n, 4, 2)
        Footprints in degrees, by field.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes = figure.subplots(subplot_kw={"projection": "mollweide"})
    for pole, through, colour, style, label in (
        (GALACTIC_POLE, GALACTIC_CENTRE, CONTINUUM, "-", "Galactic plane"),
        (ECLIPTIC_POLE, EQUINOX, MARK, "--", "ecliptic"),
    ):
        axes.plot(*_broken(*_on_map(_great_circle(pole, through))), color=colour, ls=style, lw=1.2, label=label)
    shown = {name: one for name, one in fields.items() if len(one)}
    middles = {name: _unit(one[..., 0], one[..., 1]).sum((0, 1)) for name, one in shown.items()}
    at = np.array([(np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))) for x, y, z in middles.values()]).reshape(-1, 2)
    x, y = _on_map(np.rad2deg(at))
    sizes = [12 + 12 * np.sqrt(len(one)) for one in shown.values()]
    axes.scatter(x, y, s=sizes, color=MODEL, alpha=0.7, lw=0.6, edgecolor="white", zorder=3)
    axes.set_xticks(np.deg2rad(np.arange(-150, 151, 60)), [f"{180 - x}°" for x in range(-150, 151, 60)], fontsize=8)
    axes.tick_params(axis="y", labelsize=8)
    axes.tick_params(axis="x", colors="0.55")
    axes.grid(color=INK, alpha=0.15, lw=0.6)
    count = sum(map(len, shown.values()))
    figure.suptitle(f"{len(shown)} fields, {count} exposures (larger dots: more of them)", color=INK)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.draw_without_rendering()
    _name(axes, list(shown), np.column_stack([x, y]))
    return figure


def _name(axes: Any, names: Sequence[str], places: Array) -> None:
    """Write names beside dots where they cover neither another name nor a dot, and lie on the figure."""
    dots, dpi = axes.transData.transform(places), axes.figure.dpi
    width = axes.figure.bbox.width
    boxes = [(x - 4, y - 4, x + 4, y + 4) for x, y in dots]
    for i, name in enumerate(names):
        wide, high = 6.5 * len(name), 11.0  # of 8 points at 100 dots per inch
        for right, up in ((6, 3), (6, -high - 3), (-wide - 6, 3), (-wide - 6, -high - 3)):
            x, y = dots[i] + (right, up)
            box = (x, y, x + wide, y + high)
            free = all(box[2] < a or c < box[0] or box[3] < b or d < box[1] for a, b, c, d in boxes)
            if free and box[0] >= 0 and box[2] <= width:
                # by its place on the sky: the map is laid out anew when it is drawn
                axes.annotate(
                    name, places[i], (right * 72 / dpi, up * 72 / dpi), textcoords="offset points", fontsize=8,
                    color=INK, annotation_clip=False,
                ).set_in_layout(False)  # fmt: skip
                boxes.append(box)
                break


def exposures_figure(
    rows: Sequence[Mapping[str, str]], footprints: Callable[[Sequence[Mapping[str, str]]], Array], field: str
) -> "Figure":
    """Footprints of a field's exposures, a panel per filter, and per grism or none.

    Parameters
    ----------
    rows : sequence of mapping
        Of the manifest.
    footprints : callable
        Corners (n, 4, 2) in degrees of rows.
    field : str
    """
    from matplotlib.figure import Figure

    every = footprints(rows)
    filters = sorted({row["filter"] for row in rows})
    ways = [way for way in WAYS if any(row.get("grism", "") == way for row in rows)]
    size = 2.3 * len(filters) + 0.9, 2.5 * len(ways) + 0.9
    figure = Figure(figsize=(max(size[0], 4.4), size[1]), layout="constrained")
    panels = figure.subplots(len(ways), len(filters), squeeze=False, sharex=True, sharey=True)
    middle = _unit(every[..., 0], every[..., 1]).sum((0, 1))
    middle /= np.linalg.norm(middle)
    for (i, way), (j, band) in itertools.product(enumerate(ways), enumerate(filters)):
        axes, mine = panels[i, j], [row for row in rows if row["filter"] == band and row.get("grism", "") == way]
        for corners in footprints(mine):
            x, y = _tangent(corners, middle)
            axes.plot(np.append(x, x[0]), np.append(y, y[0]), color=WAYS[way], lw=0.9, alpha=0.7)
        time = sum(float(row.get("exptime") or 0) for row in mine)
        told = f"{len(mine)}, {time / 1000:.1f} ks" if mine else "none"
        axes.set_title(f"{band} {way or 'direct'}\n{told}", fontsize=9, color=INK)
        axes.set_aspect("equal")
        axes.tick_params(labelsize=8)
    panels[0, 0].margins(0.08)
    panels[0, 0].xaxis.set_inverted(True)
    ra, dec = np.rad2deg(np.arctan2(middle[1], middle[0])) % 360, np.rad2deg(np.arcsin(middle[2]))
    figure.supxlabel(f"east (′) of RA {ra:.4f}°, Dec {dec:+.4f}°", fontsize=9)
    figure.supylabel("north (′)", fontsize=9)
    figure.suptitle(f"{field}: {len(rows)} exposures", color=INK)
    return figure


def _tangent(corners: Array, middle: Array) -> tuple[Array, Array]:
    """Arcmin east and north of a point, in the plane that touches the sphere there."""
    points = _unit(corners[:, 0], corners[:, 1])
    points /= (points @ middle)[:, None]
    east = np.array([-middle[1], middle[0], 0.0])
    east /= max(float(np.linalg.norm(east)), 1e-12)
    return np.rad2deg(points @ east) * 60, np.rad2deg(points @ np.cross(middle, east)) * 60
