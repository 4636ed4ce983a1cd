"""The calibration pipeline jwst: its references, its steps run one by one, and its products.

Importing jwst is dear, and stpipe collects garbage at every step: what a batch of exposures shares is imported once
and frozen (`ready`). Steps run on an open model, each changing it in place, as inside of a pipeline and with the
parameters and references that CRDS has for the exposure (`Chain`).
"""

import ast
import contextlib
import gc
import importlib
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import UserError
from .acquire.references import check
from .io import atomic, read_json, write_json
from .names import sidecar
from .provenance import Lineage, sha256

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

LOGGERS = ("CRDS", "jwst", "stcal", "stdatamodels", "stpipe")


def configure(references: Path, context: str = "") -> str:
    """Point CRDS to a cache on disk, and to nothing else. To be called before anything of jwst is imported.

    Parameters
    ----------
    references : Path
        The record of a cache that the rule references wrote, or a cache's root.
    context : str
        File name of the context, such as ``jwst_1413.pmap``, for a cache; by default its operational one. A record has
        its own.

    Returns
    -------
    str
        The context.

    Raises
    ------
    UserError
        If the cache lacks its configuration or the context, or if files are not those of the record.
    """
    root = references.absolute()
    if references.is_file():
        record = read_json(references)
        if not {"root", "context", "files"} <= set(record):
            raise UserError(f"{references}: is no record of reference files; make it again")
        root, context = root.parent / record["root"], record["context"]
        check(root, record["files"], where=str(references))
    told = root / "config" / "jwst" / "server_config"
    if not told.is_file():
        raise UserError(f"references: {told} is missing; is {references} the record or the root of a CRDS cache?")
    context = context or ast.literal_eval(told.read_text(encoding="utf-8"))["operational_context"]
    if not (pmap := root / "mappings" / "jwst" / context).is_file():
        raise UserError(f"references: {pmap} is missing; choose a context that the cache holds, or fetch this one")
    os.environ |= {
        "CRDS_PATH": str(root),
        "CRDS_CONTEXT": context,
        "CRDS_OBSERVATORY": "jwst",
        "CRDS_SERVER_URL": "https://jwst-serverless.stsci.edu",  # "serverless" keeps the client from asking
        "CRDS_MODE": "local",
        "CRDS_READONLY_CACHE": "1",
    }
    for name in THREADS:
        os.environ.setdefault(name, "1")
    return context


