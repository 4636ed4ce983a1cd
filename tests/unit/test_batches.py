"""Batches that are killed and go on, and items that fail by themselves."""

import json
import logging

import pytest
from pureparallel import UserError, batches

LOGGER = logging.getLogger("pureparallel.test")


@pytest.fixture
def items(tmp_path):
    """Three items with one input file each."""
    for name in "abc":
        (tmp_path / f"{name}.in").write_text(name)
    return {name: [tmp_path / f"{name}.in"] for name in "abc"}


class Work:
    """Copies its input in capitals; fails for the items that it is told to, and counts its calls."""

    def __init__(self, errors=None):
        self.errors, self.done = errors or {}, []

    def __call__(self, name, inputs, lineage, folder):
        self.done.append(name)
        (folder / f"{name}_out.txt").write_text(inputs[0].read_text().upper())
        (folder / f"{name}_plot.png").write_text("drawn")
        if name in self.errors:
            raise self.errors[name]
        return {"inputs": len(inputs), "first": lineage.inputs[0][0]}


def run(tmp_path, items, work, **options):
    return batches.run(
        tmp_path / "out" / "0001", items, work, step="test", options=options, figures=tmp_path / "out" / "0001_figures",
        logger=LOGGER,
    )  # fmt: skip


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_every_item_has_products_metrics_and_figure_and_nothing_else_stays(tmp_path, items):
    rows = run(tmp_path, items, Work())
    assert rows["b"] == {"name": "b", "reason": "", "inputs": 1, "first": "b.in"}
    assert names(tmp_path / "out") == ["0001", "0001_figures"]
    assert names(tmp_path / "out" / "0001") == sorted(f"{n}{e}" for n in "abc" for e in ("_out.txt", ".metrics.json"))
    assert names(tmp_path / "out" / "0001_figures") == ["a_plot.png", "b_plot.png", "c_plot.png"]
    assert json.loads((tmp_path / "out" / "0001" / "b.metrics.json").read_text()) == rows["b"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UserError("b.in: not what it should be"), "b.in: not what it should be"),
        (FileNotFoundError(2, "No such file", "b.in"), "b.in: No such file"),
        (ZeroDivisionError("nothing"), "ZeroDivisionError: nothing"),
        (MemoryError(), "MemoryError: "),
    ],
)
def test_what_fails_leaves_its_reason_and_its_neighbours_go_on(tmp_path, items, error, reason):
    rows = run(tmp_path, items, Work({"b": error}))
    assert {name: row["reason"] for name, row in rows.items()} == {"a": "", "b": reason, "c": ""}
    assert [name for name in names(tmp_path / "out" / "0001") if name.startswith("b")] == ["b.metrics.json"]
    assert names(tmp_path / "out" / "0001_figures") == ["a_plot.png", "c_plot.png"]


def test_a_missing_input_is_a_reason(tmp_path, items):
    items["b"][0].unlink()
    assert "No such file" in run(tmp_path, items, Work())["b"]["reason"]


@pytest.fixture
def killed(tmp_path, items):
    """A batch that was killed in its third item."""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, items, Work({"c": KeyboardInterrupt()}), sigma=4)
    assert names(tmp_path / "out") == [".0001.part"]
    return tmp_path


def test_a_killed_batch_resumes_with_only_the_unfinished_redone(killed, items):
    work = Work()
    rows = run(killed, items, work, sigma=4)
    assert work.done == ["c"]
    assert [row["first"] for row in rows.values()] == ["a.in", "b.in", "c.in"]
    assert names(killed / "out") == ["0001", "0001_figures"]
    assert len(names(killed / "out" / "0001_figures")) == 3


def test_another_option_or_another_input_is_done_again(killed, items):
    items["a"][0].write_text("changed")
    work = Work()
    run(killed, items, work, sigma=4)
    assert work.done == ["a", "c"]
    assert (killed / "out" / "0001" / "a_out.txt").read_text() == "CHANGED"


def test_another_option_is_all_done_again(killed, items):
    work = Work()
    run(killed, items, work, sigma=5)
    assert work.done == ["a", "b", "c"]


def test_another_code_is_all_done_again(killed, items, monkeypatch):
    monkeypatch.setattr(batches, "code", lambda: "other")
    work = Work()
    run(killed, items, work, sigma=4)
    assert work.done == ["a", "b", "c"]


@pytest.mark.parametrize("harm", ["truncated", "gone"])
def test_a_product_that_is_not_whole_is_made_again(killed, items, harm):
    product = killed / "out" / ".0001.part" / "a_out.txt"
    product.write_text("") if harm == "truncated" else product.unlink()
    work = Work()
    run(killed, items, work, sigma=4)
    assert work.done == ["a", "c"]
    assert (killed / "out" / "0001" / "a_out.txt").read_text() == "A"


def test_items_that_left_the_batch_leave_nothing(killed, items):
    run(killed, {name: items[name] for name in "bc"}, Work(), sigma=4)
    assert names(killed / "out" / "0001") == ["b.metrics.json", "b_out.txt", "c.metrics.json", "c_out.txt"]


def test_what_failed_is_tried_again(tmp_path, items):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, items, Work({"a": MemoryError(), "c": KeyboardInterrupt()}))
    work = Work()
    rows = run(tmp_path, items, work)
    assert work.done == ["a", "c"]
    assert not any(row["reason"] for row in rows.values())


def test_an_older_folder_is_replaced_whole(tmp_path, items):
    run(tmp_path, items, Work())
    run(tmp_path, {"a": items["a"]}, Work())
    assert names(tmp_path / "out" / "0001") == ["a.metrics.json", "a_out.txt"]
    assert names(tmp_path / "out" / "0001_figures") == ["a_plot.png"]
