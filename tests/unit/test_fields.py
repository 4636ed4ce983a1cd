"""Fields of a survey: all are read and checked at its start, and only what is asked for where that was done before."""

import pytest
from pureparallel import UserError, config, products

HEAD = "exposure\tmode\tfilter\treadpatt\tngroups\tstart\n"
ROW = "jw09991001001_02101_00001_nis\tniriss_image\tF200W\tNIS\t6\t2024-07-01T06:00:00\n"


@pytest.fixture
def folder(tmp_path):
    """One field, of two that the survey has."""
    (tmp_path / "one.yaml").write_text("source: simulate\n")
    (tmp_path / "one.tsv").write_text(HEAD + ROW)
    return tmp_path


def test_a_survey_is_read_whole(folder):
    with pytest.raises(UserError, match="nobody defined 'two'"):
        config.load({"fields": ["one", "two"]}, folder)


def test_a_trusted_one_is_read_field_by_field(folder):
    fields = config.load({"fields": ["one", "two"]}, folder, trusted=True)
    assert list(fields) == ["one", "two"] and len(fields) == 2 and "two" in fields
    assert fields["one"] is fields["one"]
    assert fields["one"].option("detector1.chunk") == config.load({"fields": ["one"]}, folder)["one"].option(
        "detector1.chunk"
    )
    with pytest.raises(UserError, match="nobody defined 'two'"):
        fields["two"]
    with pytest.raises(KeyError):
        fields["three"]
    assert "three" not in fields


def test_its_rows_are_the_same_and_were_checked_before(folder):
    assert (
        config.load({"fields": ["one"]}, folder, trusted=True)["one"].manifest
        == config.load({"fields": ["one"]}, folder)["one"].manifest
    )
    (folder / "one.tsv").write_text(HEAD + ROW.replace("F200W", "F999W"))
    assert config.load({"fields": ["one"]}, folder, trusted=True)["one"].filters == ["F999W"]
    with pytest.raises(UserError, match="F999W"):
        config.load({"fields": ["one"]}, folder)


def test_neighbours_read_no_field_before_they_are_asked_for(folder):
    fields = config.load({"fields": ["one", "two"]}, folder, trusted=True)
    of = products.neighbours(fields)
    with pytest.raises(UserError, match="nobody defined 'two'"):
        of(fields["one"], type("Job", (), {"chunk": "F200W-image-0001"}))
