"""Figure of a simulated field's catalogue against the truth."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .palette import CONTINUUM, INK, MARK, MODEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (MARK, CONTINUUM, INK, "#b07aa1", MODEL, "#3f7d3a")
"""Of filters, from blue to red."""


def catalogue_figure(report: Mapping[str, Any], title: str) -> "Figure":
    """Completeness, purity, positions, pairs, fluxes, pulls and redshifts.

    Parameters
    ----------
    report : mapping
        The metrics of the step validate_catalogue.
    title : str
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(17, 8.4), layout="constrained")
    panels = figure.subplots(2, 4).ravel()
    counts = report["counts"]
    _fractions(panels[0], counts["complete_by_magnitude"], MARK, "complete")
    panels[0].set(
        xlabel=f"{report['reference']} (AB), true", ylabel="fraction", title="completeness", ylim=(-0.03, 1.05)
    )
    _by_snr(panels[1], counts)
    _positions(panels[2], report["astrometry"])
    _fractions(panels[3], report["pairs"], MODEL, "both found", numbers=True)
    panels[3].set(xlabel="separation (″)", ylabel="fraction", title="pairs of which both are found", ylim=(-0.03, 1.15))
    panels[3].set_xlim(0.15, 1.05)
    _fluxes(panels[4], report["photometry"])
    _pulls(panels[5], report["photometry"])
    _redshifts(panels[6], report["photoz"])
    _honesty(panels[7], report["photoz"])
    for axes in panels:
        axes.title.set_fontsize(10)
    figure.suptitle(title, color=INK)
    return figure


def _fractions(
    axes: "Axes",
    rows: Sequence[Mapping[str, Any]],
    colour: str,
    label: str,
    *,
    numbers: bool = False,
    marker: str = "o",
) -> None:
    """Fractions with their limits at the middles of bins."""
    rows = [row for row in rows if row["sources"]]
    if not rows:
        axes.text(0.5, 0.5, "none in this field", transform=axes.transAxes, ha="center", color=INK)
        return
    low, high, value, least, most = (
        np.array([row[key] for row in rows]) for key in ("low", "high", "fraction", "least", "most")
    )
    middle = np.sqrt(low * high) if high[-1] > 1e5 else (low + high) / 2
    middle[-1] = low[-1] * 1.4 if high[-1] > 1e5 else middle[-1]
    error = np.maximum([value - least, most - value], 0)
    axes.errorbar(middle, value, error, fmt=marker + "-", ms=5, lw=1.2, color=colour, label=label, capsize=2)
    if numbers:
        for x, row in zip(middle, rows, strict=True):
            axes.annotate(str(row["sources"]), (x, 1.08), ha="center", fontsize=8, color=INK)


def _by_snr(axes: "Axes", counts: Mapping[str, Any]) -> None:
    _fractions(axes, counts["complete_by_snr"], MARK, "complete, by expected S/N")
    _fractions(axes, counts["pure_by_snr"], MODEL, "pure, by S/N of the catalogue", marker="s")
    for snr, colour in ((10, MARK), (5, MODEL)):
        axes.axvline(snr, color=colour, lw=0.7, ls=":")
    axes.axhline(0.95, color=INK, lw=0.6, ls=":")
    axes.set(xscale="log", xlabel="S/N", ylabel="fraction", title="completeness and purity", ylim=(-0.03, 1.05))
    axes.legend(fontsize=8, frameon=False)


def _positions(axes: "Axes", found: Mapping[str, Any]) -> None:
    axes.set(xlabel="east (mas)", ylabel="north (mas)", title="positions of bright isolated sources")
    if not found["sources"]:
        axes.text(0.5, 0.5, "none in this field", transform=axes.transAxes, ha="center", color=INK)
        return
    east, north, star = (np.array(found[key]) for key in ("east", "north", "is_star"))
    axes.plot(east[~star], north[~star], "o", ms=4, color=MARK, alpha=0.6, mec="none", label="galaxies")
    axes.plot(east[star], north[star], "*", ms=8, color=MODEL, alpha=0.8, mec="none", label="stars")
    reach = max(30.0, float(np.percentile(np.hypot(east, north), 95)) * 1.3)
    axes.set(xlim=(reach, -reach), ylim=(-reach, reach), aspect="equal")
    axes.axhline(0, color=INK, lw=0.5)
    axes.axvline(0, color=INK, lw=0.5)
    text = f"{found['sources']} sources\nrms {found['absolute_rms']:.1f} mas per axis\nfrom {', '.join(found['frame'])}"
    axes.text(0.03, 0.97, text, transform=axes.transAxes, va="top", fontsize=8, color=INK)
    axes.legend(fontsize=8, frameon=False, loc="lower right")


