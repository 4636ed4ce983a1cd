"""What a survey will cost, from its manifests alone."""

import csv
import re

import pytest
from pureparallel import config, projection
from pureparallel.projection import Cost, Load

HEAD = "exposure\tmode\tfilter\tgrism\treadpatt\tngroups\tstart\tsize\tfootprint\n"
SQUARE = "POLYGON ICRS 150.000000 2.000000 150.037000 2.000000 150.037000 2.037000 150.000000 2.037000"


def rows(number, groups=6):
    """A direct exposure and a dispersed one, so many times."""
    for i in range(1, 2 * number + 1):
        grism = "" if i % 2 else "GR150R"
        mode = "niriss_wfss" if grism else "niriss_image"
        begin = f"2024-07-01T{i // 60:02d}:{i % 60:02d}:00"
        yield f"jw01234001001_02101_{i:05d}_nis\t{mode}\tF200W\t{grism}\tNIS\t{groups}\t{begin}\t1000\t{SQUARE}\n"


@pytest.fixture
def field(tmp_path):
    """A field from given manifest rows and options."""

    def make(number=2, groups=6, options="source: mast\ncrds: {context: jwst_1413.pmap}\n"):
        (tmp_path / "one.yaml").write_text(options)
        (tmp_path / "one.tsv").write_text(HEAD + "".join(rows(number, groups)))
        return config.load({"fields": ["one"]}, tmp_path)["one"]

    return make


def test_every_rule_has_a_model_and_a_stage(root):
    text = "".join(path.read_text() for path in (root / "workflow" / "rules").glob("*.smk"))
    rules = set(re.findall(r"^rule (\w+):", text, re.M))
    assert set(projection.rates()) == rules
    assert sorted(rule for stage in projection.STAGES.values() for rule in stage) == sorted(rules)


def test_the_models_are_a_table_that_says_where_they_come_from(root):
    from astropy.table import Table

    table = Table.read(root / "resources" / "costs.ecsv")
    assert set(table["measured"]) <= {"both", "512", "2048", "no"}
    assert "512 x 512" in table.meta["source"]
    assert table["memory_pixel"].unit == "MB"
    assert all((table[name] >= 0).all() for name in table.colnames if name not in ("rule", "measured"))


def test_a_job_costs_its_start_and_what_it_works_on():
    rate = projection.rates()["detector1"]
    start, twice = projection.cost("detector1", Load(0)), projection.cost("detector1", Load(2, 8.0, 96.0, 0, (4, 48)))
    assert start.cpu == rate["cpu"] and start.memory == rate["memory"] and start.disk == 0
    assert twice.cpu == pytest.approx(rate["cpu"] + 2 * rate["cpu_item"] + 96 * rate["cpu_sample"])
    assert twice.memory == pytest.approx(rate["memory"] + 4 * rate["memory_pixel"] + 48 * rate["memory_sample"])
    assert twice.longest == twice.cpu


def test_products_of_a_job_are_counted_once_and_those_of_its_items_each():
    rate = projection.rates()["stack"]
    assert rate["disk"] > 0
    one, many = (projection.cost("stack", Load(number)).disk for number in (0, 10))
    assert (one, many) == pytest.approx((rate["disk"], rate["disk"] + 10 * rate["disk_item"]))


def test_sources_are_stacked_in_every_dispersed_exposure_and_fitted_once(field):
    base = "source: mast\ncrds: {context: jwst_1413.pmap}\nstack: {density: 60, chunk: "
    for chunk in (10, 1000):
        jobs = list(projection.loads(field(number=3, options=f"{base}{chunk}}}\n")))
        stacked, fitted = ([load.items for name, load in jobs if name == rule] for rule in ("stack", "fit_redshift"))
        assert sum(fitted) == pytest.approx(60 * max(load.area for _, load in jobs))
        assert stacked == pytest.approx([3 * items for items in fitted])
        assert max(fitted) <= chunk


