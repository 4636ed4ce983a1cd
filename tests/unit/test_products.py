"""What jobs work on, by their fields."""

from types import SimpleNamespace

import pytest
from pureparallel import UserError, config, products

HEAD = "exposure\tmode\tfilter\treadpatt\tngroups\tstart\n"


def row(exposure, start):
    return f"{exposure}\tniriss_image\tF200W\tNIS\t6\t{start}\n"


@pytest.fixture
def fields(tmp_path):
    """Two fields on one detector: the second began an hour after the first, and once more a day later."""
    starts = {
        "one": ["2024-07-01T06:00:00", "2024-07-01T06:10:00", "2024-07-01T06:20:00"],
        "two": ["2024-07-01T07:20:00", "2024-07-02T12:00:00"],
    }
    for number, (name, times) in enumerate(starts.items()):
        (tmp_path / f"{name}.yaml").write_text("source: simulate\ndetector1: {chunk: 1}\npersistence: {window: 3600}\n")
        lines = [row(f"jw0999{number}001001_02101_{i:05d}_nis", start) for i, start in enumerate(times, start=1)]
        (tmp_path / f"{name}.tsv").write_text(HEAD + "".join(lines))
    return config.load({"fields": ["one", "two"]}, tmp_path)


def chunk(number):
    return SimpleNamespace(chunk=f"{number:04d}")


def test_what_may_persist_is_found_in_any_field_and_only_in_the_past(fields):
    of = products.neighbours(fields)
    assert of(fields["one"], chunk(1)) == ["<results>/one/detector1/0001"]
    assert of(fields["one"], chunk(3)) == [f"<results>/one/detector1/{n:04d}" for n in (1, 2, 3)]
    assert of(fields["two"], chunk(1)) == [
        *(f"<results>/one/detector1/{n:04d}" for n in (1, 2, 3)), "<results>/two/detector1/0001"
    ]  # fmt: skip
    assert of(fields["two"], chunk(2)) == ["<results>/two/detector1/0002"]


def test_a_chunk_that_is_not_there(fields):
    with pytest.raises(UserError, match="field one has no chunk 0004; its manifest gives it 3"):
        products.uncals(fields["one"], chunk(4))


def test_raw_exposures_are_made_or_the_users_own(tmp_path, fields):
    assert products.uncals(fields["one"], chunk(1)) == ["<results>/one/uncal/jw09990001001_02101_00001_nis_uncal.fits"]
    (tmp_path / "own.yaml").write_text("crds: {context: jwst_1413.pmap, cache: my/cache}\n")
    line = row("jw09990001001_02101_00001_nis", "2024-07-01T06:00:00").rstrip("\n")
    head = HEAD.rstrip("\n") + "\tlocation\n"
    (tmp_path / "own.tsv").write_text(head + line + "\tdata/jw09990001001_02101_00001_nis_uncal.fits\n")
    own = config.load({"fields": ["own"]}, tmp_path)["own"]
    assert products.uncals(own, chunk(1)) == ["data/jw09990001001_02101_00001_nis_uncal.fits"]
    assert products.references(own, None) == "my/cache"
    assert products.truths(own, None) == []
