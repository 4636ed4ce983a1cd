"""A real object store on this machine, for tests: OpenStack Swift from Debian's packages, which speaks S3.

Its five services are children of this process, listen on loopback, and keep all their files in one folder. They see it
in place of /etc/swift by a mount of their own, so that outside of it they leave nothing.
"""

import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from ..slurm.cluster import free_ports, wait

PACKAGES = ("swift-proxy", "swift-account", "swift-container", "swift-object", "memcached")
SERVICES = ("account", "container", "object")
ETC = Path("/etc/swift")

ACCESS_KEY, SECRET_KEY = "survey:tester", "a-key-that-must-never-be-seen"

SWIFT_CONF = """
[swift-hash]
swift_hash_path_prefix = test
swift_hash_path_suffix = test
[storage-policy:0]
name = Policy-0
default = yes
[swift-constraints]
max_header_size = 16384
"""

STORAGE_CONF = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = root
devices = {folder}/srv
mount_check = false
workers = 0
log_level = WARNING
log_address = {folder}/no-log
fallocate_reserve = 0
disable_fallocate = true
[pipeline:main]
pipeline = {service}-server
[app:{service}-server]
use = egg:swift#{service}
[{service}-replicator]
[{service}-auditor]
[{service}-updater]
recon_cache_path = {folder}/cache
"""

PROXY_CONF = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = root
workers = 0
log_level = WARNING
log_address = {folder}/no-log
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
error_suppression_limit = 10000
[filter:tempauth]
use = egg:swift#tempauth
user_{user} = {secret} .admin
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""


def why_not() -> str:
    """Why no Swift can be started here; empty where it can. Debian's packages are installed where they are missing."""
    if os.geteuid() != 0:
        return "starting a Swift takes root"
    if shutil.which("unshare") is None or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        return "mounts of one's own cannot be made here (unshare --mount)"
    if all(map(shutil.which, ("swift-proxy-server", "swift-object-server", "swift-ring-builder", "memcached"))):
        return ""
    if shutil.which("apt-get") is None:
        return "Swift is not installed, and there is no apt-get to install it with"
    install = ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (install, ["apt-get", "update"], install):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if command == install and done.returncode == 0:
            return ""
    return f"apt-get could not install {' '.join(PACKAGES)}: {done.stderr.strip()[-300:]}"


def answers(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


class Swift:
    """An object store with one user.

    Parameters
    ----------
    folder : Path
        Of configuration, logs and objects.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("etc", "srv/d1", "cache", "log"):
            (folder / name).mkdir(parents=True)
        *ports, self._memcached, port = free_ports(len(SERVICES) + 2)
        self._ports = dict(zip(SERVICES, ports, strict=True))
        self.endpoint = f"http://127.0.0.1:{port}"
        self._configure(port)

    @property
    def environment(self) -> dict[str, str]:
        """What a user of the store has in the environment."""
        settings = {"endpoint_url": self.endpoint, "region": "us-east-1"}
        settings |= {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        return {f"SNAKEMAKE_STORAGE_S3_{name.upper()}": value for name, value in settings.items()}

    def start(self) -> None:
        """Start what does not run, and wait until it answers."""
        ports = ["-l", "127.0.0.1", "-p", str(self._memcached), "-U", "0", "-m", "32"]
        self._start("memcached", ["memcached", "-u", "nobody", *ports])
        for name in (*SERVICES, "proxy"):
            see = f"mount --bind '{self.folder / 'etc'}' {ETC}"
            serve = f"exec swift-{name}-server {ETC}/{name}-server.conf"
            if name == "proxy":
                wait(lambda: all(map(answers, self._ports.values())), "the services behind Swift's proxy")
            self._start(name, ["unshare", "--mount", "sh", "-c", f"{see} && {serve}"])
        wait(lambda: self._health() == b"OK", "Swift's proxy")

    def kill(self, *names: str) -> None:
        """Kill some of its services without warning, else all; first the proxy, which would make excuses for others."""
        for name in names or tuple(reversed(self.daemons)):
            process = self.daemons.pop(name)
            process.kill()
            process.wait()

    def make(self, bucket: str) -> None:
        """Make a bucket."""
        self._authorised("PUT", f"/{bucket}")

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Store an object."""
        self._authorised("PUT", f"/{bucket}/{key}", content)

    def get(self, bucket: str, key: str) -> bytes:
        """Content of an object."""
        return self._authorised("GET", f"/{bucket}/{key}")

    def buckets(self) -> list[str]:
        """Names of all buckets."""
        return self._authorised("GET", "").decode().splitlines()

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Keys of all objects below a prefix, sorted."""
        return self._authorised("GET", f"/{bucket}?limit=10000&prefix={prefix}").decode().splitlines()

    def _authorised(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """A request in Swift's own words, which need no signature."""
        login = {"X-Auth-User": ACCESS_KEY, "X-Auth-Key": SECRET_KEY}
        with urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/auth/v1.0", headers=login)) as answer:
            headers = {"X-Auth-Token": answer.headers["X-Auth-Token"]}
            place = answer.headers["X-Storage-Url"]
        request = urllib.request.Request(place + path, method=method, headers=headers, data=body)
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def _health(self) -> bytes:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthcheck", timeout=5) as answer:
                return answer.read()
        except (urllib.error.URLError, ConnectionError):
            return b""

    def _configure(self, proxy: int) -> None:
        etc = self.folder / "etc"
        (etc / "swift.conf").write_text(SWIFT_CONF)
        for service, port in self._ports.items():
            (etc / f"{service}-server.conf").write_text(
                STORAGE_CONF.format(folder=self.folder, service=service, port=port)
            )
            self._make_ring(service, port)
        user = ACCESS_KEY.replace(":", "_")
        (etc / "proxy-server.conf").write_text(
            PROXY_CONF.format(folder=self.folder, port=proxy, memcached=self._memcached, user=user, secret=SECRET_KEY)
        )

    def _make_ring(self, service: str, port: int) -> None:
        """One copy of everything, on one device."""
        builder = f"{service}.builder"
        for words in (["create", "4", "1", "0"], ["add", f"r1z1-127.0.0.1:{port}/d1", "1"], ["rebalance"]):
            command = ["swift-ring-builder", builder, *words]
            done = subprocess.run(command, cwd=self.folder / "etc", capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr

    def _start(self, name: str, command: list[str]) -> None:
        if name in self.daemons:
            return
        with (self.folder / "log" / name).open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
