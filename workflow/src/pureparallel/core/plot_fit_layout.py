"""The canvas that figures of slitless sources share: axes, ticks and names, made once for all sources of a layout.

They cost most of a figure's time: what never changes is drawn once and kept as a picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .palette import CONTINUUM, INK, MODEL

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

DPI = 100
"""Pixels per inch at which a figure must be written."""

HEIGHT, STRIP = 5.6, 0.32
"""Inches of a figure without 2-D spectra, and of each of these."""

STRIPS = 1.015
"""Where 2-D spectra begin, in heights of the axes of 1-D spectra below them."""

TICKS = (0.1, 0.3, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15)
"""Of redshift."""


@dataclass(frozen=True)
class Layout:
    """What sources have in common whose figures differ in their contents only.

    Attributes
    ----------
    names : tuple of str
        Of the panels.
    edges : tuple of (float, float)
        First and last wavelength of each, half a bin beyond the centres, μm.
    strips : tuple of str
        Names of 2-D spectra and models, below each other.
    cutout : float
        Size of the direct image, arcsec; 0 for none.
    redshifts : (float, float)
    """

    names: tuple[str, ...]
    edges: tuple[tuple[float, float], ...]
    strips: tuple[str, ...]
    cutout: float
    redshifts: tuple[float, float]


@lru_cache(maxsize=16)
def layout_sheet(layout: Layout) -> "Sheet":
    """The canvas of a layout, the same one whenever it is asked for."""
    return Sheet(layout)


class Sheet:
    """A figure with its title and all its axes: `panels`, `direct`, `whole` and `peak`."""

    def __init__(self, layout: Layout) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        tall = STRIP * len(layout.strips)
        self.height = HEIGHT + tall
        self.figure = Figure(figsize=(11, self.height), dpi=DPI)
        self.canvas = FigureCanvasAgg(self.figure)
        top, bottom = self.at(HEIGHT * 0.83), self.at(HEIGHT * 0.42)
        widths = [high - low for low, high in layout.edges]
        grid = self.figure.add_gridspec(
            1, len(widths), width_ratios=widths, top=top, bottom=bottom, wspace=0.03, left=0.075, right=0.985
        )
        self.upper = STRIPS + tall / self.height / (top - bottom) if layout.strips else 1.0
        """Of the 2-D spectra, as a fraction of the height of the axes of 1-D spectra."""
        self.panels: list[Axes] = []
        for i, edges in enumerate(layout.edges):
            axes = self.figure.add_subplot(grid[0, i], sharey=self.panels[0] if i else None)
            axes.set(xlim=edges, autoscale_on=False)
            axes.tick_params(labelsize=8, left=i == 0, labelleft=i == 0)
            axes.axhline(0, color=INK, lw=0.5)
            self.panels.append(axes)
        self.panels[0].set_ylabel("Fλ (10⁻²⁰ erg s⁻¹ cm⁻² Å⁻¹)", fontsize=9)
        self.panels[len(widths) // 2].set_xlabel("observed wavelength (μm)", fontsize=9)
        self._name(layout.strips)
        self._below(layout)
        self._legend()
        self._freeze()
        self.title = self.figure.suptitle("", fontsize=10.5, color=INK, y=self.at(HEIGHT * 0.985))
        self.kept = {artist for axes in self.figure.axes for artist in axes.get_children()}

    def at(self, inches: float) -> float:
        """Height above the bottom as a fraction, of inches in a figure without 2-D spectra."""
        return (inches + (self.height - HEIGHT if inches > HEIGHT * 0.84 else 0.0)) / self.height

    def clear(self) -> None:
        """Remove what belongs to one source."""
        for axes in self.figure.axes:
            for artist in axes.get_children():
                if artist not in self.kept:
                    artist.remove()

    def _name(self, strips: Sequence[str]) -> None:
        """Names of 2-D spectra, to their left."""
        axes = self.panels[0]
        for i, name in enumerate(strips):
            height = self.upper - (self.upper - STRIPS) * (i + 0.5) / len(strips)
            axes.text(
                -0.02, height, name.split()[-1], transform=axes.transAxes, ha="right", va="center", fontsize=7.5,
                color=INK,
            )  # fmt: skip

    def _below(self, layout: Layout) -> None:
        """Axes of the direct image and of P(z)."""
        left = 0.195 if layout.cutout else 0.075
        if layout.cutout:
            self.direct = self.figure.add_axes((0.012, self.at(0.38), 1.3 / 11, 1.3 / self.height))
            self.direct.set(xticks=[], yticks=[])
            self.direct.set_xlabel(f"{layout.cutout:.1f}″, N up, E left", fontsize=7.5, labelpad=2)
        below = self.figure.add_gridspec(
            1, 2, width_ratios=[3.2, 1], wspace=0.05, top=self.at(HEIGHT * 0.3), bottom=self.at(HEIGHT * 0.085),
            left=left, right=0.985,
        )  # fmt: skip
        self.whole, self.peak = (self.figure.add_subplot(below[0, i]) for i in range(2))
        low, high = layout.redshifts
        ticks = [z for z in TICKS if low <= z <= high]
        self.whole.set_xticks(np.log1p(ticks), [f"{z:g}" for z in ticks])
        # a logarithmic axis would spend half of the figure's time on its ticks
        self.whole.set_yticks([0, -2, -4, -6], ["1", "10⁻²", "10⁻⁴", "10⁻⁶"])
        self.whole.set(xlim=(np.log1p(low), np.log1p(high)), ylim=(-6, 0.7), autoscale_on=False)
        self.whole.set_ylabel("P(z) / max", fontsize=9)
        self.peak.set(yticks=[], ylim=(-0.05, 1.05), autoscale_on=False)
        self.peak.locator_params(axis="x", nbins=3)
        for axes in (self.whole, self.peak):
            axes.tick_params(labelsize=8)
            axes.set_xlabel("redshift", fontsize=9)

    def _freeze(self) -> None:
        """Turn what never changes into a picture: its ticks and texts are not drawn again."""
        changing = [self.panels[0].yaxis, self.peak.xaxis]
        for axis in changing:
            axis.set_visible(False)
        self.canvas.draw()
        picture = np.asarray(self.canvas.buffer_rgba())[::-1].copy()
        for axes in self.figure.axes:
            axes.xaxis.set_visible(False)
            axes.yaxis.set_visible(False)
            axes.patch.set_visible(False)
            for text in list(axes.texts):
                text.remove()
        for axis in changing:
            axis.set_visible(True)
        for legend in list(self.figure.legends):
            legend.remove()
        self.figure.add_artist(_frozen(picture))

    def _legend(self) -> None:
        from matplotlib.lines import Line2D

        shown = {"mean spectrum": (INK, 1.0), "model": (MODEL, 1.2), "continuum": (CONTINUUM, 1.2)}
        self.figure.legend(
            [Line2D([], [], color=color, lw=width) for color, width in shown.values()], list(shown), loc="upper right",
            bbox_to_anchor=(0.99, self.at(HEIGHT * 0.94)), fontsize=8, frameon=False, ncols=3,
        )  # fmt: skip


def _frozen(picture: NDArray[np.uint8]) -> "Artist":
    """A picture of the whole figure, pixel by pixel: an image would be resampled."""
    from matplotlib.artist import Artist

    class Picture(Artist):
        def draw(self, renderer: Any) -> None:
            renderer.draw_image(renderer.new_gc(), 0, 0, picture)

    found = Picture()
    found.set_zorder(-1)
    return found
