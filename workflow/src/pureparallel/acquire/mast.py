"""MAST's record of JWST's exposures, whole or not at all.

Asked by astroquery's `MastMissions`, anonymously: what exposures there are is public, also of those whose data are not
yet, so that no token is sent. The archive gives its answer in pages. Each begins with the last row of the one before,
and every one must tell the same number of rows: a list that changes while it is read is read again, and one that stays
incomplete is an error, never a shorter list.
"""

import random
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from .. import UserError, log, names

SERVER = "https://mast.stsci.edu"

KEY = "fileSetName"
"""Column with an exposure's name without its detector."""

NEEDED = ("instrume", "exp_type", "program", "productLevel", "readpatt", "ngroups", "filter", "pupil", "apername")
WISHED = (
    *(
        "expripar",
        "category",
        "proposal_type",
        "targtype",
        "subarray",
        "effexptm",
        "duration",
        "date_beg",
        "date_obs",
        "expstart",
    ),
    *("gdstarid", "gs_ra", "gs_dec", "gs_v3_pa", "s_region", "publicReleaseDate"),
    *("ra_v1", "dec_v1", "pa_v3", "ra_ref", "dec_ref", "roll_ref"),
)
"""Columns without which nothing can be done, and those that are taken where the archive offers them."""

UNRELIABLE = ("effexptm",)
"""Columns that the archive has offered and then refused to give."""

PASSING = (408, 425, 429, 500, 502, 503, 504)
"""HTTP status of what may work a minute later."""

_logger = log.of("discover")


class Archive:
    """A connection to the archive.

    Parameters
    ----------
    server : str
    timeout : float
        Seconds without a byte after which a request has failed.
    attempts : int
        Of every request, and of reading a list that changes meanwhile.
    page : int
        Rows to ask for at a time; the archive may give fewer.
    pause : float
        Seconds before the second attempt; doubled with every further one, up to a minute.
    """

    def __init__(
        self, server: str = SERVER, *, timeout: float = 300, attempts: int = 6, page: int = 5000, pause: float = 2
    ) -> None:
        from astroquery.mast import MastMissionsClass
        from requests.adapters import HTTPAdapter

        class Impatient(HTTPAdapter):
            """astroquery sets no time-out, and would wait for a stalled server for ever."""

            def send(self, *args: Any, **kwargs: Any) -> Any:
                return super().send(*args, **{**kwargs, "timeout": kwargs.get("timeout") or timeout})

        self.server, self.attempts, self.page, self.pause = server.rstrip("/"), attempts, page, pause
        self._missions = MastMissionsClass(mission="jwst")
        connection = self._missions._service_api_connection
        connection.SERVICE_URL = self.server
        self._missions.mission = "jwst"  # makes the addresses anew
        self._session = connection._session
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, Impatient())
        self._columns: tuple[str, ...] = ()

    def columns(self) -> tuple[str, ...]:
        """Columns of `NEEDED` and `WISHED` that the archive offers."""
        from astropy.table import Table

        if not self._columns:
            address = f"{self.server}/search/util/api/v0.1/column_list"
            offered = self._ask("its columns", lambda: self._get(address), _is_column_list)
            rows = [(one["column_name"], one.get("qual_type", ""), one.get("description", "")) for one in offered]
            # what astroquery would ask for itself, without a time-out
            self._missions.columns["jwst"] = Table(rows=rows, names=("name", "data_type", "description"))
            known = {row[0] for row in rows}
            missing = sorted({KEY, *NEEDED} - known)
            if missing:
                raise UserError(f"{self.server}: no longer offers {', '.join(missing)}; this version cannot ask it")
            self._columns = tuple(name for name in (*NEEDED, *WISHED) if name in known)
        return self._columns

    def _get(self, address: str) -> Any:
        response = self._session.get(address, params={"mission": "jwst"})
        response.raise_for_status()
        return response

    def datasets(self, **criteria: Any) -> list[dict[str, Any]]:
        """All exposures that fulfil criteria, sorted by name, each once.

        Parameters
        ----------
        **criteria
            Columns and the value, or list of values, that they shall have; ``>=2024-01-01`` for dates.

        Returns
        -------
        list of dict
            Columns of `columns` and `KEY`.

        Raises
        ------
        UserError
            If the archive does not answer, or never gives the whole list.
        """
        columns = self.columns()
        for column in UNRELIABLE:
            rest = tuple(name for name in columns if name != column)
            if column in columns and not self._accepts(columns, criteria) and self._accepts(rest, criteria):
                _logger.warning("%s refuses to give %s: done without", self.server, column)
                columns = self._columns = rest
        reason = ""
        for attempt in range(1, self.attempts + 1):
            rows, reason = self._sweep(columns, criteria)
            if not reason:
                return _each_once(rows)
            _logger.warning("attempt %d of %d to read the whole list: %s", attempt, self.attempts, reason)
            self._wait(attempt)
        raise UserError(
            f"{self.server}: never gave a whole list of exposures: {reason}; nothing was changed, try later"
        )

    def _accepts(self, columns: Sequence[str], criteria: Mapping[str, Any]) -> bool:
        from astroquery.exceptions import InvalidQueryError

        try:
            self._search(columns, criteria, offset=0, limit=1)
        except InvalidQueryError:
            return False
        except Exception as error:
            _logger.debug("%s", error)  # asked again, and reported, by what follows
        return True

    def _search(self, columns: Sequence[str], criteria: Mapping[str, Any], *, offset: int, limit: int) -> Any:
        return self._missions.query_criteria_async(
            limit=limit, offset=offset, select_cols=list(columns), sort_by=[KEY], sort_desc=[False], **criteria
        )

    def _sweep(self, columns: Sequence[str], criteria: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str]:
        """Read all pages once: rows, and what is wrong with them."""
        rows: list[dict[str, Any]] = []
        total = -1
        while True:
            offset = max(0, len(rows) - 1)
            answer = self._ask(
                f"exposures from {offset}",
                partial(self._search, columns, criteria, offset=offset, limit=self.page),
                _is_page,
            )
            got, now = answer["results"], int(answer["totalResults"])
            if total not in (-1, now):
                return rows, f"the number of exposures changed from {total} to {now}"
            total = now
            if rows and (not got or got[0][KEY] != rows[-1][KEY]):
                return rows, f"after {len(rows)} of {total} rows, the pages do not join"
            more = got[1:] if rows else got
            rows += more
            if not more:
                break
            if len(rows) % 1000 < len(more):
                _logger.info("%d of %d exposures", len(rows), total)
        order = [row[KEY] for row in rows]
        if order != sorted(order) and len(set(order)) != total:  # an order of its own would do, but for repetitions
            return rows, "the rows are not in order"
        if total not in (len(rows), len(set(order))):
            return rows, f"{total} rows are said to be there, {len(rows)} came"
        return rows, ""

    def raw_files(self, exposures: Collection[str], *, batch: int = 100) -> dict[str, list[dict[str, Any]]]:
        """Records of the raw files of exposures, by exposure; those that have none are absent.

        Parameters
        ----------
        exposures : collection of str
            Values of `KEY`.
        batch : int
            Exposures to ask for at a time.
        """
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for attempt in range(1, self.attempts + 1):
            missing = sorted(set(exposures) - set(found))
            if not missing:
                break
            if attempt > 1:
                _logger.warning("no raw files of %d exposures yet: asked again", len(missing))
                self._wait(attempt - 1)
            for some in _batches(missing, batch):
                answer = self._ask(
                    f"raw files of {some[0]} and {len(some) - 1} more",
                    partial(self._missions.get_product_list_async, some),
                    _is_product_list,
                )
                for product in _products(answer):
                    exposure = _exposure_of(str(product.get("filename")))
                    if exposure in some:
                        found.setdefault(exposure, {}).setdefault(product["filename"], product)
        return {name: [files[key] for key in sorted(files)] for name, files in sorted(found.items())}

    def _ask(self, what: str, request: Callable[[], Any], is_right: Callable[[Any], bool]) -> Any:
        """The content of an answer of the right form; asked again after what may pass."""
        from astroquery.exceptions import InvalidQueryError
        from astroquery.exceptions import TimeoutError as Slow
        from requests import RequestException

        reason = ""
        for attempt in range(1, self.attempts + 1):
            after = 0.0
            try:
                content = request().json()
                if is_right(content):
                    return content
                reason = "an answer that is not of the documented form"
            except InvalidQueryError:
                reason = "the query was refused, or the server failed (status 400 or 500)"
            except (RequestException, ValueError, Slow) as error:
                answer = getattr(error, "response", None)
                status = getattr(answer, "status_code", None)
                reason = f"status {status}" if status else f"{type(error).__name__}: {error}"
                if status is not None and status not in PASSING:
                    raise UserError(f"{self.server}: {what}: {reason}") from None
                after = _seconds(answer.headers.get("Retry-After")) if answer is not None else 0.0
            _logger.warning("%s: attempt %d of %d: %s", what, attempt, self.attempts, reason)
            if attempt < self.attempts:
                self._wait(attempt, after)
        raise UserError(f"{self.server}: {what}: no answer in {self.attempts} attempts, the last: {reason}; try later")

    def _wait(self, attempt: int, after: float = 0.0) -> None:
        time.sleep(max(after, min(60.0, self.pause * 2 ** (attempt - 1)) * random.uniform(0.7, 1.3)))


