"""Figure of stacked slitless spectra, drawn on matplotlib's own canvas: no pyplot, no global state."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .palette import CONTINUUM, INK, MARK, MODEL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (INK, MODEL, MARK, CONTINUUM)
"""Of spectra of one filter, by grism and roll."""

MOST = 8
"""Grisms and rolls that are shown."""

UNIT = "10$^{-20}$ erg s$^{-1}$ cm$^{-2}$ Å$^{-1}$"


def sheet(
    field: str, sources: Sequence[str], setups: Sequence[Any], rows: Sequence[Mapping[str, Any]],
    images: Sequence[NDArray[np.float32]],
) -> "Figure":  # fmt: skip
    """2-D stacks of some sources by filter, grism and roll, and their 1-D spectra below, with the model dotted.

    Parameters
    ----------
    field : str
    sources : sequence of str
        From top to bottom.
    setups : sequence of Setup
        Spectra by grism and filter.
    rows : sequence of mapping
        Of STACKS, in the order of the setups' spectra.
    images : sequence of ndarray, shape (4, ny, nx)
        Of each row: data, error, model, contamination.
    """
    from matplotlib.figure import Figure

    filters = list(dict.fromkeys(row["filter"] for row in rows))
    kinds = sorted({(round(row["roll"]), row["grism"]) for row in rows if row["source"] in sources})[:MOST]
    colours = {kind: COLOURS[i % len(COLOURS)] for i, kind in enumerate(kinds)}
    if not sources:
        figure = Figure(figsize=(6, 2), layout="constrained")
        figure.text(0.5, 0.5, f"{field}: no spectra in this chunk", ha="center", va="center", color=INK)
        return figure
    spectra = [(setup, i) for setup in setups for i in range(len(setup.source))]
    tall = (0.42 * len(kinds) + 2.1) * len(sources) + 0.6  # inches
    figure = Figure(figsize=(14, tall))
    block = (1 - 0.45 / tall) / len(sources)
    for k, source in enumerate(sources):
        top = 1 - 0.45 / tall - k * block
        figure.text(0.01, top - 0.1 / tall, f"source {source}", fontsize=10, color=INK, va="top")
        axes = figure.subplots(
            len(kinds) + 1, len(filters), sharex="col", squeeze=False,
            gridspec_kw={
                "height_ratios": [0.42] * len(kinds) + [1.6], "hspace": 0.06, "wspace": 0.1, "left": 0.075,
                "right": 0.99, "top": top - 0.33 / tall, "bottom": top - block + 0.45 / tall,
            },
        )  # fmt: skip
        for panel in axes[:-1].ravel():
            panel.tick_params(bottom=False, labelbottom=False, left=False, labelleft=False)
            panel.set_facecolor("#e8eaed")
        drawn: dict[int, list[NDArray[np.floating]]] = {}
        for row, image, (setup, i) in zip(rows, images, spectra, strict=True):
            kind, column = (round(row["roll"]), row["grism"]), filters.index(row["filter"])
            if row["source"] == source and kind in kinds:
                _strip(axes[kinds.index(kind), column], setup.wave, image)
                _curve(axes[-1, column], setup.wave, setup.flux[i], setup.err[i], colours[kind])
                middle = image[2, image.shape[1] // 2 - 2 : image.shape[1] // 2 + 3]
                own = np.where(np.isfinite(middle).all(axis=0), np.nansum(image[2], axis=0), np.nan)
                drawn.setdefault(column, []).append(np.where(setup.err[i] > 0, setup.flux[i], np.nan))
                axes[-1, column].plot(setup.wave, own, color=INK, lw=0.7, ls=":")
        for kind, panel in zip(kinds, axes[:-1, 0], strict=True):
            panel.set_ylabel(
                f"{kind[1]} {kind[0]}°", rotation=0, ha="right", va="center", fontsize=8, color=colours[kind]
            )
        for column, spectra_of in drawn.items():
            axes[-1, column].set_ylim(top=_top(np.array(spectra_of)))
        for filter, panel in zip(filters, axes[-1], strict=True):
            panel.set_xlabel(f"{filter}, wavelength (µm)", fontsize=8)
            panel.tick_params(labelsize=8)
        axes[-1, 0].set_ylabel(UNIT, fontsize=7)
    figure.suptitle(
        f"{field}: sources with the most significant lines, contamination subtracted (dotted: model without lines)",
        color=INK,
    )
    return figure


def _strip(panel: Any, wave: NDArray[np.floating], image: NDArray[np.float32]) -> None:
    data, error = image[:2]
    step = wave[1] - wave[0]
    noise = float(np.nanmedian(error)) if np.isfinite(error).any() else 1.0
    high = max(5 * noise, float(np.nanpercentile(data, 99.5)) if np.isfinite(data).any() else 0.0)
    panel.imshow(
        data, origin="lower", aspect="auto", cmap="Greys", vmin=-2 * noise, vmax=high, interpolation="nearest",
        extent=(wave[0] - step / 2, wave[-1] + step / 2, 0, len(data)),
    )  # fmt: skip


def _curve(
    panel: Any, wave: NDArray[np.floating], flux: NDArray[np.floating], error: NDArray[np.floating], colour: str
) -> None:
    seen = error > 0
    usual = np.median(error[seen]) if seen.any() else 1.0
    shown = np.where(seen & (error < 4 * usual), flux, np.nan)
    panel.step(wave, shown, where="mid", color=colour, lw=0.9)
    panel.fill_between(
        wave, shown - error, shown + error, step="mid", color=colour, alpha=0.15, lw=0, where=np.isfinite(shown)
    )
    panel.axhline(0, color=INK, lw=0.4)


def _top(spectra: NDArray[np.floating]) -> float | None:
    """Upper limit of an axis, shape (k, n), above what at least two spectra have; None where that does not tell."""
    known = np.sort(np.where(np.isfinite(spectra), spectra, -np.inf), axis=0)
    second = float(known[-2].max()) if len(known) > 1 else -np.inf
    return 1.5 * second if 0 < 1.5 * second < known[-1].max() else None
