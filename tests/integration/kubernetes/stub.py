"""A stand-in for the API of Kubernetes: what Snakemake's executor asks of it, and no more. It is no Kubernetes.

Every job's container is a process of this machine, in an empty folder, with nothing in its environment but what the
image and the job's secret give it. So the executor, the sources and products in object storage, and the jobs are real;
images, scheduling and limits are not.
"""

import base64
import http.server
import json
import re
import subprocess
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

CORE = r"/api/v1/namespaces/[^/]+"
BATCH = r"/apis/batch/v1/namespaces/[^/]+"


class Stub:
    """The API, and its pods.

    Parameters
    ----------
    folder : Path
        Of the pods' folders and logs.
    image : mapping of str to str
        The environment that the image gives its processes.
    """

    def __init__(self, folder: Path, image: dict[str, str]) -> None:
        self.folder, self.image = folder, image
        self.secrets: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.submitted: list[dict[str, Any]] = []
        self._codes: dict[str, int] = {}
        folder.mkdir(parents=True)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def kubeconfig(self) -> str:
        """Configuration of a client, as JSON, which is YAML."""
        cluster = {"name": "stub", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}
        context = {"name": "stub", "context": {"cluster": "stub", "user": "stub"}}
        content = {"clusters": [cluster], "contexts": [context], "users": [{"name": "stub", "user": {}}]}
        return json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "stub", **content})

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """Status and content of the answer to a request."""
        if re.fullmatch(f"{CORE}/secrets", path) and method == "POST":
            self.secrets[body["metadata"]["name"]] = body
            return 201, body
        if found := re.fullmatch(f"{CORE}/secrets/(.+)", path):
            self.secrets.pop(found[1], None)
            return 200, {"kind": "Status", "status": "Success"}
        if re.fullmatch(f"{BATCH}/jobs", path) and method == "POST":
            return 201, self._submit(body)
        if (found := re.fullmatch(f"{BATCH}/jobs/([^/]+)(?:/status)?", path)) and found[1] in self.jobs:
            if method == "DELETE":
                del self.jobs[found[1]]
                return 200, {"kind": "Status", "status": "Success"}
            return 200, self.jobs[found[1]]
        if re.fullmatch(f"{CORE}/pods", path):
            return 200, self._pods(query["labelSelector"][0].partition("=")[2])
        if found := re.fullmatch(f"{CORE}/pods/pod-([^/]+)/log", path):
            return 200, (self.folder / f"{found[1]}.log").read_text()
        if found := re.fullmatch(f"{CORE}/pods/([^/]+)", path):
            return 200, {"kind": "Pod", "metadata": {"name": found[1]}}
        return 404, {"kind": "Status", "reason": "NotFound", "code": 404}

    def _submit(self, body: dict[str, Any]) -> dict[str, Any]:
        body["status"] = {"active": 1}
        self.jobs[body["metadata"]["name"]] = body
        self.submitted.append(body)
        threading.Thread(target=self._run, args=(body,), daemon=True).start()
        return body

    def _run(self, job: dict[str, Any]) -> None:
        name, (container,) = job["metadata"]["name"], job["spec"]["template"]["spec"]["containers"]
        pod = self.folder / name
        pod.mkdir()
        environment = self.image | {"HOME": str(pod)}
        for variable in container.get("env") or ():
            source = variable["valueFrom"]["secretKeyRef"]
            value = self.secrets[source["name"]]["data"][source["key"]]
            environment[variable["name"]] = base64.b64decode(value).decode()
        with (self.folder / f"{name}.log").open("w") as log:
            command = [*container["command"], *container["args"]]
            code = subprocess.run(command, cwd=pod, env=environment, stdout=log, stderr=log, check=False).returncode
        self._codes[name] = code
        job["status"] = {"failed": 1} if code else {"succeeded": 1}

    def _pods(self, job: str) -> dict[str, Any]:
        items = []
        if job in self.jobs:
            code = self._codes.get(job)
            state = {"running": {}} if code is None else {"terminated": {"exitCode": code}}
            container = {"name": "snakemake", "image": "i", "imageID": "i", "ready": True, "restartCount": 0}
            status = {"phase": "Running", "containerStatuses": [container | {"state": state}]}
            items = [{"metadata": {"name": f"pod-{job}"}, "status": status}]
        return {"kind": "PodList", "apiVersion": "v1", "items": items}

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def _reply(self) -> None:
                address = urlsplit(self.path)
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                code, content = stub.answer(self.command, address.path, parse_qs(address.query), body)
                is_text = isinstance(content, str)
                data = (content if is_text else json.dumps(content)).encode()
                self.send_response(code)
                self.send_header("Content-Type", "text/plain" if is_text else "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = _reply

        return Handler
