"""Figure of a field's redshifts against others that are known."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .palette import CONTINUUM, INK, MARK, MODEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLAGS = {
    3: (MARK, "o", 26, "two lines or more"),
    2: (CONTINUUM, "s", 24, "a line and photometry"),
    1: ("#8a94a3", "x", 20, "less"),
}
"""Colour, marker, size and meaning of each flag."""

TICKS = (0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15)


def validation_figure(report: Mapping[str, Any], title: str) -> "Figure":
    """Redshifts with their residuals, completeness against line flux, line fluxes, and P(z).

    Parameters
    ----------
    report : mapping
        The metrics of the step validate_redshifts.
    title : str
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 10.5), layout="constrained")
    quarters = list(np.asarray(figure.subfigures(2, 2, wspace=0.04, hspace=0.05), object).flat)
    _redshifts(quarters[0].subplots(2, 1, sharex=True, height_ratios=[3, 1.2]), report)
    _complete(quarters[1].subplots(), report.get("by_line"))
    _fluxes(quarters[2].subplots(), report.get("lines"))
    _honesty(quarters[3].subplots(), report["calibration"], report["calibration_sure"])
    figure.suptitle(title, fontsize=13, color=INK)
    return figure


def _nothing(axes: "Axes", text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=INK)


def _redshifts(panels: Sequence["Axes"], report: Mapping[str, Any]) -> None:
    """Redshift against the known one, and the residuals of those right."""
    top, bottom = panels
    pairs, scores, wrong = report["pairs"], report["redshifts"], report["wrong"]
    z, true, flag = (np.array(pairs[key], float) for key in ("z", "true", "flag"))
    fitted = np.isfinite(z)
    top.set_title("redshifts", fontsize=11)
    if not fitted.any():
        _nothing(top, "none in this field")
        return
    low, high = (float(f(np.concatenate([z[fitted], true[fitted]]))) for f in (np.min, np.max))
    line = np.linspace(np.log1p(low) - 0.03, np.log1p(high) + 0.03, 50)
    top.plot(line, line, color=INK, lw=0.7, zorder=0)
    width = (np.array(pairs["high"], float) - np.array(pairs["low"], float)) / 2
    for value, (colour, marker, size, meaning) in sorted(FLAGS.items()):
        chosen = fitted & (flag == value)
        if not chosen.any():
            continue
        one = scores[f"flag_{value}"]
        label = f"flag {value}, {meaning}: {one['sources']}, {one['right']:.0%} right"
        x, y = np.log1p(true[chosen]), np.log1p(z[chosen])
        top.scatter(x, y, s=size, marker=marker, color=colour, alpha=0.8, lw=1 if marker == "x" else 0, label=label)
        off, error = (z - true)[chosen] / (1 + true[chosen]), (width / (1 + true))[chosen]
        close = np.abs(off) < wrong
        bottom.errorbar(
            x[close], 1e3 * off[close], 1e3 * np.minimum(error[close], wrong), fmt=marker, color=colour, lw=0.6,
            ms=size**0.5 - 1, alpha=0.8, mec=colour if marker == "x" else "none",
        )  # fmt: skip
    ticks = [tick for tick in TICKS if line[0] <= np.log1p(tick) <= line[-1]]
    for axis in (top.xaxis, top.yaxis):
        axis.set_ticks(np.log1p(ticks).tolist(), [f"{tick:g}" for tick in ticks])
    top.set(xlim=(line[0], line[-1]), ylim=(line[0], line[-1]), ylabel="redshift found")
    top.legend(fontsize=8.5, frameon=False, loc="lower right")
    bottom.axhline(0, color=INK, lw=0.7)
    reach = 4e3 * max(scores["all"]["nmad"] or 0, 2.5e-4)
    reach = min(reach, 1e3 * wrong)
    bottom.set(ylim=(-reach, reach), xlabel="redshift known", ylabel="dz/(1+z) (10⁻³)")
    text = f"σ(NMAD): {1e3 * scores['flag_3']['nmad']:.2f} of flag 3" if scores["flag_3"]["sources"] else ""
    bottom.text(0.01, 0.96, text, transform=bottom.transAxes, va="top", fontsize=8.5, color=INK)


