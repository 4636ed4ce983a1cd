"""discover against an archive of its own: what it finds, how it groups, names and keeps it."""

import random
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from pureparallel import UserError, cli, config, io
from pureparallel.acquire import collect, naming, plan
from pureparallel.acquire.mast import KEY

sys.path.insert(0, str(Path(__file__).parent))
from discover_scene import LEO, SEX, east, found_in, manifests, outline, run, sky
from mast_server import COLUMNS, Mast, exposure, serving, visit

SECRET = "a-token-that-must-never-be-seen"


@pytest.fixture
def rows():
    """What the archive has."""
    return sky()


@pytest.fixture
def unwanted():
    """One exposure for every reason to leave one out."""
    return [
        exposure(1085, 1, 1, *LEO), exposure(1090, 1, 1, *LEO, category="COM"),
        exposure(4474, 1, 1, *LEO, category="CAL"),
        exposure(1571, 20, 1, *LEO, targtype="MOVING"), exposure(1571, 21, 1, *LEO, subarray="SUB64"),
        exposure(1571, 22, 1, *LEO, apername="NIS_ODD"), exposure(1571, 23, 1, *LEO, band="CLEARP", filter="F277W"),
        exposure(1571, 24, 1, *LEO, ra_v1=None, s_region=None), exposure(1571, 25, 1, *LEO),
        exposure(1571, 26, 1, *LEO, exp_type="NIS_DARK"), exposure(1571, 27, 1, *LEO, instrume="NIRCAM"),
    ]  # fmt: skip


def test_fields_are_found_grouped_and_named(tmp_path, rows):
    with serving(Mast(rows)) as mast:
        run(mast, tmp_path)
    fields = manifests(tmp_path)
    assert {name: Counter(row["program"] for row in mine) for name, mine in fields.items()} == {
        "leo-01": {"1571": 6, "3383": 3}, "sex-01": {"1571": 3}, "psc-01": {"2079": 6}, "umi-01": {"3383": 6},
    }  # fmt: skip
    for mine in fields.values():
        assert [row["start"] for row in mine] == sorted(row["start"] for row in mine)
    first = fields["leo-01"][0]
    assert first["uri"] == f"{first['exposure'][:-4]}/{first['exposure']}_uncal.fits"
    assert first["size"] == "100800000"
    assert {row["access"] for row in fields["leo-01"]} == {"public"}
    assert (tmp_path / "sex-01.yaml").read_text().splitlines()[2] == "source: mast"


def test_every_exposure_left_out_has_its_reason(tmp_path, rows, unwanted):
    with serving(Mast(rows + unwanted, without={unwanted[8][KEY]})) as mast:
        found = found_in(mast)
        run(mast, tmp_path)
    assert found.excluded == {
        ("1085", "its programme is excluded"): 1, ("1090", "category COM is excluded"): 1,
        ("4474", "category CAL is excluded"): 1,
    }  # fmt: skip
    reasons = {one.exposure: one.reason for one in found.left}
    expected = (
        "moving target",
        "subarray SUB64",
        "aperture NIS_ODD",
        "filter 'F277W'",
        "neither attitude",
        "no raw file",
    )
    for row, reason in zip(unwanted[3:9], expected, strict=True):
        assert reason in next(text for name, text in reasons.items() if name == row[KEY])
    assert len(reasons) == 6
    assert len(found.rows) == len(rows)
    lines = (tmp_path / "left_out.tsv").read_text().splitlines()
    assert len(lines) == 7
    assert not any("2079" in line for line in lines)


def test_the_order_of_the_archive_does_not_matter(tmp_path, rows):
    texts = []
    for seed in range(3):
        folder = tmp_path / str(seed)
        random.Random(seed).shuffle(rows)
        with serving(Mast(rows)) as mast:
            run(mast, folder)
        texts.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert texts[0] == texts[1] == texts[2]


def test_without_attitudes_the_regions_place_the_exposures_alike(tmp_path, rows):
    columns = tuple(name for name in COLUMNS if name not in ("ra_v1", "dec_v1", "pa_v3"))
    with serving(Mast(rows)) as mast:
        run(mast, tmp_path / "a")
    with serving(Mast(rows, columns=columns)) as mast:
        run(mast, tmp_path / "b")
    a, b = manifests(tmp_path / "a"), manifests(tmp_path / "b")
    assert {name: [row["exposure"] for row in mine] for name, mine in a.items()} == {
        name: [row["exposure"] for row in mine] for name, mine in b.items()
    }
    for name in a:
        gap = np.abs(plan.footprints_of(a[name])[..., 1] - plan.footprints_of(b[name])[..., 1]).max()
        assert 0 < gap * 3600 < 1


