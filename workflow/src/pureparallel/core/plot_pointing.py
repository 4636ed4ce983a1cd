"""Figure of a field's footprints."""

from typing import TYPE_CHECKING

import numpy as np

from .palette import CONTINUUM, INK, MARK, MODEL

if TYPE_CHECKING:
    from astropy.table import Table
    from matplotlib.figure import Figure


def footprints_figure(table: "Table", title: str) -> "Figure":
    """Footprints on the sky around their common centre, coloured by group: what is wrong together.

    Parameters
    ----------
    table : Table
        Of the step pointing.
    title : str
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots()
    placed = table[table["s_region"] != ""]
    corners = [np.array(str(region).split()[2:], float).reshape(-1, 2) for region in placed["s_region"]]
    colours = dict(
        zip(sorted(set(placed["group"])), [MARK, MODEL, CONTINUUM, "#3f7d3a", "#7b2d8b", INK] * 99, strict=False)
    )
    if corners:
        first = corners[0][0]
        east = [(one[:, 0] - first[0] + 180) % 360 - 180 for one in corners]
        middle = np.mean([np.mean(e) for e in east]), np.mean([np.mean(one[:, 1]) for one in corners])
    shown = set()
    for row, one, e in zip(placed, corners, east if corners else [], strict=True):
        x = (np.append(e, e[0]) - middle[0]) * np.cos(np.deg2rad(middle[1])) * 3600
        y = (np.append(one[:, 1], one[0, 1]) - middle[1]) * 3600
        group = str(row["group"])
        label = None if group in shown else group + ("" if row["usual_star"] else ": not the usual guide star")
        axes.plot(x, y, color=colours[group], lw=1, ls="-" if row["usual_star"] else "--", alpha=0.8, label=label)
        shown.add(group)
    axes.set(xlabel="east (″)", ylabel="north (″)", aspect="equal")
    axes.invert_xaxis()
    if shown:
        axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(0, 1.0))
        axes.margins(y=0.18)
    axes.set_title(title, color=INK)
    return figure
