"""A SLURM for the session, and a small field reduced without it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from . import field
from .cluster import Cluster, why_not


@pytest.fixture(autouse=True)
def no_driver_is_left() -> Iterator[None]:
    """A test that fails leaves nobody at work."""
    yield
    field.end_all()


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes of two processors, and two partitions."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def reduced(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the field, reduced on this machine."""
    return field.local(tmp_path_factory.mktemp("reduced") / "a folder")
