"""The conda half of the lock: pixi.lock (format v7) solved and written by rattler, the library inside pixi.

The solver chooses among the conda-forge records in resources/conda_records.json, so that pixi.lock can be
written, and tested, where no conda channel is reachable. Where one is, `pixi lock` does the same job from all of
conda-forge; `lock.py --adopt` then takes the records that pixi chose into the table.
"""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from rattler import (
    BuildString,
    Channel,
    GenericVirtualPackage,
    LockChannel,
    LockFile,
    LockPlatform,
    MatchSpec,
    PackageName,
    SparseRepoData,
    Version,
    solve_with_sparse_repodata,
)

# What the solver may take for granted on each platform: pixi's own defaults.
VIRTUAL_PACKAGES = {
    "linux-64": ["__unix=0=0", "__linux=4.18", "__glibc=2.28", "__archspec=0=x86_64"],
    "osx-arm64": ["__unix=0=0", "__osx=13.0", "__archspec=0=m1"],
}

# What a table keeps of a record: the fields of a channel's repodata, and where the package is.
RECORD_FIELDS = (
    *("name", "version", "build", "build_number", "subdir", "noarch", "depends", "constrains"),
    *("license", "license_family", "timestamp", "size", "sha256", "md5", "url"),
)


def write_pixi_lock(manifest: dict[str, Any], table: dict[str, Any], target: Path) -> None:
    """Solve every environment of the manifest on every platform from the table's records."""
    asyncio.run(_solve(manifest, table, target))


async def _solve(manifest: dict[str, Any], table: dict[str, Any], target: Path) -> None:
    names = manifest["workspace"]["platforms"]
    platforms = {name: LockPlatform(name, virtual_packages=VIRTUAL_PACKAGES[name]) for name in names}
    lock = LockFile(list(platforms.values()))
    environments = {"default": [], **manifest["environments"]}
    with tempfile.TemporaryDirectory() as folder:
        channel = Channel(table["channel"])
        repodata = {name: _repodata(table["records"], channel, name, Path(folder)) for name in names}
        for environment, features in environments.items():
            lock.set_channels(environment, [LockChannel(table["channel"])])
            for name, platform in platforms.items():
                records = await solve_with_sparse_repodata(
                    [MatchSpec(spec) for spec in _specs(manifest, features)],
                    repodata[name],
                    virtual_packages=[_virtual_package(text) for text in VIRTUAL_PACKAGES[name]],
                )
                for record in sorted(records, key=lambda record: record.url):
                    lock.add_conda_package(environment, platform, record)
        lock.to_path(target)


def _specs(manifest: dict[str, Any], features: list[str]) -> list[str]:
    """The match specs of an environment: its features' dependencies over the default ones."""
    wishes = dict(manifest["dependencies"])
    for feature in features:
        wishes |= manifest["feature"][feature].get("dependencies", {})
    return [name if version == "*" else f"{name} {version}" for name, version in wishes.items()]


def _repodata(records: list[dict[str, Any]], channel: Channel, platform: str, folder: Path) -> list[SparseRepoData]:
    """A channel's repodata.json, per subdirectory, with the table's records only."""
    sparse = []
    for subdir in (platform, "noarch"):
        # No record has a PyPI counterpart: without this empty list, pixi would look it up.
        packages = {
            record["url"].rpartition("/")[2]: {k: v for k, v in record.items() if k != "url"} | {"purls": []}
            for record in records
            if record["subdir"] == subdir
        }
        path = folder / platform / subdir / "repodata.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"info": {"subdir": subdir}, "packages": {}, "packages.conda": packages}))
        sparse.append(SparseRepoData(channel, subdir, path))
    return sparse


def _virtual_package(text: str) -> GenericVirtualPackage:
    name, version, build = [*text.split("="), "0"][:3]
    return GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))


def records_of(lock: Path) -> list[dict[str, Any]]:
    """The conda records that a pixi.lock holds, each once, in the table's form."""
    rows: dict[str, dict[str, Any]] = {}
    for _, environment in LockFile.from_path(lock).environments():
        for records in environment.conda_repodata_records().values():
            for record in records:
                fields = json.loads(record.to_json())
                rows[record.url] = {key: fields[key] for key in RECORD_FIELDS if fields.get(key) is not None}
    return [rows[url] for url in sorted(rows)]