def test_loads_are_those_of_the_manifest(field):
    found = dict(projection.loads(field(number=3, groups=7)))
    assert found["detector1"].items == 3
    assert found["detector1"].samples == pytest.approx(3 * 7 * projection.FULL_FRAME)
    assert found["download"].items == 1
    # corners are 133 arcsec apart; margins, and steps of 10 arcsec, are added
    assert 140**2 <= 3600 * found["detect"].area <= 170**2


def test_chunks_change_the_number_of_jobs_and_little_of_the_work(field):
    one = projection.of_field(
        field(8, options="source: mast\ncrds: {context: jwst_1413.pmap}\ndetector1: {chunk: 1}\n")
    )
    many = projection.of_field(
        field(8, options="source: mast\ncrds: {context: jwst_1413.pmap}\ndetector1: {chunk: 8}\n")
    )
    assert (one["detector1"].jobs, many["detector1"].jobs) == (16, 2)
    assert one["detector1"].cpu - many["detector1"].cpu == pytest.approx(14 * projection.rates()["detector1"]["cpu"])
    assert one["detector1"].disk == pytest.approx(many["detector1"].disk)


def test_a_field_without_spectra_or_images_has_no_such_jobs(tmp_path):
    (tmp_path / "one.yaml").write_text("source: mast\ncrds: {context: jwst_1413.pmap}\n")
    (tmp_path / "one.tsv").write_text(HEAD + next(rows(1)))
    found = projection.of_field(config.load({"fields": ["one"]}, tmp_path)["one"])
    assert not {"spec2", "stack", "fit_redshift", "grism_wcs", "msa_extract"} & set(found)
    assert found["mosaic"].jobs == 1


def test_costs_add_up_and_peaks_do_not():
    both = Cost(1, 10, 300, 5, 10) + Cost(2, 4, 800, 1, 3)
    assert both == Cost(3, 14, 800, 6, 10)
    assert projection.total([]) == Cost()


def test_wall_time_lies_between_the_bounds_of_any_schedule():
    fields = {"a": {"x": Cost(4, 40, longest=10), "y": Cost(1, 20, longest=20)}, "b": {"x": Cost(1, 5, longest=5)}}
    assert projection.wall(fields, 1) == (65, 65)
    least, most = projection.wall(fields, 4)
    assert least == 30  # the chain of a
    assert most == pytest.approx(65 / 4 + 30 * 3 / 4)


def test_dropped_products_take_space_only_for_fields_under_way():
    fields = {name: {"image2": Cost(1, 1, 1, disk), "detector1": Cost(1, 1, 1, 10)} for name, disk in
              (("a", 100), ("b", 50), ("c", 7))}  # fmt: skip
    assert projection.high_water(fields, [], 2) == (187, 187)
    assert projection.high_water(fields, ["image2"], 2) == (30, 180)


def test_the_task_prints_stages_fields_and_time(field, tmp_path, capsys, monkeypatch):
    field(4)
    home = tmp_path / "config" / "fields"
    home.mkdir(parents=True)
    for name in ("one.yaml", "one.tsv"):
        (tmp_path / name).rename(home / name)
    (tmp_path / "config" / "config.yaml").write_text("fields: [one]\n")
    projection.main(["--directory", str(tmp_path), "--cores", "3"])
    text = capsys.readouterr().out
    assert re.search(r"^exposures +\d+ +\d+\.\d\d +\d+\.\d +\d+\.\d$", text, re.M)
    assert re.search(r"^one +\d+", text, re.M)
    assert "on 3 cores: " in text
    assert "not measured" in text


def test_a_mistake_in_the_configuration_is_told_in_a_line(tmp_path):
    (tmp_path / "config" / "fields").mkdir(parents=True)
    (tmp_path / "config" / "config.yaml").write_text("fields: [nowhere]\n")
    with pytest.raises(SystemExit, match="nobody defined 'nowhere'"):
        projection.main(["--directory", str(tmp_path)])


def test_the_table_is_written_as_numbers_apart_by_blanks(root):
    lines = [line for line in (root / "resources" / "costs.ecsv").read_text().splitlines() if not line.startswith("#")]
    assert len({len(row) for row in csv.reader(lines, delimiter=" ")}) == 1
