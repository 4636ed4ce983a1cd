"""The environment that the pipeline runs in."""

import json
import logging
import os

import pytest
from pureparallel import UserError, calibration
from pureparallel.acquire.references import fingerprint

CONTEXT = "jwst_0001.pmap"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Root of a cache with a context; the process's environment is put back afterwards."""
    for name in ("config/jwst/server_config", f"mappings/jwst/{CONTEXT}"):
        path = tmp_path / "cache" / name
        path.parent.mkdir(parents=True)
        path.write_text(f"{{'operational_context': '{CONTEXT}'}}\n")
    changed = ("CRDS_PATH", "CRDS_CONTEXT", "CRDS_OBSERVATORY", "CRDS_SERVER_URL", "CRDS_MODE", "CRDS_READONLY_CACHE")
    for name in (*changed, *calibration.THREADS):
        monkeypatch.setenv(name, "before")
    return tmp_path / "cache"


def test_crds_reads_the_cache_and_asks_nobody(cache, monkeypatch):
    monkeypatch.chdir(cache.parent)
    calibration.configure(cache.relative_to(cache.parent), CONTEXT)
    assert os.environ["CRDS_PATH"] == str(cache)
    assert os.environ["CRDS_CONTEXT"] == CONTEXT
    assert "serverless" in os.environ["CRDS_SERVER_URL"]
    assert os.environ["CRDS_READONLY_CACHE"] == "1"


def test_threads_that_the_rule_chose_stay(cache, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    calibration.configure(cache, CONTEXT)
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("2", "1")


def test_a_folder_that_is_no_cache_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"server_config is missing; is .* the record or the root of a CRDS cache\?"):
        calibration.configure(tmp_path, CONTEXT)


def test_a_context_that_the_cache_lacks_is_refused(cache):
    with pytest.raises(UserError, match=r"jwst_9999\.pmap is missing; choose a context"):
        calibration.configure(cache, "jwst_9999.pmap")


def test_the_context_is_the_caches_own_unless_a_record_says_otherwise(cache, tmp_path):
    assert calibration.configure(cache) == CONTEXT
    files = {"config/jwst/server_config": fingerprint(cache / "config/jwst/server_config")}
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"context": "jwst_0002.pmap", "root": str(cache), "files": files}))
    (cache / "mappings/jwst/jwst_0002.pmap").touch()
    assert calibration.configure(record) == "jwst_0002.pmap"
    os.utime(cache / "config/jwst/server_config", (1, 1))  # touched, and the same
    assert calibration.configure(record) == "jwst_0002.pmap"


@pytest.mark.parametrize("change", ["longer", "gone"])
def test_files_that_are_not_those_of_the_record_are_refused(cache, tmp_path, change):
    pmap = cache / "mappings" / "jwst" / CONTEXT
    files = {f"mappings/jwst/{CONTEXT}": fingerprint(pmap)}
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"context": CONTEXT, "root": str(cache), "files": files}))
    before = files[f"mappings/jwst/{CONTEXT}"]["sha1"]
    if change == "gone":
        pmap.unlink()
    else:
        pmap.write_text("# another\n")
    with pytest.raises(UserError, match=before if change == "longer" else "is missing") as told:
        calibration.configure(record)
    assert str(pmap) in str(told.value)


def test_ready_makes_the_pipelines_loggers_quiet():
    logger = logging.getLogger("stpipe")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(logging.NullHandler())
    calibration.quiet()
    assert logger.level == logging.WARNING
    assert not logger.handlers
    assert logger.propagate
