"""One file over HTTP, into a part file that survives a kill, is continued where it stopped and never looks finished.

The part of ``x.fits`` is ``x.fits.part``; ``x.fits.part.json`` beside it holds what the server said of the file whose
bytes those are, and why the last transfer failed. A part is continued only where the server vouches that the file is
still the same, by ``If-Range`` with a strong ETag or a date (RFC 9110, section 13.1.5), or where a checksum will tell.
"""

import contextlib
import fcntl
import json
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .. import UserError, io
from .addresses import checked_url, following, host_of, is_loopback, may_have_token
from .answers import Fault, Refused, Source, Stored, accepted, judge, lost
from .verify import Wrong

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

CHUNK = 1 << 16
SLOWEST = 1024
"""Bytes per second below which a transfer is stalled."""

REDIRECTS = 5
TOLD_EVERY = 10.0
"""Seconds between reports of progress."""


@dataclass(frozen=True)
class Limits:
    """How patient a transfer is; times in seconds.

    Attributes
    ----------
    retries : int
        Attempts after the first.
    backoff : float
        Wait before the first of them; doubled for each further one, and shortened at random by up to a half.
    longest_wait : float
        Between attempts; a server that asks for more is not asked again.
    stall : float
        Without an answer, or at less than `SLOWEST`, until an attempt is given up.
    """

    retries: int = 8
    backoff: float = 1.0
    longest_wait: float = 300.0
    stall: float = 60.0


@dataclass
class Tally:
    """What a transfer took.

    Attributes
    ----------
    retries : int
    fetched, resumed : int
        Bytes that came over the network, and those of the file that lay there from an earlier, killed transfer.
    seconds : float
    faults : list of str
        What went wrong on the way.
    """

    retries: int = 0
    fetched: int = 0
    resumed: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


Tell = Callable[[int, int | None, float], None]
"""Of progress: bytes there, bytes in all where known, bytes per second."""


def part_of(path: Path) -> Path:
    """Where a file is while it is not whole."""
    return path.with_name(f"{path.name}.part")


def state_of(path: Path) -> Path:
    """What is known of its part, as JSON: ``stored`` (see `Stored`) and ``reason``."""
    return path.with_name(f"{path.name}.part.json")


