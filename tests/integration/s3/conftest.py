"""An object store for the session, with a bucket that somebody else uses as well."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .server import Swift, why_not
from .survey import BUCKET, THEIRS


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """The store."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    swift = Swift(tmp_path_factory.mktemp("swift"))
    try:
        swift.start()
        swift.make(BUCKET)
        for key, content in THEIRS.items():
            swift.put(BUCKET, key, content)
        yield swift
    finally:
        swift.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with a space in its name."""
    return tmp_path / "a folder"
