"""The figure of a slitless source, pixel by pixel."""

import numpy as np
import pytest
from pureparallel.core import plot_fit_layout
from pureparallel.core.lines import Family
from pureparallel.core.plot_fit_redshift import Cutout, Panel, fit_figure
from pureparallel.core.redshift import Lines, Peak, Redshift

WAVE = np.linspace(1.02, 1.27, 50)
Z = np.expm1(np.linspace(np.log(1.1), np.log(8), 900))
FAMILIES = [
    Family("Ha", ("Hα",), np.array([6564.6]), np.ones(1)),
    Family("SII", ("[SII]",), np.array([6725.0]), np.ones(1)),
]


def source(seed, z):
    """What `fit_figure` takes, of one source."""
    rng = np.random.default_rng(seed)
    line = 30 * np.exp(-0.5 * ((WAVE - 0.65646 * (1 + z)) / 0.006) ** 2)
    model = np.broadcast_to(2 + line, (2, len(WAVE)))
    flux = model + rng.normal(size=model.shape)
    images = {"GR150R": rng.normal(size=(9, len(WAVE))), "GR150R model": rng.normal(size=(9, len(WAVE)))}
    titles = ["GR150R 37°", "GR150R 97°"]
    panel = Panel("F115W", titles, WAVE, flux, np.ones_like(flux), model, np.full_like(flux, 2.0), images)
    pdf = np.exp(-0.5 * ((Z - z) / 0.02) ** 2)
    peaks = (Peak(z, 100.0, 0.9), Peak(z + 1, 105.0, 0.1))
    redshift = Redshift(z, z - 0.02, z + 0.02, 100.0, 90, peaks, Z, pdf)
    lines = Lines(FAMILIES, np.array([30.0, 1.0]), np.ones(2), np.ones(2), np.ones(2), [], [])
    own = np.hypot(*np.indices((21, 21)) - 10) < 5
    return [panel], redshift, lines, f"source {seed}", Cutout(rng.normal(size=(21, 21)) + 9 * own, own, 3.0)


def pixels(figure):
    """The figure as it is written."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba()).copy()


def test_a_figure_does_not_depend_on_those_before():
    first = pixels(fit_figure(*source(1, 0.7)))
    second = pixels(fit_figure(*source(2, 0.8)))
    assert (first != second).any(axis=2).mean() > 0.01
    assert np.array_equal(pixels(fit_figure(*source(1, 0.7))), first)
    plot_fit_layout.layout_sheet.cache_clear()
    assert np.array_equal(pixels(fit_figure(*source(2, 0.8))), second)


def test_a_figure_that_failed_leaves_nothing_to_the_next():
    expected = pixels(fit_figure(*source(1, 0.7)))
    broken = list(source(2, 0.8))
    broken[4] = Cutout(np.ones((21, 21)), np.ones((5, 5), bool), 3.0)
    with pytest.raises(ValueError, match="broadcast"):
        fit_figure(*broken)
    assert np.array_equal(pixels(fit_figure(*source(1, 0.7))), expected)


def test_what_is_shared_is_drawn_as_part_of_the_figure():
    """Ticks, names and the legend come from the picture of what never changes: it is there, the right way up."""
    plot_fit_layout.layout_sheet.cache_clear()
    shown = pixels(fit_figure(*source(1, 0.7)))
    height, width = shown.shape[:2]
    dark = shown[..., :3].max(axis=2) < 120
    assert dark[: height // 10, width // 2 :].any()  # the legend's names
    assert not dark[height // 10 : height // 6, : width // 20].any()
    assert dark[-height // 12 :, width // 4 : -width // 4].any()  # below P(z)
