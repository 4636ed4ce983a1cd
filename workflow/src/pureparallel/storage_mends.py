"""What Snakemake (9.27) and its S3 plugin (0.3.6) get wrong for this workflow, put right in every process of it.

- Snakemake writes the constraints of wildcards into an object's query, and matches with a local path that the plugin
  made before that: no constraint holds, and rules become ambiguous.
- Once the plugin has seen that a folder is not there, it never looks again, and misses what a job on another machine
  has made. A folder that is stored keeps what was in it before.
- It takes a store that does not answer for one that has no such bucket: products seem to be missing.
- It makes a bucket that is not there, and removes one whose last object it removes; a bucket is not ours.
- Snakemake wants the local copy of what an `update` output held before, and has not fetched it.
"""

import errno
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

SCHEME = "s3://"


def apply() -> None:
    """Put it right, once; nothing happens where the plugin is not installed."""
    try:
        from snakemake_storage_plugin_s3 import StorageObject  # type: ignore[import-not-found]
    except ImportError:
        return
    from snakemake.jobs import Job

    if StorageObject.local_suffix is _local_suffix:
        return
    StorageObject.local_suffix = _local_suffix
    StorageObject.is_dir = _is_dir
    StorageObject.bucket_exists = _bucket_exists
    StorageObject.store_object = _store
    StorageObject.remove = _remove
    prepare = Job.prepare

    async def fetch_and_prepare(self: Any) -> None:
        for output in self.output:
            if output.is_flagged("update") and output.is_storage and await output.exists_in_storage():
                await output.retrieve_from_storage()
        await prepare(self)

    Job.prepare = fetch_and_prepare


def sizes(path: Any) -> Iterator[int]:
    """Sizes in bytes of an object, or of all objects in a folder."""
    item = path.storage_object
    if item.is_dir():
        yield from (one.size for one in item.get_subkeys())
    elif item.exists():
        yield item.size()
    else:
        raise FileNotFoundError(errno.ENOENT, "not in the store yet", str(path))  # Snakemake looks for the name


def with_copies(options: Mapping[str, Any], inputs: Iterable[Any], prefix: str) -> dict[str, Any]:
    """Options, with the local copies of those files they name that are inputs in object storage, below a prefix."""
    stored = [one for one in inputs if getattr(one, "is_storage", False)]
    copies = {one.storage_object.query.removeprefix(f"{prefix.rstrip('/')}/"): str(one) for one in stored}

    def copy(value: Any) -> Any:
        if isinstance(value, list):
            return [copy(one) for one in value]
        return copies.get(posixpath.normpath(value), value) if isinstance(value, str) and value else value

    return {name: copy(value) for name, value in options.items()} if copies else dict(options)


def _local_suffix(self: Any) -> str:
    """Bucket and key, with constraints where the query has them."""
    bucket, _, key = self.query.removeprefix(SCHEME).partition("/")
    return f"{bucket}/{posixpath.normpath(key)}"


def _is_dir(self: Any) -> bool:
    """Whether there are objects below the key; asked again as long as there are none."""
    if not self._is_dir:
        self._is_dir = any(self.get_subkeys())
    return bool(self._is_dir)


def _bucket_exists(self: Any) -> bool:
    """Whether the bucket is there; an error where the store does not say."""
    from botocore.exceptions import ClientError  # type: ignore[import-not-found]

    try:
        self.provider.s3c.meta.client.head_bucket(Bucket=self.bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] == "404":
            return False
        raise
    return True


def _store(self: Any) -> None:
    """Store a file, or all files of a folder in place of what was below its key."""
    path = self.local_path()
    if not path.is_dir():
        self.s3obj().upload_file(path)
        return
    mine = {str(item.relative_to(path)): item for item in path.rglob("*") if item.is_file()}
    for name, item in mine.items():
        self.s3obj(subkey=name).upload_file(item)
    for item in list(self.get_subkeys()):
        if item.key.removeprefix(f"{self.key}/") not in mine:
            item.delete()
    self._is_dir = True


def _remove(self: Any) -> None:
    """Remove an object, or all below a folder's key."""
    for item in list(self.get_subkeys()) if self.is_dir() else [self.s3obj()]:
        item.delete()
    self._is_dir = None