def fetch(
    source: Source,
    path: Path,
    *,
    limits: Limits | None = None,
    check: Callable[[Path], None] | None = None,
    tell: Tell | None = None,
) -> Tally:
    """Fetch a file into its part, whole and checked, for `finish` to give it its name; or leave a part to continue.

    Parameters
    ----------
    source : Source
    path : Path
        Where the file belongs.
    limits : Limits, optional
    check : callable, optional
        Raises Wrong if the finished part is not what was asked for; it is then fetched anew.
    tell : callable, optional
        See `Tell`.

    Raises
    ------
    UserError
        If the server refuses, the last attempt fails, the disk is full, or another process fetches the same file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part_of(path).open("ab") as file:
            _lock(file, path)
            checked_url(source.url)
            return _Transfer(source, path, file, limits or Limits(), check, tell).run()
    except OSError as error:
        raise UserError(f"{part_of(path)}: {error.strerror or error}") from error


def finish(path: Path) -> None:
    """Give a fetched file its name."""
    part_of(path).replace(path)
    state_of(path).unlink(missing_ok=True)


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep other processes off the part, for as long as the file is open."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{path}: another process is fetching it; wait for it, or end it") from None
    except OSError:  # a file system without locks
        return
    if not os.path.samestat(os.fstat(file.fileno()), part_of(path).stat()):
        raise UserError(f"{path}: another process has just fetched it; run this again")


@dataclass
class _Transfer:
    """One call of `fetch`."""

    source: Source
    path: Path
    file: BinaryIO
    limits: Limits
    check: Callable[[Path], None] | None
    tell: Tell | None
    tally: Tally = field(default_factory=Tally)

    def run(self) -> Tally:
        """Try until it is done."""
        start = time.monotonic()
        self.tally.resumed = self.at_hand()[1]
        while True:
            try:
                self.attempt()
                self.judge_content()
                break
            except Fault as fault:
                if fault.spoilt:
                    self.forget()
                self.tally.faults.append(str(fault))
                time.sleep(self.wait(fault))
                self.tally.retries += 1
            except UserError as error:
                self.note(str(error))
                raise
        self.tally.seconds = time.monotonic() - start
        return self.tally

    def wait(self, fault: Fault) -> float:
        """Seconds until the next attempt; UserError after the last."""
        message = ""
        if self.tally.retries >= self.limits.retries:
            message = f"{fault}, after {self.tally.retries + 1} attempts"
        elif fault.wait > self.limits.longest_wait:
            message = f"{fault}: it asks to come back in {fault.wait:.0f} s"
        if message:
            self.note(message)
            raise Refused(message)
        wait = min(self.limits.backoff * 2**self.tally.retries, self.limits.longest_wait)
        return max(wait * random.uniform(0.5, 1.0), fault.wait)

    def note(self, reason: str) -> None:
        """Leave beside the part why it is not finished."""
        io.write_json(state_of(self.path), {"stored": asdict(self.at_hand()[0]), "reason": reason})

    def at_hand(self) -> tuple[Stored, int]:
        """What is known of the part, and how much of it can be continued."""
        size = part_of(self.path).stat().st_size
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            stored = Stored(**json.loads(state_of(self.path).read_text(encoding="utf-8"))["stored"])
            fits = stored.size is None or (size <= stored.size and self.source.size in (None, stored.size))
            if stored.url == self.source.url and fits and (stored.validator or self.source.has_checksum):
                return stored, size
        return Stored(), 0

    def forget(self) -> None:
        """Empty the part; first, so that a kill leaves no bytes of one file with the record of another."""
        self.file.truncate(0)
        state_of(self.path).unlink(missing_ok=True)
        self.tally.resumed = 0

    def attempt(self) -> None:
        """Ask for what is missing, and append it; Fault if the part is not whole then."""
        import requests
        import urllib3

        stored, have = self.at_hand()
        if have and have == stored.size:
            return
        headers = {"Accept-Encoding": "identity", "User-Agent": "pureparallel"}
        if have:
            headers |= {"Range": f"bytes={have}-"} | ({"If-Range": stored.validator} if stored.validator else {})
        try:
            with self.ask(headers) as response:
                stored, have = accepted(response, self.source, stored, have)
                if have == 0:
                    self.forget()
                _room(self.path, (stored.size or 0) - have)
                io.write_json(state_of(self.path), {"stored": asdict(stored), "reason": "not finished"})
                self.receive(response, have, stored.size)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
            have = part_of(self.path).stat().st_size
            raise Fault(lost(error) + (f", at {have} bytes" if have else "")) from None
        have = part_of(self.path).stat().st_size
        for size in (stored.size, self.source.size):
            if size is not None and have != size:
                raise Fault(f"the transfer ended early, at {have} of {size} bytes", spoilt=have > size)

    def ask(self, headers: Mapping[str, str]) -> "Response":
        """The answer to a request, after redirects; the token goes to the first host alone."""
        import requests

        def authorise(request: "PreparedRequest") -> "PreparedRequest":
            """In place of what ~/.netrc says."""
            if self.source.token and may_have_token(request.url or "", self.source.url):
                request.headers["Authorization"] = f"token {self.source.token}"
            return request

        url = self.source.url
        for _ in range(REDIRECTS + 1):
            direct = {"no_proxy": host_of(url)} if is_loopback(url) else None
            try:
                with requests.Session() as session:
                    response = session.get(
                        url, headers=dict(headers), stream=True, allow_redirects=False, timeout=self.limits.stall,
                        auth=authorise, proxies=direct,
                    )  # fmt: skip
            except ValueError:  # requests reads the address of a redirect even where it does not follow it
                raise Refused(f"a redirect of {host_of(url)} leads to an address that is not trusted") from None
            if not response.is_redirect:
                try:
                    judge(response, self.source)
                except (Fault, Refused):
                    response.close()
                    raise
                return response
            response.close()
            url = following(url, response.headers["Location"])
        raise Fault(f"more than {REDIRECTS} redirects")

    def receive(self, response: "Response", have: int, size: int | None) -> None:
        """Append what comes, as it comes."""
        begun = told = mark = time.monotonic()
        first = marked = have
        try:
            while block := response.raw.read1(CHUNK, decode_content=False):
                self.file.write(block)
                have += len(block)
                self.tally.fetched += len(block)
                if size is not None and have > size:
                    raise Fault(f"more than the {size} bytes announced came", spoilt=True)
                now = time.monotonic()
                if now - mark > self.limits.stall:
                    if have - marked < SLOWEST * (now - mark) and have != size:
                        raise Fault(f"it stalled, at {have} bytes")
                    mark, marked = now, have
                if self.tell is not None and now - told > TOLD_EVERY:
                    self.tell(have, size, (have - first) / (now - begun))
                    told = now
        finally:
            self.file.flush()
            os.fsync(self.file.fileno())

    def judge_content(self) -> None:
        """Fault if the finished part is not what was asked for."""
        try:
            if self.check is not None:
                self.check(part_of(self.path))
        except Wrong as wrong:
            raise Fault(str(wrong), spoilt=True) from None


def _room(path: Path, size: int) -> None:
    """UserError if the rest does not fit on the disk."""
    disk = os.statvfs(path.parent)
    free = disk.f_bavail * disk.f_frsize
    if size > free:
        raise UserError(f"{path.parent}: {size / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free")
