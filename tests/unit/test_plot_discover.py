import numpy as np
import pytest
from pureparallel import UserError
from pureparallel.acquire import footprints, manifest, plan
from pureparallel.core import plot_discover
from pureparallel.steps.field_map import field_map
from pureparallel.steps.sky_map import sky_map

SQUARE = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 60


def rows(ra=150.0, dec=0.0, **other):
    """Two direct exposures and one through a grism, 2 arcmin wide, the second 3 arcmin east of the first."""
    made = []
    for i, (band, grism) in enumerate([("F115W", ""), ("F115W", ""), ("F200W", "GR150R")]):
        corners = SQUARE + np.array((ra + 3 * i / 60, dec))
        name = f"jw01571001001_02101_{i + 1:05d}_nis"
        made.append({
            **dict.fromkeys(manifest.COLUMNS, ""), "exposure": name, "mode": "niriss_wfss" if grism else "niriss_image",
            "filter": band, "grism": grism, "readpatt": "NIS", "ngroups": "3", "exptime": "500",
            "start": "2024-01-01T00:00:00", "footprint": footprints.region(corners), **other,
        })  # fmt: skip
    return made


def test_every_exposure_is_drawn_in_the_panel_of_its_filter_and_grism():
    figure = plot_discover.exposures_figure(rows(), plan.footprints_of, "sex-01")
    drawn = {axes.get_title().replace("\n", ": "): len(axes.lines) for axes in figure.axes}
    assert drawn == {
        "F115W direct: 2, 1.0 ks": 2, "F200W direct: none": 0, "F115W GR150R: none": 0, "F200W GR150R: 1, 0.5 ks": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("ra", "dec"), [(150.0, 0.0), (359.98, 0.0)])
def test_offsets_are_arcmin_with_east_to_the_left(ra, dec):
    figure = plot_discover.exposures_figure(rows(ra, dec), plan.footprints_of, "sex-01")
    first, second = figure.axes[0].lines
    assert second.get_xdata().mean() - first.get_xdata().mean() == pytest.approx(3, abs=1e-3)
    assert np.ptp(first.get_ydata()) == pytest.approx(2, abs=1e-3)
    left, right = figure.axes[0].get_xlim()
    assert left > right


def test_fields_lie_where_they_are_on_the_sky():
    def around(ra, dec):
        return (SQUARE + np.array((ra, dec)))[None]

    shown = {"vir-01": around(180.0, 0.0), "leo-01": around(150.0, 10.0), "psc-01": around(0.0, -20.0)}
    figure = plot_discover.sky_figure(shown | {"sim": np.empty((0, 4, 2))})
    dots = np.rad2deg(np.asarray(figure.axes[0].collections[0].get_offsets()))
    assert dots == pytest.approx(np.array([(0, 0), (30, 10), (180, -20)]), abs=1e-3)
    assert [text.get_text() for text in figure.axes[0].texts] == ["vir-01", "leo-01", "psc-01"]


def test_names_that_would_cover_others_are_left_out():
    crowd = {f"sex-{i:02d}": (SQUARE + np.array((150.0 + i / 30, 2.0)))[None] for i in range(12)}
    assert 1 <= len(plot_discover.sky_figure(crowd).axes[0].texts) <= 4


def test_the_steps_draw_manifests(tmp_path):
    path = tmp_path / "sex-01.tsv"
    manifest.write(path, rows())
    field_map(field="sex-01", manifest=path, figure=tmp_path / "field.png")
    sky_map(manifests=[path], figure=tmp_path / "sky.png")
    for name in ("field.png", "sky.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    manifest.write(path, rows(footprint=""))
    with pytest.raises(UserError, match=r"footprint: is empty in every row"):
        field_map(field="sex-01", manifest=path, figure=tmp_path / "none.png")