def _fluxes(axes: "Axes", filters: Mapping[str, Mapping[str, Any]]) -> None:
    for (name, one), colour in zip(filters.items(), COLOURS, strict=False):
        if one["sources"]:
            magnitude, ratio, star = (np.array(one[key]) for key in ("magnitude", "ratio", "is_star"))
            axes.plot(magnitude[~star], ratio[~star], "o", ms=4, color=colour, alpha=0.7, mec="none", label=name)
            axes.plot(magnitude[star], ratio[star], "*", ms=7, color=colour, alpha=0.9, mec="none")
    axes.axhline(1, color=INK, lw=0.6)
    axes.set(
        xlabel="true magnitude (AB)", ylabel="flux / true flux", title="fluxes of bright isolated sources (★ stars)"
    )
    axes.set_ylim(0.8, 1.2)
    axes.legend(fontsize=8, frameon=False, loc="lower left")


def _pulls(axes: "Axes", filters: Mapping[str, Mapping[str, Any]]) -> None:
    """Median and width of pulls, stars and galaxies apart."""
    for shift, kind, marker, colour in ((-0.12, "stars", "*", MODEL), (0.12, "galaxies", "o", MARK)):
        for x, one in enumerate(filters.values()):
            part = one.get(kind, {"sources": 0})
            if part["sources"]:
                axes.errorbar(
                    x + shift, part["pull_median"], part["pull_width"], fmt=marker, ms=7, capsize=4, color=colour,
                    label=kind if not x else None,
                )  # fmt: skip
                axes.annotate(str(part["sources"]), (x + shift, -3.8), ha="center", fontsize=8, color=colour)
    for level in (-1, 0, 1):
        axes.axhline(level, color=INK, lw=0.6, ls="-" if level == 0 else ":")
    axes.set_xticks(range(len(filters)), list(filters))
    axes.set(
        ylabel="(flux - true) / error", title="median and width of pulls", ylim=(-4, 4), xlim=(-0.6, len(filters) - 0.4)
    )
    axes.legend(fontsize=8, frameon=False)


def _redshifts(axes: "Axes", found: Mapping[str, Any]) -> None:
    axes.set(xlabel="true redshift", ylabel="photometric redshift", title="photometric redshifts")
    if not found["sources"]:
        axes.text(0.5, 0.5, "none in this field", transform=axes.transAxes, ha="center", color=INK)
        return
    x, y = np.log1p(found["true"]), np.log1p(found["found"])
    shown = axes.scatter(x, y, c=found["risk"], s=18, cmap="cividis_r", vmin=0, vmax=0.8, lw=0)
    axes.figure.colorbar(shown, ax=axes, label="risk", pad=0.01)
    top = max(float(x.max()), float(y.max())) + 0.1
    line = np.linspace(0, top, 50)
    axes.plot(line, line, color=INK, lw=0.7)
    for sign in (-1, 1):
        axes.plot(line, line + np.log1p(sign * 0.15), color=INK, lw=0.6, ls=":")
    ticks = [tick for tick in (0, 0.5, 1, 2, 3, 4, 6, 8, 12) if np.log1p(tick) < top]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(np.log1p(ticks).tolist(), [f"{tick:g}" for tick in ticks])
    axes.set(xlim=(0, top), ylim=(0, top))
    text = f"{found['sources']} galaxies\nNMAD {found['nmad']:.3f}\n{found['outliers']:.0%} beyond 0.15"
    axes.text(0.03, 0.97, text, transform=axes.transAxes, va="top", fontsize=8, color=INK)


def _honesty(axes: "Axes", found: Mapping[str, Any]) -> None:
    axes.set(xlabel="probability below the true redshift", ylabel="galaxies", title="P(z): even where it is honest")
    below = np.array(found["below"])
    edges = np.linspace(0, 1, len(below) + 1)
    axes.bar(edges[:-1], below, np.diff(edges), align="edge", color=CONTINUUM, edgecolor="white")
    mean = below.mean()
    axes.axhspan(mean - mean**0.5, mean + mean**0.5, color=INK, alpha=0.12, lw=0)
    axes.axhline(mean, color=INK, lw=0.8)
    if found["within_68"] is not None:
        text = f"{found['within_68']:.0%} within the middle 68 %"
        axes.text(0.5, 0.97, text, transform=axes.transAxes, ha="center", va="top", fontsize=8, color=INK)
        axes.set_ylim(0, max(below.max(), mean + mean**0.5) * 1.2)
