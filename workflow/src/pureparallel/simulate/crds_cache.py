"""A cache that the client of the Calibration Reference Data System reads without a network.

The mappings are those of CRDS: a pipeline context (pmap) names an instrument context (imap), which names rules (rmap)
or ``N/A`` for every type of reference file.
"""

import hashlib
import pprint
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

CONTEXT = "jwst_0001.pmap"
"""The cache's only context."""

USEAFTER = "2022-01-01 00:00:00"
"""References hold from here on: before the first science exposure."""

AUTHOR = "pureparallel (simulation)"

NOT_APPLICABLE = "N/A"

OBSERVED = ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME")


@dataclass(frozen=True)
class Rule:
    """How the references of one type are chosen.

    Attributes
    ----------
    parameters : tuple of str
        Keywords of the data model, as ``META.EXPOSURE.TYPE``.
    files : dict
        File name, or `NOT_APPLICABLE`, by the values of these keywords.
    """

    parameters: tuple[str, ...]
    files: Mapping[tuple[str, ...], str]


def environment(cache: Path) -> dict[str, str]:
    """Environment variables with which the pipeline reads this cache and nothing else."""
    return {
        "CRDS_PATH": str(cache),
        "CRDS_CONTEXT": CONTEXT,
        "CRDS_OBSERVATORY": "jwst",
        "CRDS_SERVER_URL": "https://jwst-serverless.stsci.edu",  # "serverless" keeps the client from asking
        "CRDS_MODE": "local",
        "CRDS_READONLY_CACHE": "1",
    }


def reference_folder(cache: Path) -> Path:
    """Where NIRISS references lie."""
    return cache / "references" / "jwst" / "niriss"


def mapping_folder(cache: Path) -> Path:
    """Where mappings lie."""
    return cache / "mappings" / "jwst"


def write(cache: Path, rules: Mapping[str, Rule], types: Iterable[str]) -> None:
    """Write mappings and configuration.

    Parameters
    ----------
    cache : Path
        The cache's root.
    rules : mapping of str to Rule
        By type.
    types : iterable of str
        Types for which ``N/A`` is the answer, unless there is a rule.
    """
    mappings = mapping_folder(cache)
    mappings.mkdir(parents=True, exist_ok=True)
    instrument: dict[str, str] = dict.fromkeys(types, NOT_APPLICABLE)
    for kind, rule in rules.items():
        instrument[kind] = f"jwst_niriss_{kind}_0001.rmap"
        _write_mapping(mappings / instrument[kind], _rule_header(kind, rule), _match(rule))
    _write_mapping(
        mappings / "jwst_niriss_0001.imap",
        {"mapping": "INSTRUMENT", "instrument": "NIRISS", "parkey": ("REFTYPE",)},
        _dictionary(dict(sorted(instrument.items()))),
    )
    _write_mapping(
        mappings / CONTEXT,
        {"mapping": "PIPELINE", "parkey": ("META.INSTRUMENT.NAME",)},
        _dictionary({"NIRISS": "jwst_niriss_0001.imap"}),
    )
    _write_configuration(cache / "config" / "jwst")


def write_parameters(path: Path, step: str, parameters: Mapping[str, object], instrument: Mapping[str, str]) -> None:
    """Write a step's parameters as a parameter reference file.

    Parameters
    ----------
    path : Path
    step : str
        The step's class with its module.
    parameters : mapping of str to object
        Those that differ from the step's defaults, or may.
    instrument : mapping of str to str
        Which exposures they are for: keywords of ``meta.instrument``.
    """
    import asdf

    name = step.rpartition(".")[2]
    meta = {
        "author": AUTHOR,
        "date": USEAFTER.replace(" ", "T"),
        "description": f"SIMULATED: parameters of {name}",
        "instrument": {"name": "NIRISS", **instrument},
        "origin": "pureparallel",
        "pedigree": "DUMMY",
        "reftype": f"pars-{name.lower()}",
        "telescope": "JWST",
        "useafter": USEAFTER.replace(" ", "T"),
    }
    file = asdf.AsdfFile({"class": step, "name": name, "meta": meta, "parameters": dict(parameters)})
    file.add_history_entry("Simulated by pureparallel.")
    file.write_to(path)


def _write_configuration(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    server = {
        "observatory": "jwst",
        "operational_context": CONTEXT,
        "edit_context": CONTEXT,
        "latest_context": CONTEXT,
        "bad_files_list": [],
        "mappings": [],
        "force_remote_mode": False,
        "last_synced": "never: simulated",
    }
    (folder / "server_config").write_text(pprint.pformat(server) + "\n", encoding="utf-8")
    (folder / "ref_cache_subdir_mode").write_text("instrument\n", encoding="utf-8")
    (folder / "bad_files.txt").write_text("", encoding="utf-8")


def _rule_header(kind: str, rule: Rule) -> dict[str, object]:
    name = kind if kind.startswith("pars-") else kind.upper()
    suffixes = {Path(file).suffix for file in rule.files.values() if file != NOT_APPLICABLE}
    if len(suffixes) != 1:
        raise ValueError(f"{kind}: references of one type have one format, not {sorted(suffixes)}")
    return {
        "mapping": "REFERENCE",
        "instrument": "NIRISS",
        "filekind": name,
        "filetype": name,
        "suffix": kind,
        "file_ext": suffixes.pop(),
        "text_descr": f"Simulated {kind}",
        "classes": ("Match", "UseAfter"),
        "parkey": (rule.parameters, OBSERVED),
    }


def _write_mapping(path: Path, header: Mapping[str, object], selector: str) -> None:
    """Write a mapping with its checksum: the SHA-1 of all lines but the one that holds it."""
    full = {**header, "name": path.name, "observatory": "JWST", "derived_from": "simulation", "sha1sum": ""}
    text = f"header = {_dictionary(full)}\n\nselector = {selector}\n"
    kept = [line for line in text.splitlines(keepends=True) if "sha1sum" not in line]
    digest = hashlib.sha1("".join(kept).encode(), usedforsecurity=False).hexdigest()
    path.write_text(text.replace("'sha1sum' : ''", f"'sha1sum' : '{digest}'"), encoding="utf-8")


def _dictionary(content: Mapping[str, object]) -> str:
    return "{\n" + "".join(f"    {key!r} : {value!r},\n" for key, value in content.items()) + "}"


def _match(rule: Rule) -> str:
    lines = ["Match({\n"]
    for values, file in rule.files.items():
        if len(values) != len(rule.parameters):
            raise ValueError(f"{values} are not the values of {rule.parameters}")
        if file == NOT_APPLICABLE:
            lines.append(f"    {values!r} : {NOT_APPLICABLE!r},\n")
        else:
            lines.append(f"    {values!r} : UseAfter({{\n        {USEAFTER!r} : {file!r},\n    }}),\n")
    return "".join(lines) + "})"
