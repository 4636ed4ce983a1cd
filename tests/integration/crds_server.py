"""A server that answers what the client of CRDS asks, from a cache on disk, and misbehaves on demand."""

import contextlib
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CONTEXT = "jwst_0001.pmap"


def unspoilt(_: str, content: bytes) -> bytes:
    """What is sent of a file where nothing is wrong."""
    return content


class CrdsServer(ThreadingHTTPServer):
    """Serves a cache on the loopback interface.

    Parameters
    ----------
    cache : Path
        Root of a cache with one context.

    Attributes
    ----------
    downloads : Counter
        Times that each file was asked for.
    spoil : callable
        ``spoil(name, content)`` gives what is sent instead of a file.
    """

    daemon_threads = True

    def __init__(self, cache: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {path.name: path for path in sorted(cache.glob("*/jwst/**/*")) if path.is_file()}
        self.downloads: Counter[str] = Counter()
        self.spoil: Callable[[str, bytes], bytes] = unspoilt

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, method: str, parameters: list) -> object:
        """The answer to one call."""
        if method == "get_server_info":
            return {
                "operational_context": CONTEXT, "edit_context": CONTEXT, "latest_context": CONTEXT,
                "bad_files_list": [], "force_remote_mode": False, "download_metadata": {},
                "mapping_url": {"unchecked": {"jwst": f"{self.url}/unchecked_get/mappings/jwst"}},
                "reference_url": {"unchecked": {"jwst": f"{self.url}/unchecked_get/references/jwst"}},
                "crds_version": {"str": "14.0.3"},
            }  # fmt: skip
        if method == "get_mapping_names":
            return [name for name in self.files if name.endswith("map")]
        if method == "get_file_info_map":
            return {name: self.info(name) for name in parameters[1]}
        raise NotImplementedError(method)

    def info(self, name: str) -> object:
        """What is told of a file."""
        if name not in self.files:
            return "NOT FOUND"
        content = self.files[name].read_bytes()
        return {"size": str(len(content)), "sha1sum": hashlib.sha1(content).hexdigest()}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: CrdsServer

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = self.server.answer(asked["method"], asked["params"])
        self.send(json.dumps({"error": None, "result": answer, "id": asked["id"]}).encode())

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if name not in self.server.files:
            self.send_error(404)
            return
        self.server.downloads[name] += 1
        self.send(self.server.spoil(name, self.server.files[name].read_bytes()))

    def send(self, content: bytes) -> None:
        """Send a body."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # who asked has seen enough
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def running(cache: Path) -> Iterator[CrdsServer]:
    """Run a server."""
    server = CrdsServer(cache)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