def _is_column_list(content: Any) -> bool:
    return isinstance(content, list) and all(isinstance(one, dict) and "column_name" in one for one in content)


def _is_page(content: Any) -> bool:
    right = isinstance(content, dict) and isinstance(content.get("results"), list) and "totalResults" in content
    return right and all(isinstance(row, dict) and isinstance(row.get(KEY), str) for row in content["results"])


def _is_product_list(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("products"), list)


def _products(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Products of an answer, which come as a list or as a list in a list."""
    for one in content["products"]:
        yield from (product for product in (one if isinstance(one, list) else [one]) if isinstance(product, dict))


def _exposure_of(file: str) -> str | None:
    """The exposure, without detector and segment, of a raw file's name; None of other files."""
    if not re.fullmatch(names.EXPOSURE + r"_uncal\.fits", file):
        return None
    return re.sub(r"-seg[0-9]{3}$", "", file.removesuffix("_uncal.fits").rpartition("_")[0])


def _each_once(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows by name; of rows that differ, the last of their sorted texts, whatever order they came in."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        other = found.setdefault(row[KEY], row)
        if other != row:
            _logger.warning("%s is listed twice, differently", row[KEY])
            found[row[KEY]] = max(other, row, key=lambda one: sorted(map(str, one.items())))
    return list(found.values())


def _batches(items: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _seconds(value: Any) -> float:
    """Retry-After in seconds, at most two minutes; 0 for a date."""
    return min(120.0, float(value)) if re.fullmatch(r"\d{1,6}", str(value or "")) else 0.0
