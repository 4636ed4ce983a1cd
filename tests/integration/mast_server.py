"""MAST's search of JWST exposures on this machine: its requests and the shapes of its answers, and its bad days.

Answers what astroquery's MastMissions asks: the list of columns, searches by pages, and lists of products. A query that
the real one refuses is refused: a column that it does not have, a page that is no number.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from pureparallel.core import pointing

NIS_CEN = pointing.Aperture(-291.141, -698.015, 0.56126717, -1)
"""SIAF PRDOPSSOC-075."""

COLUMNS = (
    *("ArchiveFileID", "fileSetName", "productLevel", "instrume", "exp_type", "program", "observtn", "visit"),
    *("expripar", "category", "targtype", "targ_ra", "targ_dec", "subarray", "apername", "filter", "pupil", "readpatt"),
    *("ngroups", "effexptm", "duration", "date_beg", "date_obs", "expstart", "gdstarid", "gs_ra", "gs_dec", "gs_v3_pa"),
    *("s_region", "publicReleaseDate", "ra_v1", "dec_v1", "pa_v3"),
)
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sorry</title></head><body>Down for maintenance.</body></html>\n"


def exposure(
    program: int, observation: int, number: int, ra: float, dec: float, *, roll: float = 30.0, band: str = "F150W",
    grism: str = "", kind: str = "PARALLEL_PURE", day: int = 1, **other: Any,
) -> dict[str, Any]:  # fmt: skip
    """A row of the archive for a NIRISS exposure whose reference point is at a position."""
    here = pointing.Pointing(ra, dec, roll)
    attitude = pointing.attitude(here, NIS_CEN.v2, NIS_CEN.v3)
    boresight, star = pointing.at(attitude, 0, 0), pointing.at(attitude, 207.2, -697.5)
    corners = pointing.footprint(here, NIS_CEN, (-1024, -1024), (2048, 2048), (0.0653, 0.0658))
    name = f"jw{program:05d}{observation:03d}001_{'0410' if grism else '0210'}1_{number:05d}"
    start = f"2024-{1 + day // 28 % 12:02d}-{1 + day % 28:02d}T{number % 24:02d}:{observation % 60:02d}:07.250000"
    return {
        "ArchiveFileID": program * 100000 + observation * 100 + number, "fileSetName": name, "productLevel": "1b",
        "instrume": "NIRISS", "exp_type": "NIS_WFSS" if grism else "NIS_IMAGE", "program": program,
        "observtn": observation, "visit": 1, "expripar": kind, "category": "GO", "targtype": "FIXED",
        "targ_ra": 0.0, "targ_dec": 0.0, "subarray": "FULL", "apername": "NIS_CEN", "filter": grism or "CLEAR",
        "pupil": band, "readpatt": "NIS", "ngroups": 12, "effexptm": 515.365, "duration": 515.365, "date_beg": start,
        "date_obs": start[:10], "expstart": 60310.0 + day, "gdstarid": f"S{program % 1000:03d}000{observation:03d}",
        "gs_ra": star.ra, "gs_dec": star.dec, "gs_v3_pa": star.roll, "s_region": pointing.region(corners),
        "publicReleaseDate": "2024-12-01T00:00:00", "ra_v1": boresight.ra, "dec_v1": boresight.dec,
        "pa_v3": boresight.roll, **other,
    }  # fmt: skip


def visit(
    program: int, observation: int, ra: float, dec: float, *, exposures: int = 3, day: int = 1, **other: Any
) -> list[dict[str, Any]]:  # fmt: skip
    """A dithered visit: direct and dispersed exposures in turn."""
    rng = np.random.default_rng([program, observation])
    rows = []
    for number in range(1, exposures + 1):
        east, north = rng.normal(0, 1.5, 2) / 3600
        where = ra + east / np.cos(np.deg2rad(dec)), dec + north
        rows.append(exposure(program, observation, number, *where, grism=["", "GR150R"][number % 2], day=day, **other))
    return rows


@dataclass
class Mast:
    """What the server holds, and how it behaves.

    Attributes
    ----------
    rows : list of dict
    plan : callable
        ``plan(what, n)``: the fault of the n-th request (from 0) of a kind (``columns``, ``search``, ``products``);
        empty for none.
    columns : tuple of str
        That it offers.
    refused : tuple of str
        That it offers and does not give.
    cap : int
        Rows that it gives at once, whatever is asked for.
    delays : int
        Times that a list of products lacks an exposure before it has it.
    without : set of str
        Exposures that have no raw file.
    patience : float
        Seconds that a stall lasts.
    asked : list of (str, dict)
        Kind and headers of every request.
    """

    rows: list[dict[str, Any]]
    plan: Callable[[str, int], str] = lambda *_: ""
    columns: tuple[str, ...] = COLUMNS
    refused: tuple[str, ...] = ()
    cap: int = 10**9
    delays: int = 0
    without: set[str] = field(default_factory=set)
    patience: float = 3.0
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)
    listed: dict[str, int] = field(default_factory=dict)
    url: str = ""

    def search(self, query: dict[str, Any], fault: str) -> dict[str, Any]:
        """One page of the answer to a query."""
        chosen = [row for row in self.rows if all(_fulfils(row, *next(iter(c.items()))) for c in query["conditions"])]
        chosen.sort(key=lambda row: row[query["sort_by"][0]])
        if fault == "unsorted":
            chosen.reverse()
        if fault == "repeat":
            chosen = [row for row in chosen for _ in range(2)]
        columns = [*query["select_cols"]]
        offset, limit = int(query["offset"]), min(int(query["limit"]), self.cap)
        page = [{key: row[key] for key in columns} for row in chosen[offset : offset + limit]]
        if fault == "short":
            page = page[: len(page) // 2]
        if fault == "once more":
            page = page[:1] + page
        total = len(chosen) // 2 if fault == "modest" else len(chosen)
        info = [{"name": key, "type": "VARCHAR"} for key in columns]
        return {"messages": [], "info": info, "search_params": query, "totalResults": total, "results": page}

    def products(self, query: dict[str, Any], fault: str) -> dict[str, Any]:
        """The products of exposures: raw files, previews, and what nobody asked for."""
        found = []
        for name in query["dataset_ids"]:
            with self.lock:
                self.listed[name] = self.listed.get(name, 0) + 1
            if self.listed[name] > self.delays:
                found += _products(name, raw=name not in self.without)
        found += _products("jw09996001001_02101_00001")
        return {"products": [found] if fault == "nested" else found}


def _products(name: str, raw: bool = True) -> list[dict[str, Any]]:
    access = "PUBLIC" if int(name[2:7]) % 2 else "EXCLUSIVE_ACCESS"
    files = [("_uncal", "fits", "1b", 100_800_000)] * raw
    files += [("_uncal", "jpg", "1b", 9000), ("_rate", "fits", "2a", 84_000_000)]
    return [
        {
            "product_key": f"{name}_{name}_nis{suffix}.{kind}", "access": access, "dataset": name,
            "instrument_name": "NIRISS", "filters": "", "filename": f"{name}_nis{suffix}.{kind}",
            "uri": f"{name}/{name}_nis{suffix}.{kind}", "file_suffix": suffix, "category": level, "size": size,
            "type": "science",
        }
        for suffix, kind, level, size in files
    ]  # fmt: skip


def _fulfils(row: dict[str, Any], column: str, wanted: Any) -> bool:
    value = row[column]
    if isinstance(wanted, str) and wanted.startswith(">="):
        return str(value) >= wanted[2:]
    return str(value) in [one.strip() for one in str(wanted).split(",")]


class Handler(BaseHTTPRequestHandler):
    """Answers by the plan."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and content are written apart
    mast: Mast

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """The list of columns."""
        parts = urlsplit(self.path)
        if parts.path != "/search/util/api/v0.1/column_list" or parse_qs(parts.query).get("mission") != ["jwst"]:
            self.reply(404, b"no\n")
            return
        rows = [{"column_name": name, "qual_type": "string", "description": name} for name in self.mast.columns]
        self.answer("columns", lambda _: rows)

    def do_POST(self) -> None:
        """A search, or a list of products."""
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/search/jwst/api/v0.1/search":
            used = {*query["select_cols"], *(key for one in query["conditions"] for key in one)}
            if not used <= set(self.mast.columns) - set(self.mast.refused) or not query["conditions"]:
                self.reply(400, b'{"message": "invalid"}')
                return
            self.answer("search", lambda fault: self.mast.search(query, fault))
        elif self.path == "/search/jwst/api/v0.1/post_list_products":
            self.answer("products", lambda fault: self.mast.products(query, fault))
        else:
            self.reply(404, b"no\n")

    def answer(self, what: str, content: Callable[[str], Any]) -> None:
        """One answer, with the fault that the plan wants."""
        with self.mast.lock:
            n = sum(one == what for one, _ in self.mast.asked)
            self.mast.asked.append((what, dict(self.headers)))
        fault = self.mast.plan(what, n)
        with contextlib.suppress(ConnectionError):
            if fault.isdigit():
                self.reply(int(fault), b"no\n", {"Retry-After": "0"} if fault == "503" else {})
            elif fault == "html":
                self.reply(200, PAGE)
            elif fault == "stall":
                self.mast.closing.wait(self.mast.patience)
                self.close_connection = True
            else:
                body = json.dumps(content(fault)).encode()
                self.reply(200, body, cut=len(body) // 2 if fault == "truncated" else 0)

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int = 0) -> None:
        """Send an answer; with `cut`, only so many bytes of it."""
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut] if cut else body)
        self.close_connection = self.close_connection or bool(cut)


@contextlib.contextmanager
def serving(mast: Mast) -> Iterator[Mast]:
    """The server at work on a free port of this machine."""
    handler = type("MastHandler", (Handler,), {"mast": mast})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    mast.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield mast
    finally:
        mast.closing.set()
        server.shutdown()
        server.server_close()
