import re

import pytest
from pureparallel import UserError, names


@pytest.mark.parametrize("name", ["ceers-msa", "uma-03", "a", "0900p12"])
def test_field_names_pass(name):
    assert names.check("field", name, where="config.yaml") == name


@pytest.mark.parametrize("name", ["", "../etc", "a b", "a;rm -rf", "A", "a_b", "-a", "a\n", "$(id)", "a/b"])
def test_field_names_that_could_harm_are_refused(name):
    with pytest.raises(UserError, match=r"config\.yaml: .*field"):
        names.check("field", name, where="config.yaml")


@pytest.mark.parametrize(
    "name",
    ["jw01345062001_03101_00001_nrs2", "jw01571001001_02101_00001_nis", "jw02514001001_02201_00001-seg002_nrcalong"],
)
def test_exposure_names_of_mast_pass(name):
    assert names.check("exposure", name, where="x.tsv") == name


@pytest.mark.parametrize("name", ["jw0134506200_03101_00001_nrs2", "jw01345062001_03101_00001_nrs2_rate", "hst"])
def test_other_exposure_names_are_refused(name):
    with pytest.raises(UserError):
        names.check("exposure", name, where="x.tsv")


def test_slitlet_file_round_trip(tmp_path):
    row = {"exposure": "jw01345062001_03101_00001_nrs2", "slitlet": "138", "source": "1345_933"}
    file = names.slitlet_file(row)
    assert names.parse_slitlet(tmp_path / file) == tuple(row.values())
    assert re.fullmatch(names.WILDCARDS["slitlet"], file.removesuffix(".fits"))


def test_parse_slitlet_refuses_other_names(tmp_path):
    with pytest.raises(UserError, match="slitlet"):
        names.parse_slitlet(tmp_path / "spectrum.fits")


def test_chunks_keep_order_and_grow_only_at_the_end():
    five, six = names.chunks(list("abcde"), 2), names.chunks(list("abcdef"), 2)
    assert five == {"0001": ["a", "b"], "0002": ["c", "d"], "0003": ["e"]}
    assert {key: six[key] for key in ("0001", "0002")} == {key: five[key] for key in ("0001", "0002")}


def test_product_names_cannot_be_confused_between_fields():
    # a field's name has no underscore, so <field>_<source> splits in one way only
    field, source = names.spectrum_file("a-b", "1_2").removesuffix("_spec.fits").split("_", 1)
    assert (field, source) == ("a-b", "1_2")