def test_a_second_run_changes_nothing_and_touches_no_file(tmp_path, rows):
    with serving(Mast(rows)) as mast:
        run(mast, tmp_path)
        stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        again = run(mast, tmp_path, today="2030-01-01")
    assert not any(again.changes.values())
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps


def test_new_changed_and_gone_exposures_are_told_and_alone_are_changed(tmp_path, rows):
    mast = Mast(rows)
    with serving(mast):
        run(mast, tmp_path)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        gone, changed = mast.rows.pop(0), mast.rows[3]
        mast.rows[3] = {**changed, "publicReleaseDate": "2024-11-30T00:00:00"}
        new = exposure(1571, 40, 1, *LEO, day=40)
        mast.rows.append(new)
        will = run(mast, tmp_path)
    change = will.changes["leo-01"]
    assert change.new == (f"{new[KEY]}_nis",)
    assert change.gone == (f"{gone[KEY]}_nis",)
    assert change.changed == {f"{changed[KEY]}_nis": ("released",)}
    assert [name for name, one in will.changes.items() if one] == ["leo-01"]
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {"leo-01.tsv"}


def test_what_was_not_asked_for_stays(tmp_path, rows):
    mast = Mast(rows)
    with serving(mast):
        run(mast, tmp_path)
        mast.rows = [row for row in rows if row["program"] == 1571][1:]
        will = run(mast, tmp_path, collect.Scope("niriss", programs=(1571,)))
        assert [len(one.gone) for one in will.changes.values()].count(1) == 1
        assert sum(len(one.gone) for one in will.changes.values()) == 1
        mast.rows = rows
        late = run(mast, tmp_path, collect.Scope("niriss", since="2024-01-13"))
        assert not any(one.gone for one in late.changes.values())


def test_an_empty_answer_changes_nothing(tmp_path, rows):
    with serving(Mast(rows)) as mast:
        run(mast, tmp_path)
    with serving(Mast([])) as mast, pytest.raises(UserError, match="no exposure at all"):
        run(mast, tmp_path)


def test_a_field_whose_exposures_are_all_gone_is_left_as_it_is(tmp_path, rows):
    mast = Mast(rows)
    with serving(mast):
        run(mast, tmp_path)
        before = (tmp_path / "sex-01.tsv").read_bytes()
        mast.rows = [row for row in rows if row["observtn"] != 3]
        will = run(mast, tmp_path)
    assert will.emptied == ["sex-01"]
    assert (tmp_path / "sex-01.tsv").read_bytes() == before
    assert "sex-01" in [one.name for one in naming.read(tmp_path)]


def test_a_bridge_joins_fields_under_the_older_name(tmp_path):
    far = east(LEO, 320)
    mast = Mast([*visit(1571, 1, *LEO), *visit(1571, 2, *far, day=8)])
    with serving(mast):
        run(mast, tmp_path)
        assert sorted(manifests(tmp_path)) == ["leo-01", "leo-02"]
        (tmp_path / "leo-02.yaml").write_text("description: mine\nsource: mast\n")
        mast.rows += visit(1571, 3, *east(LEO, 160), day=20)
        will = run(mast, tmp_path)
        assert will.mergers == [naming.Merger("leo-01", ("leo-02",))]
        assert [len(rows) for rows in manifests(tmp_path).values()] == [9]
        assert naming.read(tmp_path)[0].aliases == ("leo-02",)
        assert (tmp_path / "leo-02.yaml").read_text() == "description: mine\nsource: mast\n"
        with pytest.raises(UserError, match="exposures found later joined it to 'leo-01'"):
            config.read_manifest(tmp_path / "leo-02.tsv")
        mast.rows += visit(1571, 4, *east(LEO, 900), day=25)
        assert sorted(run(mast, tmp_path).manifests) == ["leo-01", "leo-03"]
        mast.rows = [row for row in mast.rows if row["observtn"] != 3]  # the bridge is withdrawn: nothing is torn apart
        assert sorted(run(mast, tmp_path).manifests) == ["leo-01", "leo-03"]


@pytest.mark.parametrize("writes", range(1, 9))
def test_a_run_that_was_killed_while_it_wrote_is_completed_by_the_next(tmp_path, writes, monkeypatch):
    mast = Mast([*visit(1571, 1, *LEO), *visit(1571, 2, *east(LEO, 320), day=8)])
    bridge = visit(1571, 3, *east(LEO, 160), day=20)
    results = []
    for killed in (False, True):
        folder = tmp_path / str(killed)
        mast.rows = mast.rows[:6]
        with serving(mast):
            run(mast, folder)
            mast.rows = [*mast.rows, *bridge, *visit(1571, 9, *SEX, day=22)]
            if killed:
                _kill_after(monkeypatch, writes)
                with pytest.raises(KeyboardInterrupt):
                    run(mast, folder)
                    raise KeyboardInterrupt  # there was less to write
                monkeypatch.undo()
            run(mast, folder)
        results.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert results[0] == results[1]


