"""The archive's list is whole or an error, whatever the archive does meanwhile."""

import random
import sys
from pathlib import Path

import pytest
from pureparallel import UserError
from pureparallel.acquire import collect
from pureparallel.acquire.mast import KEY

sys.path.insert(0, str(Path(__file__).parent))
from discover_scene import LEO, SCOPE, connect, found_in, outline, run, sky
from mast_server import COLUMNS, Mast, serving, visit

LASTING = ("503", "html", "stall", "truncated", "short", "modest", "once more")
PASSING = (*LASTING, "500", "429", "repeat", "unsorted", "nested")


@pytest.fixture
def rows():
    """What the archive has."""
    return sky()


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_changes_nothing(rows, fault):
    expected = sorted(row[KEY] for row in rows)
    with serving(Mast(rows, plan=lambda _, n: fault if n in (0, 1, 3) else "", patience=1.5)) as mast:
        found = found_in(mast, timeout=0.3)
    assert sorted(row["exposure"].removesuffix("_nis") for row in found.rows) == expected


@pytest.mark.parametrize("fault", LASTING)
def test_a_lasting_fault_is_an_error_and_never_a_shorter_list(rows, fault, tmp_path):
    with serving(Mast(rows)) as mast:
        run(mast, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    expected = pytest.raises(UserError, match=r"127\.0\.0\.1.*(no answer in 3 attempts|never gave a whole list)")
    lasting = Mast(rows, plan=lambda what, _: fault if what == "search" else "", patience=1.0)
    with serving(lasting) as mast, expected:
        collect.collect(connect(mast, attempts=3, timeout=0.2), SCOPE, outline)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("repeated", "is_right"), [(False, True), (True, False)])
def test_an_archive_with_an_order_of_its_own_is_read_where_nothing_repeats(rows, repeated, is_right):
    held = Mast(rows + rows[:5] if repeated else rows, plan=lambda what, _: "unsorted" if what == "search" else "")
    with serving(held) as mast:
        if is_right:
            assert {row["exposure"] for row in found_in(mast).rows} == {f"{row[KEY]}_nis" for row in rows}
        else:
            with pytest.raises(UserError, match="not in order"):
                collect.collect(connect(mast, attempts=2), SCOPE, outline)


@pytest.mark.parametrize("page", [2, 3, 7, 30, 5000])
@pytest.mark.parametrize("cap", [5, 10**9])
def test_any_page_size_and_any_cap_of_the_archive_give_the_whole_list(rows, page, cap):
    with serving(Mast(rows, cap=cap)) as mast:
        assert len(connect(mast, page=page).datasets(instrume="NIRISS")) == len(rows)


@pytest.mark.parametrize("seed", range(8))
def test_pages_that_shift_while_they_are_read_give_the_list_of_one_moment(rows, seed):
    rng = random.Random(seed)
    spare = [row for i in range(30, 36) for row in visit(1571, i, *LEO)]
    mast = Mast(list(rows))
    moments = [{row[KEY] for row in mast.rows}]

    def shift(what, n):
        if what == "search" and n < 12:  # then it comes to rest
            mast.rows.remove(rng.choice(mast.rows))
            mast.rows.append(spare.pop(rng.randrange(len(spare))))  # as many as before
            moments.append({row[KEY] for row in mast.rows})
        return ""

    mast.plan = shift
    with serving(mast):
        got = {row[KEY] for row in connect(mast, attempts=20).datasets(instrume="NIRISS")}
    assert got in moments


def test_rows_that_are_listed_twice_count_once(rows):
    twice = [*rows, dict(rows[0]), {**rows[1], "duration": 1.0}]
    with serving(Mast(twice)) as mast:
        found = found_in(mast)
    assert len(found.rows) == len(rows)


def test_raw_files_that_come_late_are_asked_for_again(rows):
    with serving(Mast(rows, delays=2)) as mast:
        assert len(found_in(mast).rows) == len(rows)
        assert sum(what == "products" for what, _ in mast.asked) == 3


def test_a_column_that_the_archive_refuses_is_done_without(rows):
    with serving(Mast(rows, refused=("effexptm",))) as mast:
        found = found_in(mast)
    assert {row["exptime"] for row in found.rows} == {"515.365"}


def test_an_archive_that_changed_its_columns_is_refused(rows):
    less = Mast(rows, columns=tuple(name for name in COLUMNS if name != "pupil"))
    with serving(less) as mast, pytest.raises(UserError, match="no longer offers pupil"):
        found_in(mast)


def test_categories_that_the_archive_does_not_tell_cannot_be_left_out(rows):
    less = Mast(rows, columns=tuple(name for name in COLUMNS if name != "category"))
    with serving(less) as mast, pytest.raises(UserError, match="does not tell a programme's category"):
        found_in(mast)


def test_a_refusal_is_not_repeated(rows):
    with serving(Mast(rows, plan=lambda what, _: "403" if what == "columns" else "")) as mast:
        with pytest.raises(UserError, match="status 403"):
            found_in(mast)
        assert len(mast.asked) == 1
