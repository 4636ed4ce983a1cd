"""The step stack on simulated cut-outs, judged by lines whose wavelength and flux are known, and by empty sky."""

import json

import pytest


@pytest.fixture(scope="module")
def folder(root, run_in, tmp_path_factory):
    """All products of one scene: both grisms through two filters at two rolls, and a second dither."""
    folder = tmp_path_factory.mktemp("stack")
    scene = root / "tests" / "integration" / "stack_scene.py"
    run_in("jwst", "python", scene, 512, 1, "F150W", "F200W", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    """Numbers of the scene."""
    return json.loads((folder / "stack.json").read_text())


def middle(values):
    """Median."""
    return sorted(values)[len(values) // 2]


@pytest.mark.slow
@pytest.mark.parametrize("filter", ["F150W", "F200W"])
@pytest.mark.parametrize("grism", ["GR150R", "GR150C"])
def test_lines_come_back_at_their_wavelengths_with_their_fluxes(found, grism, filter):
    lines = [
        row for row in found["lines"]
        if (row["grism"], row["filter"]) == (grism, filter) and row["error"] < 0.2
    ]  # fmt: skip
    assert len(lines) > 4
    sharp = [1 / (row["shift_error"] ** 2 + 0.05**2) for row in lines]
    assert abs(sum(w * row["shift"] for w, row in zip(sharp, lines, strict=True)) / sum(sharp)) < 0.2
    # weighted by errors, and by 3 % that profiles are not known better than
    weights = [1 / (row["error"] ** 2 + 0.03**2) for row in lines]
    mean = sum(w * row["ratio"] for w, row in zip(weights, lines, strict=True)) / sum(weights)
    assert mean == pytest.approx(1, abs=max(0.05, 2.5 * sum(weights) ** -0.5))


@pytest.mark.slow
def test_errors_of_lines_are_right(found):
    pulls = [abs(row["ratio"] - 1) / row["error"] for row in found["lines"]]
    assert len(pulls) > 40
    assert 0.8 < 1.483 * middle(pulls) < 1.3


@pytest.mark.slow
def test_the_grisms_agree(found):
    rows = {(row["source"], row["filter"], row["roll"], row["grism"]): row for row in found["lines"]}
    off = []
    for (source, filter, roll, grism), one in rows.items():
        other = rows.get((source, filter, roll, "GR150C"))
        if grism == "GR150R" and other:
            off.append((one["ratio"] - other["ratio"]) / (one["error"] ** 2 + other["error"] ** 2) ** 0.5)
    assert len(off) > 10
    assert abs(sum(off) / len(off)) < 3 / len(off) ** 0.5
    assert 1.483 * middle([abs(value) for value in off]) < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("bins", ["1", "3", "10"])
def test_errors_of_empty_sky_hold_for_sums_of_bins(found, bins):
    assert found["blank"][bins] == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_products_agree_with_each_other(folder, run_in, tmp_path):
    script = tmp_path / "check.py"
    script.write_text(
        f"""
from pathlib import Path
import numpy as np
from pureparallel import slitless_spectra, slitless_stacks
folder = Path({str(folder)!r})
sources, setups = slitless_spectra.read(folder / "cut_spectra.fits")
stacks = slitless_stacks.read(folder / "cut_stacks.fits")
waves = {{}}
for setup in setups:
    assert np.array_equal(waves.setdefault(setup.filter, setup.wave), setup.wave)
rows = [(source, setup.grism, setup.filter) for setup in setups for source in setup.source]
assert rows == [(row["source"], row["grism"], row["filter"]) for row in stacks.table]
assert max(stacks.table["exposures"]) == 2 and min(stacks.table["exposures"]) == 1
assert all(bool(reason) != (one in set(stacks.table["source"])) for one, reason in sources["id", "reason"])
ratios = []
for row, (setup, i) in zip(stacks.table, ((s, i) for s in setups for i in range(len(s.source)))):
    data, error, model, contamination = stacks.of(row)
    assert data.shape == (row["ny"], len(setup.wave))
    if row["snr"] > 3 and row["ny"] < 40:  # as cut-outs are cut, those of larger sources lack some of their light
        near = np.where(np.isfinite(data).any(axis=1)[:, None], data, 0)  # but for rows beside the cut-outs
        seen = np.isfinite(near).all(axis=0) & (setup.err[i] > 0)
        ratios += [np.sum(near[:, seen]) / np.sum(setup.flux[i][seen])] if seen.sum() > 20 else []
assert len(ratios) > 5 and 0.9 < np.median(ratios) < 1.05, ratios
"""
    )
    run_in("jwst", "python", script, cwd=tmp_path)


@pytest.fixture
def call(run_in, folder, tmp_path):
    """The command on cut-outs of one's own: its outcome and metrics."""

    def call(cutouts, *more, catalogue=folder / "cat.ecsv", check=True, index=1, of=1):
        done = run_in(
            "jwst", "pureparallel", "stack", "--field", "scene", "--cutouts", cutouts, "--catalogue", catalogue,
            "--index", index, "--of", of, "--spectra", tmp_path / "s.fits", "--stacks", tmp_path / "t.fits",
            "--figure", tmp_path / "f.png", "--metrics", tmp_path / "m.json", *more, cwd=tmp_path, check=check,
        )  # fmt: skip
        return done, json.loads((tmp_path / "m.json").read_text()) if check else None

    return call


@pytest.mark.slow
def test_one_exposure_is_enough_and_a_missing_one_is_told(call, folder, tmp_path):
    from astropy.io import fits

    part = tmp_path / "cut"
    part.mkdir()
    first, second = sorted((folder / "cut").glob("*_spec2.fits"))[:2]
    for path in (first, first.with_name(first.name.replace("_spec2.fits", ".metrics.json"))):
        (part / path.name).write_bytes(path.read_bytes())
    name = second.name.removesuffix("_spec2.fits")
    (part / f"{name}.metrics.json").write_text(json.dumps({"name": name, "reason": "scattered light"}))
    _, metrics = call(part)
    assert (metrics["exposures"], metrics["left_out"]) == (1, {name: "scattered light"})
    assert metrics["spectra"] > 5
    with fits.open(tmp_path / "s.fits") as hdus:
        reasons = [str(row["reason"]) for row in hdus["SOURCES"].data]
        assert sum(not reason for reason in reasons) == len(hdus["SPECTRA"].data)
        assert len(reasons) == metrics["sources"]


@pytest.mark.slow
def test_chunks_part_the_sources_and_may_be_empty(call, folder, tmp_path):
    from astropy.io import fits
    from astropy.table import Table

    catalogue = Table.read(folder / "cat.ecsv", format="ascii.ecsv")
    mine = set()
    for index in (1, 2, 3):
        call(folder / "blank", index=index, of=3)
        with fits.open(tmp_path / "s.fits") as hdus:
            found = {int(source) for source in hdus["SOURCES"].data["id"]}
        assert found == {int(one) for one in catalogue["label"] if one % 3 == index - 1}
        mine |= found
    assert mine == set(catalogue["label"])
    alone = tmp_path / "one.ecsv"
    catalogue[catalogue["label"] % 3 == 0][:1].write(alone, format="ascii.ecsv")
    _, metrics = call(folder / "blank", catalogue=alone, index=2, of=3)
    assert (metrics["sources"], metrics["spectra"]) == (0, 0)


@pytest.mark.slow
def test_mistakes_are_told(call, folder, tmp_path):
    empty = tmp_path / "nothing"
    empty.mkdir()
    _, metrics = call(empty)
    assert list(metrics["without"]) == ["no dispersed exposure"]
    for cutouts, index, told in ((tmp_path / "missing", 1, "no such folder"), (empty, 4, "no chunk 4 of 1")):
        done, _ = call(cutouts, index=index, check=False)
        assert done.returncode == 1 and told in done.stderr and "Traceback" not in done.stderr
    broken = tmp_path / "broken"
    broken.mkdir()
    path = sorted((folder / "cut").glob("*_spec2.fits"))[0]
    name = path.name.removesuffix("_spec2.fits")
    (broken / f"{name}.metrics.json").write_text(json.dumps({"name": name, "reason": ""}))
    (broken / path.name).write_bytes(path.read_bytes()[:100000])
    done, _ = call(broken, check=False)
    assert done.returncode == 1 and path.name in done.stderr and "Traceback" not in done.stderr