def _kill_after(monkeypatch, writes):
    """Interrupt what follows the given number of writes and removals."""
    left = [writes]

    def counted(function):
        def call(*arguments, **options):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(io, "write_text", counted(io.write_text))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))


def test_exposures_without_anything_dispersed_make_no_field_unless_asked_for(tmp_path):
    rows = [exposure(1571, 1, n, *LEO) for n in (1, 2)]
    with serving(Mast(rows)) as mast:
        assert run(mast, tmp_path).undispersed == 2
        assert list(run(mast, tmp_path, dispersed=False).manifests) == ["leo-01"]


def test_a_region_elsewhere_is_told(rows):
    wrong = exposure(1571, 50, 1, *SEX)["s_region"]
    rows[0] = {**rows[0], "s_region": wrong}
    with serving(Mast(rows)) as mast:
        assert list(found_in(mast).apart) == [rows[0][KEY]]


def test_the_command_prints_what_it_does_and_a_dry_run_writes_nothing(tmp_path, rows, monkeypatch, capsys):
    monkeypatch.setattr(collect, "collect", partial(collect.collect, outline=outline))

    def told(mast, *arguments):
        command = ["discover", "--fields", str(tmp_path / "fields"), "--server", mast.url, *arguments]
        assert cli.main(command) == 0
        return capsys.readouterr().out

    mast = Mast(rows)
    with serving(mast):
        dry = told(mast, "--dry-run")
        assert not (tmp_path / "fields").exists()
        assert told(mast) == dry
        assert told(mast) == "4 fields; exposures: 0 new, 0 changed, 0 gone\n"
        gone = mast.rows.pop()
        assert told(mast).splitlines() == [
            "umi-01: 1 gone", f"  gone    {gone[KEY]}_nis", "4 fields; exposures: 0 new, 0 changed, 1 gone",
        ]  # fmt: skip
    assert dry.splitlines()[-1] == "4 fields; exposures: 24 new, 0 changed, 0 gone"
    assert "leo-01: 9 new" in dry


def test_the_task_finds_the_footprints_of_siaf_draws_them_and_keeps_the_token(tmp_path, rows, run_in, monkeypatch):
    stars = Table({"ra": np.full(30, SEX[0]), "dec": np.full(30, SEX[1]), "phot_g_mean_mag": np.linspace(12, 17, 30)})
    stars.write(tmp_path / "gaia.ecsv")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("fields: [leo-01]\n")
    monkeypatch.setenv("MAST_API_TOKEN", SECRET)
    with serving(Mast(rows)) as mast:
        options = ("--server", mast.url, "--figures", "figures", "--stars", "gaia.ecsv", "--since", "2024-01-01")
        done = run_in("acquire", "python", "-m", "pureparallel.acquire", *options, cwd=tmp_path)
        run(mast, tmp_path / "mine")
    fields = tmp_path / "config" / "fields"
    one, two = (plan.footprints_of(manifests(folder)["leo-01"]) for folder in (fields, tmp_path / "mine"))
    assert np.abs(one - two).max() * 3600 < 0.02
    record = {row["field"]: row for row in Table.read(fields / "fields.ecsv")}
    assert {name: (row["advice"], int(row["bright_stars"])) for name, row in record.items()} == {
        "leo-01": ("extragalactic", 0), "sex-01": ("stellar", 30), "psc-01": ("extragalactic", 0),
        "umi-01": ("extragalactic", 0),
    }  # fmt: skip
    assert 9 < record["leo-01"]["area"] < 12
    assert "type: stellar" in (fields / "sex-01.yaml").read_text()
    figures = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert figures == sorted([*(f"{name}_exposures.png" for name in record), "sky.png"])
    assert SECRET not in done.stdout + done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert not [headers for _, headers in mast.asked if SECRET in str(headers)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--since", "yesterday"), "--since: 'yesterday' is not a date"),
        (("--kinds", "pure"), "--kinds: pure: not among prime"),
        (("--stars", "no.ecsv"), "no.ecsv: not a table"),
        (("--page", "1"), "--page must be 2 or more"),
        (("--server", "http://mast.stsci.edu"), "only https is trusted"),
    ],
)
def test_mistakes_are_told_in_words(arguments, expected, tmp_path, capsys):
    assert cli.main(["discover", "--fields", str(tmp_path), "--server", "http://127.0.0.1:9", *arguments]) == 1
    assert expected in capsys.readouterr().err
