"""Bring one calibrated NIRSpec slitlet into the field's folder, with its SHA-256 checked and on record."""

import importlib.util
import shutil
from pathlib import Path

from .. import UserError, io, log, names
from ..provenance import Lineage, sha256


def locate(location: str) -> Path:
    """Path of a location: ``package:<package>/<path>`` inside an installed package, else a path as it is."""
    kind, separator, rest = location.partition(":")
    if kind != "package" or not separator:
        return Path(location)
    package, _, path = rest.partition("/")
    spec = importlib.util.find_spec(package)  # finds a top-level package without importing it
    if spec is None or spec.origin is None:
        raise UserError(f"{location}: package {package} is not installed in this environment")
    return Path(spec.origin).parent / path


def msa_slitlets(*, location: str, slitlet: Path, sha256_expected: str = "unknown") -> None:
    """Copy one slitlet, check its SHA-256 against the manifest's and record it.

    What is in it is judged by msa_extract, where a slitlet that cannot be read costs its source and not its field.

    Parameters
    ----------
    location : str
        Where it is: a path, or package:<package>/<path> for a file that an installed package carries.
    slitlet : Path
        Output: where it goes.
    sha256_expected : str
        SHA-256 of the manifest; unknown: not checked.
    """
    logger = log.of("msa_slitlets")
    source = locate(location)
    if not source.is_file():
        raise UserError(f"{location}: no such file")
    found = sha256(source)
    if sha256_expected not in ("unknown", found):
        raise UserError(
            f"{location}: SHA-256 is {found}, the manifest says {sha256_expected}; "
            "fetch the file again or correct the manifest"
        )
    lineage = Lineage.of("msa_slitlets", [source], location=location)
    with io.atomic(slitlet) as part:
        shutil.copyfile(source, part)
        io.write_json(names.sidecar(slitlet), lineage.to_dict(product=slitlet.name, digest=found))
    logger.info("%s sha256:%s", slitlet.name, found)
