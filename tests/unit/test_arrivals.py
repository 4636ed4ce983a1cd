"""Which fields have changed, and what is made first for them."""

import pytest
from pureparallel import arrivals

HEAD = "exposure\tmode\tfilter\tgrism\treadpatt\tngroups\tstart\n"


def row(number, filter):
    return f"jw0999900100{number}_02101_00001_nis\tniriss_image\t{filter}\t\tNIS\t6\t2024-07-01T06:00:00\n"


@pytest.fixture
def folder(tmp_path):
    """A working folder with two fields, of which one has been aligned."""
    fields = tmp_path / "config" / "fields"
    fields.mkdir(parents=True)
    (tmp_path / "config" / "config.yaml").write_text("fields: [one, two]\npathvars: {results: out}\n")
    for name in ("one", "two"):
        (fields / f"{name}.yaml").write_text("source: simulate\n")
        (fields / f"{name}.tsv").write_text(HEAD + row(1, "F200W"))
    (tmp_path / "out" / "one").mkdir(parents=True)
    for name in ("align.fits", "references.json", "references-2.json"):
        (tmp_path / "out" / "one" / f"one_{name}").touch()
    return tmp_path


def changed(folder):
    content, fields = arrivals.survey(folder, [])
    now, before = arrivals.digests(content, fields), arrivals.read(folder)
    found = [name for name in now if now[name] != before.get(name)]
    return found, list(arrivals.passes(folder, content, fields, found)), now


def test_fields_that_were_aligned_have_their_references_and_places_made_first(folder):
    (folder / "config" / "fields" / "one.tsv").write_text(HEAD + row(1, "F200W") + row(2, "F115W"))
    names, passes, _ = changed(folder)
    assert names == ["one", "two"]
    assert passes == [
        ["out/one/one_references-2.json", "out/one/one_references.json"],
        ["out/one/one_F115W_placement.json", "out/one/one_F200W_placement.json"],
    ]


@pytest.mark.parametrize("file", ["fields/one.tsv", "fields/one.yaml", "config.yaml"])
def test_only_what_a_person_changed_counts(folder, file):
    arrivals.write(folder, changed(folder)[2])
    assert changed(folder)[:2] == ([], [])
    (folder / "config" / file).touch()
    assert changed(folder)[0] == []
    path = folder / "config" / file
    path.write_text(path.read_text().replace("out", "./out").replace("simulate\n", "simulate \n").replace("06:", "07:"))
    assert changed(folder)[0] == (["one", "two"] if file == "config.yaml" else ["one"])


def test_a_record_that_is_not_whole_is_none(folder):
    arrivals.write(folder, {"one": "x"})
    (folder / arrivals.RECORD).write_text('{"one": ')
    assert arrivals.read(folder) == {}
