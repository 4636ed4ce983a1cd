"""What jobs work on, by their fields."""

import json
import math
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
    return SimpleNamespace(chunk=f"F200W-image-{number:04d}")


def folder(field, number):
    return f"<results>/{field}/detector1/F200W-image-{number:04d}"


def test_what_may_persist_is_found_in_any_field_and_only_in_the_past(fields):
    of = products.neighbours(fields)
    assert of(fields["one"], chunk(1)) == [folder("one", 1)]
    assert of(fields["one"], chunk(3)) == [folder("one", n) for n in (1, 2, 3)]
    assert of(fields["two"], chunk(1)) == [*(folder("one", n) for n in (1, 2, 3)), folder("two", 1)]
    assert of(fields["two"], chunk(2)) == [folder("two", 2)]


def test_a_chunk_that_is_not_there(fields):
    with pytest.raises(UserError, match="field one has no chunk F200W-image-0004; its manifest gives it 3"):
        products.uncals(fields["one"], chunk(4))


def test_images_of_a_filter_and_folders_with_lineage(fields):
    job = SimpleNamespace(filter="F200W")
    assert products.images(fields["two"], job) == [
        f"<results>/two/background_image/F200W-image-{n:04d}" for n in (1, 2)
    ]
    assert products.images(fields["two"], SimpleNamespace(filter="F115W")) == []
    assert "<results>/two/image2/F200W-image-0002" in products.folders(fields["two"], None)


def test_mosaics_are_planned_from_footprints_across_the_meridian(tmp_path, fields):
    assert products.plane(fields["one"], None) == "--centre 150.1 2.2 --size 220 220"
    side = 133 / 3600
    corners = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]

    def own(*places, text="source: files\ncrds: {context: jwst_1413.pmap}\n"):
        lines = []
        for i, (ra, dec) in enumerate(places, start=1):
            name = f"jw09990001001_02101_{i:05d}_nis"
            at = [((ra + side * x / math.cos(math.radians(dec))) % 360, dec + side * y) for x, y in corners]
            region = " ".join(["POLYGON ICRS", *(f"{value:.6f}" for corner in at for value in corner)])
            lines.append(row(name, f"2024-07-01T06:{i:02d}:00").rstrip("\n") + f"\tdata/{name}_uncal.fits\t{region}\n")
        (tmp_path / "own.tsv").write_text(HEAD.rstrip("\n") + "\tlocation\tfootprint\n" + "".join(lines))
        (tmp_path / "own.yaml").write_text(text)
        return products.plane(config.load({"fields": ["own"]}, tmp_path)["own"], None)

    assert own((359.998, 60.0)) == "--centre 0.0 60.0 --size 160 150"
    assert own((359.998, 60.0), (0.0, 60.0)) == own((359.998, 60.0), (359.999, 60.0), (0.0, 60.0))
    assert own((10.0, 0.0), text="crds: {context: jwst_1413.pmap}\nmosaic: {centre: [10.01, 0], size: [50, 60]}\n") == (
        "--centre 10.01 0 --size 50 60"
    )


def test_raw_exposures_are_made_or_the_users_own(tmp_path, fields):
    assert products.uncals(fields["one"], chunk(1)) == ["<results>/one/uncal/jw09990001001_02101_00001_nis_uncal.fits"]
    (tmp_path / "own.yaml").write_text("crds: {context: jwst_1413.pmap, cache: my/cache}\n")
    line = row("jw09990001001_02101_00001_nis", "2024-07-01T06:00:00").rstrip("\n")
    head = HEAD.rstrip("\n") + "\tlocation\n"
    (tmp_path / "own.tsv").write_text(head + line + "\tdata/jw09990001001_02101_00001_nis_uncal.fits\n")
    own = config.load({"fields": ["own"]}, tmp_path)["own"]
    assert products.uncals(own, chunk(1)) == ["data/jw09990001001_02101_00001_nis_uncal.fits"]
    assert products.cache(own, None, stored=False) == []
    assert products.cache(own, None, stored=True) == ["<results>/own/references"]
    assert products.cache(fields["one"], None, stored=False) == ["<results>/one/references"]
    assert products.truths(own, None) == []


def test_a_later_batch_has_references_of_its_own_and_leaves_the_first_ones_choice_alone(tmp_path):
    (tmp_path / "own.yaml").write_text("source: mast\ncrds: {context: jwst_1413.pmap}\ndetector1: {chunk: 1}\n")
    head = HEAD.rstrip("\n") + "\tbatch\n"
    first = row("jw09990001001_02101_00001_nis", "2024-07-01T06:00:00").rstrip("\n") + "\t\n"
    later = row("jw09990001002_02101_00001_nis", "2024-07-01T05:00:00").rstrip("\n") + "\t2\n"

    def chosen(manifest, batch):
        (tmp_path / "own.tsv").write_text(head + manifest)
        own = config.load({"fields": ["own"]}, tmp_path)["own"]
        rows = json.loads(products.exposures(own, SimpleNamespace(batch=batch)))
        return own, [one["start"] for one in rows]

    own, alone = chosen(first, "")
    assert products.references(own, SimpleNamespace()) == "<results>/own/own_references.json"
    own, again = chosen(later + first, "")
    assert again == alone == ["2024-07-01T06:00:00"]
    assert chosen(later + first, "-2")[1] == ["2024-07-01T05:00:00", "2024-07-01T06:00:00"]
    record = "<results>/own/own_references{}.json"
    assert products.references(own, SimpleNamespace(chunk="F200W-image-0001")) == record.format("")
    assert products.references(own, SimpleNamespace(chunk="F200W-image-2-0001")) == record.format("-2")
    assert products.references(own, SimpleNamespace()) == record.format("-2")
