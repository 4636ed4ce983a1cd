"""An archive of small raw exposures on this machine, which hands files out as MAST does, or misbehaves as told."""

import contextlib
import hashlib
import io
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
from astropy.io import fits

PAGE = b"<!DOCTYPE html>\n<html><head><title>Sorry</title></head><body>Something went wrong.</body></html>\n"
SPEEDLESS = 0.02
"""Seconds between the bytes of a transfer that drips."""


def exposure(number: int) -> str:
    """The name of a raw exposure that nobody has taken."""
    return f"jw09997{number // 100 + 1:03d}001_02101_{number % 100 + 1:05d}_nis"


def uncal(name: str, *, size: int, checksums: bool = True, seed: int = 0, version: str = "1") -> bytes:
    """A raw exposure in the form of MAST's, with noise in it.

    Parameters
    ----------
    name : str
    size : int
        Of the data, bytes.
    checksums : bool
        Whether it carries FITS checksums.
    seed : int
    version : str
        Of the data processing.
    """
    values = np.random.default_rng(seed).integers(0, 2**16, size // 2, dtype=np.uint16)
    primary = fits.PrimaryHDU()
    primary.header.update({
        "FILENAME": f"{name}_uncal.fits", "TELESCOP": "JWST", "INSTRUME": "NIRISS", "DETECTOR": "NIS",
        "PROGRAM": name[2:7], "OBSERVTN": name[7:10], "VISIT": name[10:13], "VISITGRP": name[14:16],
        "SEQ_ID": name[16], "ACT_ID": name[17:19], "EXPOSURE": str(int(name[20:25])), "SDP_VER": version,
    })  # fmt: skip
    content = io.BytesIO()
    data = values.reshape(1, 1, 1, -1)
    metadata = fits.ImageHDU(np.zeros(100, np.uint8), name="ASDF")
    fits.HDUList([primary, fits.ImageHDU(data, name="SCI"), metadata]).writeto(content, checksum=checksums)
    return content.getvalue()


@dataclass
class Asked:
    """One request, and what came of it."""

    name: str
    start: int | None
    authorization: str
    status: int = 0
    sent: int = 0


@dataclass
class Archive:
    """The server's files and manners.

    Attributes
    ----------
    files : dict of str to bytes
    plan : callable
        ``plan(name, n)``: the fault of the n-th request (from 0) for a file; empty for none.
    token : str
        Of the files in `exclusive`.
    redirect : str
        Address that the fault ``elsewhere`` leads to.
    patience : float
        Seconds that a stall lasts.
    rate : float
        Bytes per second of every answer; 0 is as fast as it goes.
    is_silent : bool
        Whether answers come without an ETag.
    block : int
        Bytes that are sent at a time.
    """

    files: dict[str, bytes]
    plan: Callable[[str, int], str] = lambda *_: ""
    token: str = ""
    exclusive: set[str] = field(default_factory=set)
    redirect: str = ""
    patience: float = 2.0
    rate: float = 0.0
    is_silent: bool = False
    block: int = 8192
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def sent(self, name: str) -> int:
        """Bytes of a file that have been sent so far, of all requests."""
        return sum(one.sent for one in self.asked if one.name == name)


class Handler(BaseHTTPRequestHandler):
    """Answers ``/retrieve?product_name=[<folder>/]<name>``."""

    protocol_version = "HTTP/1.1"
    archive: Archive
    one: Asked

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer, in the way that the plan says."""
        self.close_connection = True
        parts = urlsplit(self.path)
        if parts.path == "/sorry":
            self.reply(200, PAGE, {"Content-Type": "text/html"})
            return
        name = parse_qs(parts.query).get("product_name", [""])[0].rpartition("/")[2]
        start = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("Range", ""))
        self.one = Asked(name, int(start[1]) if start else None, self.headers.get("Authorization", ""))
        with self.archive.lock:
            n = sum(one.name == name for one in self.archive.asked)
            self.archive.asked.append(self.one)
        with contextlib.suppress(ConnectionError):
            self.answer(name, self.archive.plan(name, n))

    def answer(self, name: str, fault: str) -> None:
        """One answer."""
        content = self.archive.files.get(name)
        if fault.isdigit() or content is None:
            self.reply(int(fault or 404), b"no\n", {"Content-Type": "text/plain"})
        elif fault == "busy":
            self.reply(503, b"", {"Retry-After": "0"})
        elif fault == "later":
            self.reply(503, b"", {"Retry-After": "86400"})
        elif fault == "error page":
            self.reply(302, b"", {"Location": "/sorry"})
        elif fault == "elsewhere":
            self.reply(302, b"", {"Location": self.archive.redirect})
        elif fault == "text":
            self.reply(200, b"Sorry, our fault.\n" * (len(content) // 18), {"Content-Type": "application/fits"})
        elif fault == "silence":
            self.archive.closing.wait(self.archive.patience)
        elif name in self.archive.exclusive and self.one.authorization != f"token {self.archive.token}":
            self.reply(401, b"log in\n", {"Content-Type": "text/plain"})
        else:
            self.give(content, fault)

    def give(self, content: bytes, fault: str) -> None:
        """Send a file, or what a fault makes of it."""
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        if fault == "wrong bytes":
            middle = 2 * len(content) // 3
            content = (
                content[:middle] + bytes(255 - byte for byte in content[middle : middle + 3]) + content[middle + 3 :]
            )
        elif fault == "wrong length":
            content = content[:-2880] if len(self.archive.asked) % 2 else content + bytes(2880)
        elif fault == "other exposure":
            others = [other for name, other in self.archive.files.items() if name != self.one.name]
            content = next(other for other in others if len(other) == len(content))
        headers = {"Content-Type": "application/fits", "ETag": etag}
        start, status = self.one.start, 200
        same = self.headers.get("If-Range") == etag or (self.archive.is_silent and "If-Range" not in self.headers)
        if start is not None and same and fault != "whole again":
            shift = 2880 if fault == "wrong range" else 0
            if start >= len(content):
                self.reply(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            first = max(start - shift, 0)
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            content, status = content[first:], 206
        if fault == "unnamed" or self.archive.is_silent:
            del headers["ETag"]
        self.reply(status, content, headers, fault)

    def reply(self, status: int, content: bytes, headers: dict[str, str], fault: str = "") -> None:
        """Send headers and content; a fault may end it early."""
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        chunked = fault == "chunks" or fault.startswith("chunks ")
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if hasattr(self, "one"):
            self.one.status = status
        kind, _, fraction = fault.rpartition(" ")
        stop = (
            int(float(fraction) * len(content)) if kind in ("cut", "stall", "drip", "reset", "chunks") else len(content)
        )
        for first in range(0, stop, self.archive.block):
            block = content[first : min(first + self.archive.block, stop)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block) if chunked else block)
            self.one.sent += len(block) if status in (200, 206) and hasattr(self, "one") else 0
            if self.archive.rate:
                self.archive.closing.wait(len(block) / self.archive.rate)
        if fault == "chunks":
            self.wfile.write(b"0\r\n\r\n")
        elif kind == "stall":
            self.archive.closing.wait(self.archive.patience)
        elif kind == "drip":
            self.drip(content[stop:])
        elif kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def drip(self, content: bytes) -> None:
        """Send a byte now and then, so that no single wait is long."""
        for byte in content[: int(self.archive.patience / SPEEDLESS)]:
            self.wfile.write(bytes([byte]))
            self.one.sent += 1
            if self.archive.closing.wait(SPEEDLESS):
                return


class Server(ThreadingHTTPServer):
    """Many at once."""

    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error."""


@contextlib.contextmanager
def running(files: dict[str, bytes], *, tls: ssl.SSLContext | None = None, **manners: object) -> Iterator[Archive]:
    """An archive that listens on this machine; its `url` is the one that a file's name is appended to."""
    archive = Archive(files, **manners)  # type: ignore[arg-type]
    server = Server(("127.0.0.1", 0), type("Mine", (Handler,), {"archive": archive}))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    archive.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}/retrieve?product_name="
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield archive
    finally:
        archive.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
