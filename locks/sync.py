"""Sync the PyPI half of the environment this Python belongs to: `python locks/sync.py`.

Installs exactly what locks/<environment>.txt pins, every file checked against its sha256, then the package of
this repository as editable, and leaves a stamp in the environment. While the stamp matches, later runs return
at once and write nothing. The pixi task `install` and the launcher `pixiw` both run this file; it needs the
standard library and uv (0.5.1 or newer).

The stamp says "unfinished" from before the first change until after the last, so that a run that was killed, or
that found the disk full, is seen by the next one, which installs everything again.
"""

# os.path: pixiw imports this at every start, and pathlib would take a third of it.
from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

FORMAT = 1  # raise it to make every environment sync again
ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
STAMP = "locks-synced.json"
SYSTEM_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


class Refusal(Exception):
    """A condition the user can mend; the message says how."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def load_toml(path: str) -> dict[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise Refusal(f"{path}: not valid TOML: {error}") from None


def lock_files(root: str, environment: str) -> list[str]:
    """The pins of an environment, and (where there are any) of what its source packages are built with."""
    folder = os.path.join(root, "locks")
    build = os.path.join(folder, "build.txt")
    return [os.path.join(folder, f"{environment}.txt"), *([build] if os.path.exists(build) else [])]


def needs_compiler(root: str, environment: str) -> bool:
    """Whether pixi.toml gives the environment a C compiler; a virtual environment takes the system's."""
    manifest = load_toml(os.path.join(root, "pixi.toml"))
    features = manifest.get("environments", {}).get(environment, [])
    features = features.get("features", []) if isinstance(features, dict) else features
    return any("c-compiler" in manifest["feature"][name].get("dependencies", {}) for name in features)


def package(root: str) -> dict[str, Any] | None:
    """What in pyproject.toml decides how the package is installed; None where there is no package."""
    path = os.path.join(root, "pyproject.toml")
    if not os.path.exists(path):
        return None
    data = load_toml(path)
    if "project" not in data or "build-system" not in data:
        return None
    return {
        "project": data["project"],
        "build": data["build-system"],
        "hatch": data.get("tool", {}).get("hatch"),
    }


def wanted(root: str, environment: str, prefix: str) -> dict[str, Any]:
    """What the stamp of a synced environment says."""
    digest = hashlib.sha256()
    for path in lock_files(root, environment):
        try:
            with open(path, "rb") as file:
                digest.update(file.read())
        except FileNotFoundError:
            raise Refusal(f"environment {environment}: there is no {path}. Write it with: pixi run lock") from None
    described = json.dumps(package(root), sort_keys=True, default=str)
    return {
        "format": FORMAT,
        "environment": environment,
        "pins": digest.hexdigest(),
        "package": hashlib.sha256(described.encode()).hexdigest(),
        "prefix": os.path.realpath(prefix),
        "root": os.path.realpath(root),
    }


def read_stamp(prefix: str) -> dict[str, Any] | None:
    try:
        with open(os.path.join(prefix, STAMP), encoding="utf-8") as file:
            stamp = json.load(file)
        return stamp if isinstance(stamp, dict) else {"unfinished": "pins"}
    except ValueError:
        return {"unfinished": "pins"}
    except (FileNotFoundError, NotADirectoryError):
        return None


def why_not_synced(root: str, environment: str, prefix: str) -> str | None:
    """Why an environment has to be synced first, in words that follow its name; None when it is ready."""
    stamp = read_stamp(prefix)
    if stamp is None:
        return "is not installed"
    want = wanted(root, environment, prefix)
    if stamp.get("unfinished"):
        return "is only half installed"
    if any(stamp.get(key) != want[key] for key in ("prefix", "root", "environment")):
        return f"was installed for {stamp.get('prefix')}, and has moved"
    if stamp.get("pins") != want["pins"]:
        return f"was installed from an earlier locks/{environment}.txt"
    if stamp != want | {"python": stamp.get("python")}:
        return "was installed from an earlier pyproject.toml or locks/sync.py"
    return None


def write_stamp(prefix: str, content: dict[str, Any]) -> None:
    """Replace the stamp in one step: a reader sees the old or the new one, never a part."""
    path = os.path.join(prefix, STAMP)
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


