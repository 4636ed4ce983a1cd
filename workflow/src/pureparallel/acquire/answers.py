"""What a server's answer to a request for a file means: the file, a fault that may pass, or a refusal."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from .. import UserError
from .addresses import NEW_TOKEN, host_of, may_have_token

if TYPE_CHECKING:
    from requests import Response


class Fault(Exception):
    """What another attempt may mend.

    Parameters
    ----------
    message : str
    wait : float
        Seconds that the server asks for; 0 where it does not.
    spoilt : bool
        Whether what has been fetched so far is of no use.
    """

    def __init__(self, message: str, *, wait: float = 0.0, spoilt: bool = False) -> None:
        super().__init__(message)
        self.wait, self.spoilt = wait, spoilt


class Refused(UserError):
    """What no other attempt will mend.

    Parameters
    ----------
    message : str
    status : int
        Of HTTP; 0 where there is none.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Source:
    """Where a file comes from, and what is known of it.

    Attributes
    ----------
    url : str
    size : int or None
        Bytes that it must have.
    token : str
        Of MAST; empty: none is sent.
    has_checksum : bool
        Whether the finished file is compared with a checksum: a part is then continued even where the server has
        nothing to vouch for it by.
    """

    url: str
    size: int | None = None
    token: str = field(default="", repr=False)
    has_checksum: bool = False


@dataclass(frozen=True)
class Stored:
    """What the server said of the file that a part is of."""

    url: str = ""
    etag: str = ""
    modified: str = ""
    size: int | None = None

    @property
    def validator(self) -> str:
        """What ``If-Range`` may hold; empty where nothing would tell that the file has changed."""
        return self.etag if self.etag.startswith('"') else self.modified


def judge(response: "Response", source: Source) -> None:
    """Fault or UserError for an answer that is no file."""
    status, host = response.status_code, host_of(response.url)
    if status in (401, 403):
        told = f"{host} refuses it (HTTP {status})"
        if host != host_of(source.url):  # where it keeps its files; what it was told by the first host may be old
            raise Fault(told)
        if source.token and may_have_token(response.url, source.url):
            reason = f"the token has expired, or gives no access to this programme; {NEW_TOKEN}"
        else:
            reason = "it is not public; set MAST_API_TOKEN if you have access to it"
        raise Refused(f"{told}: {reason}", status=status)
    if status in (404, 410):
        raise Refused(f"{host} has no such file (HTTP {status})", status=status)
    if status in (408, 425, 429) or status >= 500:
        raise Fault(f"{host} answered HTTP {status}", wait=retry_after(response.headers.get("Retry-After", "")))
    if status == 416:
        raise Fault(f"{host} does not have the rest (HTTP 416)", spoilt=True)
    if status not in (200, 206):
        raise Refused(f"{host} answered HTTP {status}", status=status)
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise Fault(f"{host} sent a page instead of a file")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Fault(f"{host} sent the file packed, which it was not asked for")


def accepted(response: "Response", source: Source, stored: Stored, have: int) -> tuple[Stored, int]:
    """What the server says of the file that it sends, and how many bytes of the part stay."""
    headers = response.headers
    etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    if response.status_code == 206:
        sent = re.fullmatch(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)", headers.get("Content-Range", ""))
        if not have or sent is None or int(sent[1]) != have or int(sent[2]) + 1 != int(sent[3]):
            raise Fault("another part than the one asked for was sent", spoilt=True)
        size = int(sent[3])
        if etag not in ("", stored.etag) or modified not in ("", stored.modified) or stored.size not in (None, size):
            raise Fault("the file changed while it was fetched", spoilt=True)
        return replace(stored, size=size), have
    length = headers.get("Content-Length", "")
    size_there = int(length) if length.isdigit() else None
    if None not in (source.size, size_there) and source.size != size_there:
        raise Fault(f"the file there has {size_there} bytes, not {source.size}: it may have a new version", spoilt=True)
    return Stored(source.url, etag, modified, size_there), 0


def lost(error: BaseException) -> str:
    """A failed connection in words; the libraries' own messages may hold addresses and headers."""
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        raise Refused("the server's certificate cannot be trusted") from None
    names = [type(one).__name__ for one in _chain(error)]
    if any("Timeout" in name for name in names):
        return "no answer in time"
    early = {"IncompleteRead", "InvalidChunkLength"} & set(names)
    return "the transfer ended early" if early else f"the connection failed ({names[-1]})"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, and those that requests and urllib3 put into it."""
    yield error
    for inner in (getattr(error, "reason", None), *error.args):
        if isinstance(inner, BaseException):
            yield from _chain(inner)
            return


def retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks for, by number or date (RFC 9110, section 10.2.3); 0 for anything else."""
    if re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max((date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)
