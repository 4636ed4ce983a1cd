import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from pureparallel import UserError
from pureparallel.acquire import naming
from pureparallel.acquire.naming import Group, Named

LEO, SEX, ORI = (165.0, 15.0), (150.1, 2.2), (83.8, -5.4)


def group(*exposures, where=LEO, start="2024-01-01T00:00:00"):
    return Group(exposures, *where, start)


def assign(groups, fields=(), owner=None, today="2026-01-01"):
    return naming.assign(groups, list(fields), owner or {}, today)


@pytest.mark.parametrize(
    ("where", "expected"),
    [(LEO, "leo"), (SEX, "sex"), (ORI, "ori"), ((0, 90), "umi"), ((0, -90), "oct"), ((359.999, -0.2), "psc"),
     ((189.2, 62.2), "uma"), ((53.1, -27.8), "for"), ((270, 66.6), "dra")],
)  # fmt: skip
def test_constellations_are_those_of_known_places(where, expected):
    assert naming.constellations([where]) == [expected]


def test_new_fields_are_numbered_by_their_first_exposure():
    late = group("b", start="2024-05-01T00:00:00")
    given_names, record, mergers = assign([late, group("a"), group("c", where=SEX)])
    assert given_names == ["leo-02", "leo-01", "sex-01"]
    assert [one.name for one in record] == ["leo-01", "sex-01", "leo-02"]
    assert {one.named for one in record} == {"2026-01-01"}
    assert not mergers


def test_an_old_field_keeps_its_name_and_place_whatever_joins_it():
    old = Named("leo-07", *LEO, "2025-01-01")
    grown = group("a", "new", where=ORI, start="2020-01-01T00:00:00")
    names, record, _ = assign([grown], [old], {"a": "leo-07"})
    assert names == ["leo-07"]
    assert record == [old]


def test_the_older_of_two_bridged_fields_wins_and_the_merger_is_recorded():
    fields = [Named("leo-02", *LEO, "2025-01-01"), Named("leo-01", *LEO, "2025-02-01", ("leo-09",))]
    bridge = group("a", "b", "bridge")
    names, record, mergers = assign([bridge], fields, {"a": "leo-01", "b": "leo-02"})
    assert names == ["leo-02"]
    assert mergers == [naming.Merger("leo-02", ("leo-01",))]
    assert [(one.name, one.aliases) for one in record] == [("leo-02", ("leo-01", "leo-09"))]


def test_no_name_is_given_twice_not_even_one_that_has_ended():
    fields = [Named("leo-02", *LEO, "2025-01-01", ("leo-05",))]
    assert assign([group("x")], fields)[0] == ["leo-06"]


def test_a_field_without_exposures_now_keeps_its_record():
    fields = [Named("leo-01", *LEO, "2025-01-01")]
    assert assign([group("x", where=SEX)], fields)[1][0] == fields[0]


@settings(max_examples=80, deadline=None, database=None, derandomize=True)
@given(order=st.permutations(range(6)), split=st.integers(0, 6))
def test_names_do_not_depend_on_the_order_of_the_groups(order, split):
    groups = [group(f"e{i}", where=(LEO, SEX)[i % 2], start=f"2024-01-{1 + i // 3:02d}T00:00:00") for i in range(6)]
    fields = [Named("leo-01", *LEO, "2025-01-01"), Named("sex-01", *SEX, "2025-01-01")]
    owner = {f"e{i}": fields[i % 2].name for i in range(split)}
    expected, record, _ = assign(groups, fields, owner)
    names, again, _ = assign([groups[i] for i in order], fields, owner)
    assert [names[order.index(i)] for i in range(6)] == expected
    assert again == record


def test_the_record_is_read_as_it_was_written_also_by_astropy(tmp_path):
    facts = {"exposures": 12, "area": 5.125, "ecliptic_latitude": -3.5, "galactic_latitude": 60.0, "background": 0.25,
             "bright_stars": -1, "advice": "extragalactic"}  # fmt: skip
    fields = [
        Named("leo-02", 165.1, -15.25, "2025-01-01", ("leo-01", "sex-03"), facts),
        Named("oct-01", 0, -90, "2026-01-01"),
    ]
    naming.write(tmp_path, fields)
    assert naming.read(tmp_path) == fields
    table = Table.read(tmp_path / "fields.ecsv")
    assert table["field"].tolist() == ["leo-02", "oct-01"]
    assert str(table["ra"].unit) == "deg"
    assert table["aliases"][0] == "leo-01 sex-03"
    assert table["background"][0] == 0.25


def test_no_record_is_an_empty_one(tmp_path):
    assert naming.read(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("leo-02", "../x"), "not a legal field name"),
        (("165.00000", "east"), r"field leo-02: not as it was written"),
        (("leo-01", "leo-02"), "leo-02 stands there twice"),
    ],
)
def test_a_damaged_record_is_refused(tmp_path, change, expected):
    naming.write(tmp_path, [Named("leo-02", *LEO, "2025-01-01", ("leo-01",))])
    path = tmp_path / naming.REGISTRY
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(UserError, match=expected):
        naming.read(tmp_path)