@contextlib.contextmanager
def locked(root: str, name: str) -> Iterator[int]:
    """Hold `.pixiw/<name>.lock`, waiting for whoever has it; gives the descriptor to hand to child processes.

    A child that outlives a killed parent keeps the lock through that descriptor: uv must have ended
    before the next one starts.
    """
    import fcntl

    folder = os.path.join(root, ".pixiw")
    os.makedirs(folder, exist_ok=True)
    ignore = os.path.join(folder, ".gitignore")
    if not os.path.exists(ignore):
        with open(ignore, "w", encoding="utf-8") as file:
            file.write("*\n")
    with open(os.path.join(folder, f"{name}.lock"), "a+", encoding="utf-8") as file:
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                say(f"{name}: {file.read().strip() or 'another process'} is installing it: waiting")
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
                raise
            say(f"{name}: {folder} has no file locks: see to it that nothing else installs now")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}\n")
        file.flush()
        yield file.fileno()


def record_backend(root: str, name: str) -> str:
    """Record in `.pixiw/backend` which of pixi and venv made the environments; the first choice stands.

    Jobs read it, also where pixi was called without pixiw.
    """
    path = os.path.join(root, ".pixiw", "backend")
    with locked(root, "pixiw"):
        if not os.path.exists(path):
            with open(f"{path}.new", "w", encoding="utf-8") as file:
                file.write(name + "\n")
            os.replace(f"{path}.new", path)
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def made_by(root: str, prefix: str) -> str:
    """Which of pixi and venv an environment's folder belongs to."""
    inside = os.path.realpath(prefix).startswith(os.path.join(os.path.realpath(root), ".pixi") + os.sep)
    return "pixi" if inside else "venv"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def uv_environment() -> dict[str, str]:
    """The environment for uv. It takes the system's certificates: institutes' proxies add their own there."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")}
    named = ("SSL_CERT_FILE", "SSL_CERT_DIR", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS")
    if not any(name in env for name in named) and any(map(os.path.exists, SYSTEM_CERTIFICATES)):
        env["UV_NATIVE_TLS"] = env["UV_SYSTEM_CERTS"] = "true"  # the older and the newer name
    return env


def free_space(*folders: str) -> tuple[str, bool]:
    """Free space where an installation writes, as text, and whether any of it is nearly used up."""
    import shutil

    parts, tight = [], False
    for folder in folders:
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder) or "/"
        free = shutil.disk_usage(folder).free
        tight = tight or free < 300e6
        parts.append(f"{free / 1e6:,.0f} MB in {folder}")
    return ", ".join(parts), tight


def probe_space(folder: str) -> None:
    """Raise OSError if the disk, or the quota, is used up: Python 3.12 writes half a bytecode file, silently."""
    path = os.path.join(folder, f"{STAMP}.probe")
    try:
        with open(path, "wb") as file:
            file.write(os.urandom(1 << 18))
            file.flush()
            os.fsync(file.fileno())
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


def space_message(prefix: str) -> tuple[str, bool]:
    import tempfile

    cache = os.environ.get("UV_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "uv"
    )
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError:  # no temporary folder can be written to: full, too
        temporary = prefix
    return free_space(prefix, cache, temporary)


def check_compiler(environment: str) -> None:
    import shlex
    import shutil
    import sysconfig

    words = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if not shutil.which(words[0]):
        raise Refusal(
            f"environment {environment}: some of its packages are built from C sources, and there is no C "
            f"compiler ({words[0]}). Install gcc or clang, load your cluster's compiler module, or set CC"
        )


def uv(arguments: list[str], *, environment: str, prefix: str, lock: int) -> None:
    """Run uv in the project's folder; its progress goes to the terminal."""
    import shutil
    import subprocess

    program = shutil.which("uv")
    if not program:
        raise Refusal(f"environment {environment}: uv is not on PATH. Run: ./pixiw install -e {environment}")
    # The environment is this project's alone, whoever marked its Python as managed.
    command = [program, "pip", *arguments, "--python", sys.executable, "--break-system-packages"]
    code = subprocess.run(command, cwd=ROOT, env=uv_environment(), pass_fds=[lock], check=False).returncode
    if code:
        text, tight = space_message(prefix)
        cause = "the disk is full or nearly so" if tight else f"uv ended with code {code}, see above"
        raise Refusal(
            f"environment {environment}: not installed: {cause}. Free space: {text}. Behind a mirror, name it "
            f"in UV_INDEX_URL. When mended, run again: ./pixiw install -e {environment}"
        )