def _complete(axes: "Axes", found: Mapping[str, Any] | None) -> None:
    """Fractions of redshifts right, against the flux of the most significant line that there is to see."""
    axes.set_title("redshifts that are right, by the flux of the strongest line there is", fontsize=11)
    if not found or not any(row["sources"] for row in found["right_by_flux"]):
        _nothing(axes, "which lines there are to see is not known here")
        return
    for key, colour, marker, label in (
        ("right_by_flux", MARK, "o", "right, of all sources with a spectrum"),
        ("sure_by_flux", CONTINUUM, "s", "right, with flag 2 or 3"),
    ):
        rows = [row for row in found[key] if row["sources"]]
        x = np.array([np.sqrt(row["low"] * row["high"]) for row in rows])
        x *= 1.02 if marker == "o" else 0.98
        value, least, most = (np.array([row[name] for row in rows]) for name in ("fraction", "least", "most"))
        bars = np.maximum([value - least, most - value], 0)
        axes.errorbar(x, value, bars, fmt=marker + "-", ms=5, lw=1.2, capsize=2, color=colour, label=label)
        if marker == "o":
            for place, row in zip(x, rows, strict=True):
                axes.annotate(str(row["sources"]), (place, 1.04), ha="center", fontsize=8.5, color=INK)
    one = found["with_line"]
    if one["sources"]:
        text = f"a line at S/N ≥ {one['snr']:g}: {one['sources']} sources, {one['right']:.0%} right"
        axes.text(0.98, 0.04, text, transform=axes.transAxes, ha="right", fontsize=9, color=INK)
    axes.set(xscale="log", xlabel="flux of the line (erg s⁻¹ cm⁻²)", ylabel="fraction", ylim=(-0.03, 1.12))
    axes.legend(fontsize=8.5, frameon=False, loc="upper left", bbox_to_anchor=(0, 0.94))


def _fluxes(axes: "Axes", found: Mapping[str, Any] | None) -> None:
    """Measured over true line fluxes, with the most common families in colours."""
    axes.set_title("fluxes of lines, of sources alone with the right redshift", fontsize=11)
    if not found or not found["true"]:
        _nothing(axes, "no line whose flux is known")
        return
    true, measured, error = (np.array(found[key]) for key in ("true", "measured", "error"))
    family = np.array(found["family"])
    names, counts = np.unique(family, return_counts=True)
    common = names[np.argsort(-counts)][:4]
    styles = dict(zip(common, zip((MARK, MODEL, CONTINUUM, INK), "osD^", strict=True), strict=False))
    ratio, bar = measured / true, error / true
    for name in [*common, None]:
        chosen = family == name if name else ~np.isin(family, common)
        colour, marker = styles.get(name, ("#8a94a3", "v"))
        if chosen.any():
            axes.errorbar(
                true[chosen], ratio[chosen], bar[chosen], fmt=marker, ms=4, lw=0.6, color=colour, alpha=0.75,
                mec="none", label=f"{name or 'others'}: {chosen.sum()}",
            )  # fmt: skip
    axes.axhline(1, color=INK, lw=0.7)
    axes.set(xscale="log", xlabel="true flux (erg s⁻¹ cm⁻²)", ylabel="measured / true", ylim=(-0.5, 3.5))
    text = f"{found['lines']} fluxes: pull {found['pull_median']:+.2f} ± {found['pull_width']:.2f}"
    if found["ratio"] is not None:
        text += f"\n{found['bright']} lines at S/N ≥ 10: ratio {found['ratio']:.3f}"
    box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 2}
    axes.text(0.02, 0.97, text, transform=axes.transAxes, va="top", fontsize=9, color=INK, bbox=box)
    axes.legend(fontsize=8.5, loc="upper right", ncols=2, framealpha=0.85, edgecolor="none")


def _honesty(axes: "Axes", found: Mapping[str, Any], sure: Mapping[str, Any]) -> None:
    """Where in P(z) the known redshifts lie: evenly, if it is honest."""
    axes.set_title("P(z): even where it is honest", fontsize=11)
    top = 1.0
    for one, colour, what in ((found, CONTINUUM, "all"), (sure, MARK, "flag 2 or 3")):
        below = np.array(one["below"], float)
        if not below.sum():
            continue
        edges, mean = np.linspace(0, 1, len(below) + 1), below.mean()
        label = f"{what}: {one['within_68']:.0%} within the middle 68 %"
        if one["pull_width"] is not None:
            label += f", pull of those right {one['pull_median']:+.2f} ± {one['pull_width']:.2f}"
        axes.bar(edges[:-1], below, np.diff(edges), align="edge", color=colour, edgecolor="white", label=label)
        if one is found:
            axes.axhspan(mean - mean**0.5, mean + mean**0.5, color=INK, alpha=0.12, lw=0, zorder=0)
            axes.axhline(mean, color=INK, lw=0.8)
        top = max(top, float(below.max()), mean + mean**0.5)
    if not sum(found["below"]):
        _nothing(axes, "none in this field")
        return
    axes.legend(fontsize=8.5, frameon=False, loc="upper center")
    axes.set(xlim=(0, 1), ylim=(0, top * 1.3), xlabel="probability below the known redshift", ylabel="sources")
