import pytest
from pureparallel import sizes


@pytest.fixture
def inputs(tmp_path):
    """A folder with 3 MB, a file of 1 MB, and one that is not there."""
    (tmp_path / "chunk" / "deeper").mkdir(parents=True)
    (tmp_path / "chunk" / "deeper" / "a").write_bytes(bytes(3 * 2**20))
    (tmp_path / "b").write_bytes(bytes(2**20))
    return {"rates": str(tmp_path / "chunk"), "others": [str(tmp_path / "b")], "code": str(tmp_path / "none")}


@pytest.mark.parametrize(("by", "size"), [(sum, 4), (max, 3)])
def test_what_is_asked_for_grows_with_the_files_in_folders_and_with_the_attempt(inputs, by, size):
    ask = sizes.growing(100, 10, of="rates others", by=by)
    assert [ask(None, inputs, attempt) for attempt in (1, 2)] == [100 + 10 * size, 2 * (100 + 10 * size)]


def test_a_constant_looks_at_no_file(inputs):
    assert sizes.growing(100)(None, inputs, 3) == 300


def test_what_is_not_there_yet_is_asked_for_again(inputs):
    with pytest.raises(FileNotFoundError):
        sizes.growing(100, 10, of="code")(None, inputs, 1)


def test_simulated_exposures_by_the_part_of_the_detector():
    ask = sizes.by_frame(100, 50, lambda wildcards: [1, 1, 2000, int(wildcards["rows"])])
    assert ask({"rows": "1000"}, 2) == 2 * (100 + 50 * 2)
