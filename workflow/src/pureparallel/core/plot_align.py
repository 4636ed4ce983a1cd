"""Figure of a field's alignment."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .ladder import Solved
from .palette import CONTINUUM, INK, MARK, MODEL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (MARK, MODEL, CONTINUUM, "#3f7d3a", "#7b2d8b", INK)


def alignment_figure(rows: Sequence[Mapping[str, Any]], solved: Solved, title: str) -> "Figure":
    """Corrections of all groups, and what is left of their matches with each other and with the catalogue.

    Parameters
    ----------
    rows : sequence of mapping
        Of GROUPS; those that were measured come first, in the order of `solved`.
    solved : Solved
    title : str
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.4), layout="constrained")
    moves, among, catalogue = figure.subplots(1, 3)
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(rows))]
    for row, colour in zip(rows, colours, strict=True):
        label = f"{row['group']}: {row['rung']}" + ("" if row["usual_star"] else ", not the usual guide star")
        moves.plot(row["shift_east"], row["shift_north"], "o", color=colour, label=label)
        turn = np.linspace(0, 2 * np.pi, 100)
        moves.plot(
            row["prior_error"] * np.cos(turn), row["prior_error"] * np.sin(turn), color=colour, lw=0.8, alpha=0.6
        )
    moves.set(xlabel="correction, east (″)", ylabel="correction, north (″)", aspect="equal")
    moves.invert_xaxis()
    figure.legend(*moves.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    moves.set_title("corrections; circles: 1 σ beforehand", fontsize=9)
    fit, group = solved.fit, solved.observed.group
    common, stars = solved.common(), solved.stars()
    shown = fit.left_out[common] if fit is not None else np.zeros((0, 2))
    _scatter(among, shown, group[: len(common)][common], colours, "common sources less all other groups'")
    _scatter(catalogue, solved.from_catalogue(), group[: len(stars)][stars], colours, "stars less the catalogue")
    figure.suptitle(title, color=INK)
    return figure


def _scatter(axes: Any, residual: np.ndarray, group: np.ndarray, colours: Sequence[str], title: str) -> None:
    mas = 1e3 * residual
    for i in np.unique(group):
        axes.plot(*mas[group == i].T, ".", ms=4, color=colours[i], alpha=0.6)
    reach = max(20.0, float(np.percentile(np.abs(mas), 98)) * 1.3) if len(mas) else 20.0
    axes.set(xlim=(reach, -reach), ylim=(-reach, reach), aspect="equal", xlabel="east (mas)", ylabel="north (mas)")
    axes.axhline(0, color=INK, lw=0.5)
    axes.axvline(0, color=INK, lw=0.5)
    axes.set_title(f"{title} ({len(mas)})", fontsize=9)