def install_package(environment: str, prefix: str, lock: int) -> None:
    """Install this repository's package as editable, compile it, and see that it can be imported."""
    import compileall
    import subprocess

    description = package(ROOT)
    if description is None:
        return
    name = description["project"]["name"]
    # Its build back end is among the pins: nothing is downloaded to build it.
    again = ["--reinstall-package", name, "--refresh-package", name]
    options = ["--quiet", "--no-deps", "--no-build-isolation", *again]
    uv(["install", *options, "--editable", "."], environment=environment, prefix=prefix, lock=lock)
    wheel = ((description["hatch"] or {}).get("build", {}).get("targets", {})).get("wheel", {})
    for folder in wheel.get("packages", []):
        compileall.compile_dir(os.path.join(ROOT, folder), quiet=1, force=True)
    check = f"import importlib.metadata, {name.replace('-', '_')}; importlib.metadata.version({name!r})"
    result = subprocess.run([sys.executable, "-I", "-c", check], capture_output=True, text=True, check=False)
    if result.returncode:
        raise Refusal(f"environment {environment}: the package {name} does not import:\n{result.stderr.strip()}")


def sync(environment: str, prefix: str, quiet: bool = False) -> None:
    """Bring an environment to its pins, unless it is there already."""
    stamp = read_stamp(prefix)
    if why_not_synced(ROOT, environment, prefix) is None and stamp and stamp["python"] == sys.version:
        if not quiet:
            say(f"environment {environment}: ready")
        return
    with locked(ROOT, environment) as lock:
        stamp = read_stamp(prefix)
        want = wanted(ROOT, environment, prefix) | {"python": sys.version}
        if stamp == want:
            say(f"environment {environment}: ready, another process installed it")
            return
        files = lock_files(ROOT, environment)
        if needs_compiler(ROOT, environment):
            check_compiler(environment)
        with open(files[0], encoding="utf-8") as file:
            packages = sum("==" in line and not line.startswith((" ", "#")) for line in file)
        # A killed run, a moved folder, another Python: what is there is broken, or starts the wrong Python.
        keys = ("prefix", "root", "python", "format")
        whole = stamp is not None and (stamp.get("unfinished") == "pins" or any(stamp.get(k) != want[k] for k in keys))
        begin = time.monotonic()
        verb = "repairing" if whole else "installing"
        say(f"environment {environment}: {verb} {packages} packages, usually one or two minutes")
        write_stamp(prefix, want | {"unfinished": "pins"})
        arguments = ["sync", "--require-hashes", "--compile-bytecode", *["--reinstall"] * whole]
        for constraints in files[1:]:
            arguments += ["-b", constraints]
        uv([*arguments, files[0]], environment=environment, prefix=prefix, lock=lock)
        probe_space(prefix)
        write_stamp(prefix, want | {"unfinished": "package"})
        install_package(environment, prefix, lock)
        probe_space(prefix)
        record_backend(ROOT, made_by(ROOT, prefix))
        write_stamp(prefix, want)
        say(f"environment {environment}: ready after {time.monotonic() - begin:.0f} s")


def main(arguments: list[str]) -> int:
    import argparse

    parser = argparse.ArgumentParser(prog="locks/sync.py", description="Install the pins of this environment.")
    parser.add_argument("environment", nargs="?", default=os.environ.get("PIXI_ENVIRONMENT_NAME"))
    parser.add_argument("--prefix", default=os.environ.get("CONDA_PREFIX") or sys.prefix, help="its folder")
    parser.add_argument("--quiet", action="store_true", help="say nothing when there is nothing to do")
    options = parser.parse_args(arguments)
    environment, prefix = options.environment, options.prefix
    if not environment:
        parser.error("which environment? Run: pixi run -e ENVIRONMENT install, or ./pixiw install -e ENVIRONMENT")
    try:
        if os.path.realpath(prefix) != os.path.realpath(sys.prefix):
            raise Refusal(f"environment {environment}: {prefix} is not the environment of {sys.executable}")
        if os.environ.get("PIXIW_AS_IS"):  # set by `pixiw run --as-is`: use what is there
            reason = why_not_synced(ROOT, environment, prefix)
            if reason:
                raise Refusal(f"environment {environment} {reason}. Run: ./pixiw install -e {environment}")
            return 0
        sync(environment, prefix, options.quiet)
    except Refusal as error:
        say(f"sync: {error}")
        return error.code
    except OSError as error:
        message = f"sync: environment {environment}: {error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message += f". Free space: {space_message(prefix)[0]}"
        say(f"{message}. When mended, run: ./pixiw install -e {environment}")
        return 1
    except KeyboardInterrupt:
        say(f"sync: environment {environment}: interrupted; the next run installs it again")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
