import json
import socket
from pathlib import Path

from pureparallel import ROOT, provenance
from pureparallel.provenance import Lineage


def test_the_record_is_free_of_hosts_and_absolute_paths(tmp_path):
    file = tmp_path / "in.txt"
    file.write_text("content")
    text = json.dumps(Lineage.of("a_step", [file]).to_dict(product="x", digest="y"))
    assert socket.gethostname() not in text
    assert str(tmp_path) not in text
    assert str(Path.home()) not in text
    assert str(ROOT) not in text


def test_the_command_shows_paths_relative(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shown = provenance.command_line(
        [str(ROOT / "resources" / "lines.ecsv"), str(tmp_path / "a"), "/else/where/b", "--c"]
    )
    assert shown == "pureparallel resources/lines.ecsv a b --c"


def test_options_change_the_digest_and_their_order_does_not():
    assert provenance.digest({"a": 1, "b": 2}) == provenance.digest({"b": 2, "a": 1})
    assert provenance.digest({"a": 1}) != provenance.digest({"a": 2})
