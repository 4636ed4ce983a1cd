import pytest
from pureparallel import config, schemas
from pureparallel.acquire import manifest

FOOTPRINT = "POLYGON ICRS 150.000000 2.200000 150.030000 2.200000 150.030000 2.230000 150.000000 2.230000"
NAME = "jw01571003001_02101_00001"


def dataset(**other):
    return {
        "instrume": "NIRISS", "exp_type": "NIS_IMAGE", "filter": "CLEAR", "pupil": "F150W", "readpatt": "NIS",
        "ngroups": 12, "effexptm": 515.3650001, "duration": 520.0, "date_beg": "2024-03-01T04:05:06.789000",
        "expripar": "PARALLEL_PURE", "gdstarid": "S1H8000123", "publicReleaseDate": "2025-03-01T10:00:00", **other,
    }  # fmt: skip


def product(name=NAME, **other):
    file = f"{name}_nis_uncal.fits"
    return {"filename": file, "uri": f"{name}/{file}", "size": 100_800_000, "access": "PUBLIC", **other}


def row(name=NAME, **other):
    made = manifest.row_of(dataset(), product(name), "niriss_image", FOOTPRINT)
    return {**made, **other}


def test_a_row_holds_what_the_archive_says():
    assert row() == {
        "exposure": f"{NAME}_nis", "instrument": "NIRISS", "mode": "niriss_image", "filter": "F150W", "pupil": "F150W",
        "grism": "", "readpatt": "NIS", "ngroups": "12", "exptime": "515.365", "start": "2024-03-01T04:05:06",
        "program": "1571", "visit": "003001", "kind": "pure_parallel", "guide_star": "S1H8000123",
        "footprint": FOOTPRINT, "size": "100800000", "checksum": "", "access": "public", "released": "2025-03-01",
        "uri": f"{NAME}/{NAME}_nis_uncal.fits",
    }  # fmt: skip
    assert manifest.faults(row()) == ""


def test_a_dispersed_exposure_has_its_blocking_filter_and_its_grism():
    made = manifest.row_of(dataset(filter="GR150R"), product(), "niriss_wfss", FOOTPRINT)
    assert (made["filter"], made["pupil"], made["grism"]) == ("F150W", "F150W", "GR150R")
    assert manifest.faults(made) == ""


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"date_beg": None, "date_obs": "2024-03-01 04:05:06"}, "2024-03-01T04:05:06"),
        ({"date_beg": "2024-03-01", "date_obs": "", "expstart": 60370.170208333}, "2024-03-01T04:05:06"),
        ({"date_beg": None, "expstart": None}, ""),
    ],
)
def test_the_start_is_taken_from_what_there_is(other, expected):
    assert manifest.start_of(dataset(**other)) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [("A" * 32, "md5:" + "a" * 32), ("sha256:" + "0" * 64, "sha256:" + "0" * 64), ("b" * 40, "sha1:" + "b" * 40),
     ("xyz", ""), (None, ""), ("g" * 32, "")],
)  # fmt: skip
def test_a_checksum_is_known_by_its_length(given, expected):
    assert manifest.row_of(dataset(), product(checksum=given), "niriss_image", "")["checksum"] == expected


@pytest.mark.parametrize(
    ("data", "file", "expected"),
    [
        ({"pupil": "CLEARP", "filter": "F277W"}, {}, "filter 'F277W'"),
        ({"readpatt": None}, {}, "no readpatt"),
        ({"date_beg": None}, {}, "no start"),
        ({}, {"uri": ""}, "no uri"),
        ({}, {"uri": "../../etc/$(id)"}, "uri '../../etc/$(id)' not as"),
        ({"gdstarid": "S1; rm -rf"}, {}, "guide_star 'S1; RM -RF' not as"),
        ({}, {"filename": "evil_uncal.fits"}, "exposure 'evil' not as"),
    ],
)
def test_what_does_not_fit_into_a_manifest_says_why(data, file, expected):
    assert expected in manifest.faults(manifest.row_of(dataset(**data), product(**file), "niriss_image", FOOTPRINT))


def test_anything_but_public_is_exclusive():
    for access in ("EXCLUSIVE_ACCESS", "RESTRICTED", None):
        assert manifest.row_of(dataset(), product(access=access), "niriss_image", "")["access"] == "exclusive"


def test_update_tells_new_changed_and_gone_and_changes_that_alone():
    names = [f"jw01571003001_02101_{i:05d}" for i in range(1, 5)]
    old = [row(names[0], location="mine/x_uncal.fits"), row(names[1]), row(names[2])]
    now = [row(names[3], start="2024-02-01T00:00:00"), row(names[0], access="exclusive")]
    rows, changes = manifest.update(old, now, [f"{names[2]}_nis"])
    assert [one["exposure"] for one in rows] == [f"{names[i]}_nis" for i in (3, 0, 1)]
    assert changes == manifest.Changes((f"{names[3]}_nis",), {f"{names[0]}_nis": ("access",)}, (f"{names[2]}_nis",))
    assert rows[1]["location"] == "mine/x_uncal.fits"
    assert rows[1]["access"] == "exclusive"
    assert [one.get("batch", "") for one in rows] == ["2", "", ""]
    third, _ = manifest.update(rows, [row("jw01571003001_02101_00009")], [])
    assert [one.get("batch", "") for one in third if one not in rows] == ["3"]
    again, none = manifest.update(rows, rows, [])
    assert again == rows
    assert not none


def test_a_manifest_is_read_as_it_was_written_and_written_once(tmp_path):
    path = tmp_path / "leo-01.tsv"
    rows = [row(), row("jw01571003001_02101_00002", checksum="md5:" + "0" * 32)]
    manifest.write(path, rows)
    assert [{key: one[key] for key in manifest.COLUMNS} for one in config.read_manifest(path)] == rows
    before = path.stat().st_mtime_ns, path.stat().st_ino
    manifest.write(path, rows)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    header = path.read_text().splitlines()[0].split("\t")
    assert "checksum" in header
    assert "slitlet" not in header


def test_every_column_is_in_the_schema():
    assert set(manifest.COLUMNS) <= set(schemas.schema("manifest")["properties"])