def quiet() -> None:
    """Let the pipeline's loggers speak of warnings and errors only, through the root logger."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.handlers.clear()
        logger.propagate = True


def ready(modules: Iterable[str]) -> None:
    """Import what a batch needs, and keep the garbage collector from looking at it ever again.

    Parameters
    ----------
    modules : iterable of str
    """
    for module in modules:
        importlib.import_module(module)
    quiet()
    _prepare()
    gc.collect()
    gc.freeze()


def _prepare() -> None:
    """Read asdf's plugins, which every data model needs, and keep astropy from fetching the Earth's rotation."""
    import asdf
    from asdf import schema
    from astropy.utils import iers

    _ = asdf.get_config().extensions
    if hasattr(schema, "_make_schema_loader"):
        # asdf parses a schema's text again for every reference to it: a fifth of a small exposure's time
        loader = cache(schema._make_schema_loader())
        schema._make_schema_loader = lambda: loader
    iers.conf.auto_download = False
    iers.conf.auto_max_age = None


@lru_cache(maxsize=12)
def _array(path: str, extension: str) -> tuple[NDArray[np.floating] | None, int, int]:
    """An array of a reference file, and where it begins on the detector (from 1)."""
    from astropy.io import fits

    with fits.open(path, memmap=False) as hdus:
        header = hdus[0].header
        array = np.ascontiguousarray(hdus[extension].data, dtype=np.float32) if extension in hdus else None
        return array, header.get("SUBSTRT1", 1), header.get("SUBSTRT2", 1)


class Chain:
    """Steps of a pipeline, applied one after the other to one exposure.

    A step gets, in order of precedence: the parameters given to `run`, those of the pipeline's parameter reference,
    those of the step's own, and its defaults.

    Parameters
    ----------
    pipeline : str
        Whose parameter reference holds, such as ``detector1pipeline``.

    Attributes
    ----------
    record : dict
        By step: ``status`` (COMPLETE or SKIPPED) and ``seconds`` of CPU time.
    """

    def __init__(self, pipeline: str) -> None:
        from jwst.stpipe import Step

        self.pipeline = pipeline
        self.record: dict[str, dict[str, Any]] = {}
        # a step with a parent changes its input in place, instead of a copy
        self._parent = Step(pipeline)
        self._parameters: Mapping[str, Any] | None = None

    def step(self, module: str, name: str, model: Any, **parameters: Any) -> Any:
        """A step, set up for an exposure.

        Parameters
        ----------
        module : str
            Of the class, such as ``jwst.jump``.
        name : str
            The class, such as ``JumpStep``.
        model : DataModel
        **parameters
            They override those of the references.
        """
        step_class = getattr(importlib.import_module(module), name)
        given = self._reference_parameters(step_class, model) | parameters
        return step_class(step_class.class_alias, parent=self._parent, **given)

    def run(self, module: str, name: str, model: Any, **parameters: Any) -> Any:
        """Run one step; see `step` for the parameters.

        Returns
        -------
        DataModel, or what else the step returns
            The given model, changed in place, where the step allows it.
        """
        from stpipe import crds_client  # type: ignore[import-not-found]

        start = time.process_time()
        step = self.step(module, name, model, **parameters)
        alias = step.class_alias
        if step.skip:
            setattr(model.meta.cal_step, alias, "SKIPPED")
            self.record[alias] = {"status": "SKIPPED", "seconds": 0.0}
            return model
        try:
            result = step.process(model)
        except crds_client.CrdsError as error:
            raise UserError(f"{alias}: the context has no reference for this exposure ({error})") from error
        parts = result if isinstance(result, tuple) else (result,)
        for part in parts:
            if part is not None:
                step.finalize_result(part, step._reference_files_used)
        keyword = {"dark_current": "dark_sub"}.get(alias, alias)
        status = getattr(parts[0].meta.cal_step, keyword, None) if parts[0] is not None else None
        self.record[alias] = {"status": status or "COMPLETE", "seconds": round(time.process_time() - start, 3)}
        return result

    @contextlib.contextmanager
    def own(self, name: str) -> Iterator[None]:
        """Record the time of what is done between the pipeline's steps."""
        start = time.process_time()
        yield
        self.record[name] = {"status": "COMPLETE", "seconds": round(time.process_time() - start, 3)}

    def reference(self, model: Any, kind: str, extension: str = "SCI") -> NDArray[np.floating] | None:
        """An array that CRDS has for an exposure, cut to the exposure's part of the detector.

        Parameters
        ----------
        model : DataModel
        kind : str
            Such as ``gain``.
        extension : str

        Returns
        -------
        ndarray or None
            None where there is none, or none that covers the exposure. Shared between exposures: not to be changed.
        """
        from stpipe import crds_client

        try:
            path = crds_client.get_reference_file(model.get_crds_parameters(), kind, "jwst")
        except crds_client.CrdsError:
            return None
        if path == "N/A":
            return None
        array, x, y = _array(path, extension)
        if array is None:
            return None
        part = model.meta.subarray
        left, low = part.xstart - x, part.ystart - y
        if left < 0 or low < 0 or left + part.xsize > array.shape[-1] or low + part.ysize > array.shape[-2]:
            return None
        return array[..., low : low + part.ysize, left : left + part.xsize]

    def _reference_parameters(self, step_class: Any, model: Any) -> dict[str, Any]:
        """Parameters that CRDS has for a step, and for it in the pipeline."""
        from stpipe import config_parser, crds_client

        if self._parameters is None:
            kind = f"pars-{self.pipeline}"
            try:
                path = crds_client.get_reference_file(model.get_crds_parameters(), kind, "jwst")
            except crds_client.CrdsError:
                path = "N/A"
            self._parameters = {} if path == "N/A" else config_parser.load_config_file(path).get("steps", {})
        own = step_class.get_config_from_reference(model)
        found = {**own, **self._parameters.get(step_class.class_alias, {})}
        return {key: value for key, value in found.items() if key not in ("class", "name")}


def save(path: Path, model: Any, lineage: Lineage, extra: Mapping[str, tuple[Any, str]] | None = None) -> None:
    """Write a data model with its lineage in the primary header and in a sidecar beside it, atomically.

    Parameters
    ----------
    path : Path
    model : DataModel
        Its file name and its extra keywords are changed.
    lineage : Lineage
        Replaces that of the file that the model was made from.
    extra : mapping of str to (value, comment), optional
        Further keywords of the primary header.
    """
    from astropy.io.fits import Header

    header = Header()
    for keyword, card in (extra or {}).items():
        header[keyword] = card
    lineage.to_header(header)
    fresh = [[card.keyword, card.value, card.comment] for card in header.cards]
    replaced = {card[0] for card in fresh}
    tree = model.instance.setdefault("extra_fits", {}).setdefault("PRIMARY", {})
    kept = [card for card in tree.get("header", []) if card[0] not in replaced and not str(card[0]).startswith("PPIN")]
    tree["header"] = kept + fresh
    model.meta.filename = path.name
    with atomic(path) as part:
        # given a path, the model would name itself after it
        with part.open("wb") as file:
            model.to_fits(file, checksum=True)
        write_json(sidecar(path), lineage.to_dict(product=path.name, digest=sha256(part)))
