"""The environment that the pipeline runs in."""

import logging

import pytest
from pureparallel import UserError, calibration

CONTEXT = "jwst_0001.pmap"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Root of a cache with a context; the process's environment is put back afterwards."""
    for name in ("config/jwst/server_config", f"mappings/jwst/{CONTEXT}"):
        path = tmp_path / "cache" / name
        path.parent.mkdir(parents=True)
        path.touch()
    changed = ("CRDS_PATH", "CRDS_CONTEXT", "CRDS_OBSERVATORY", "CRDS_SERVER_URL", "CRDS_MODE", "CRDS_READONLY_CACHE")
    for name in (*changed, *calibration.THREADS):
        monkeypatch.setenv(name, "before")
    return tmp_path / "cache"


def test_crds_reads_the_cache_and_asks_nobody(cache, monkeypatch):
    monkeypatch.chdir(cache.parent)
    calibration.configure(cache.relative_to(cache.parent), CONTEXT)
    import os

    assert os.environ["CRDS_PATH"] == str(cache)
    assert os.environ["CRDS_CONTEXT"] == CONTEXT
    assert "serverless" in os.environ["CRDS_SERVER_URL"]
    assert os.environ["CRDS_READONLY_CACHE"] == "1"


def test_threads_that_the_rule_chose_stay(cache, monkeypatch):
    import os

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    calibration.configure(cache, CONTEXT)
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("2", "1")


def test_a_folder_that_is_no_cache_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"server_config is missing; is this the root of a CRDS cache\?"):
        calibration.configure(tmp_path, CONTEXT)


def test_a_context_that_the_cache_lacks_is_refused(cache):
    with pytest.raises(UserError, match=r"jwst_9999\.pmap is missing; choose a context"):
        calibration.configure(cache, "jwst_9999.pmap")


def test_ready_makes_the_pipelines_loggers_quiet():
    logger = logging.getLogger("stpipe")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(logging.NullHandler())
    calibration.quiet()
    assert logger.level == logging.WARNING
    assert not logger.handlers
    assert logger.propagate
