"""Object storage and clouds: which environment a run needs for them, and whether the store can be used.

Jobs start from the environment that Snakemake was started in, and Snakemake imports every plugin there at each start.
So the default environment has none of these plugins; a run that asks for them goes on in one that has.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from . import ROOT, UserError

PREFIX = "PUREPARALLEL_STORAGE"
"""Environment variable with the place of all products, ``s3://<bucket>/<prefix>``; profiles refer to it."""

ENDPOINT, REGION, ACCESS_KEY, SECRET_KEY, TOKEN = (
    f"SNAKEMAKE_STORAGE_S3_{name}" for name in ("ENDPOINT_URL", "REGION", "ACCESS_KEY", "SECRET_KEY", "TOKEN")
)

ENVIRONMENTS = {"googlebatch": "batch", "aws-batch": "batch", "kubernetes": "cloud", "s3": "cloud"}
"""Which environment has the plugin for an executor or for a kind of storage; the heaviest one first."""

KEYS = ("executor", "default-storage-provider", "default-storage-prefix")


def wanted(arguments: list[str]) -> dict[str, str]:
    """Executor, kind of storage and its prefix, as profiles and command line ask for them.

    Raises
    ------
    UserError
        If a key of the store stands on the command line, where everybody on the machine can read it.
    """
    import yaml
    from snakemake.cli import get_profile_dir

    for option, variable in (("access-key", ACCESS_KEY), ("secret-key", SECRET_KEY), ("token", TOKEN)):
        if any(argument.partition("=")[0] == f"--storage-s3-{option}" for argument in arguments):
            raise UserError(f"--storage-s3-{option}: others can read a command line; set {variable} instead")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--profile", nargs="+", action="extend", default=[])
    parser.add_argument("--executor", "-e")
    for key in KEYS[1:]:
        parser.add_argument(f"--{key}")
    given, _ = parser.parse_known_args(arguments)
    found: dict[str, str] = {}
    for profile in given.profile or os.environ.get("SNAKEMAKE_PROFILE", "").split(","):
        entry = get_profile_dir(profile) if profile not in ("", "none") else None
        content = yaml.safe_load(entry[1].read_text(encoding="utf-8")) if entry else {}
        found |= {key: str(content[key]) for key in KEYS if key in content}
    on_command_line = {key: getattr(given, key.replace("-", "_")) for key in KEYS}
    found |= {key: value for key, value in on_command_line.items() if value is not None}
    return {key: os.path.expandvars(value) for key, value in found.items()}


def environment(settings: Mapping[str, str]) -> str | None:
    """Which environment a run must go on in; None where this one has its plugins."""
    plugins = {
        settings.get("executor", ""): "executor",
        settings.get("default-storage-provider", ""): "storage",
    }
    for name, environment in ENVIRONMENTS.items():
        if name in plugins and find_spec(f"snakemake_{plugins[name]}_plugin_{name.replace('-', '_')}") is None:
            return environment
    return None


def go_on_in(environment: str, arguments: list[str]) -> None:
    """Start again in another environment, installed where it is not; returns only where that was tried before."""
    if os.environ.get("PIXI_ENVIRONMENT_NAME") == environment:
        return
    as_is = ["--as-is"] if os.environ.get("PIXIW_AS_IS") else []
    run = [str(ROOT / "pixiw"), "run"]
    code = subprocess.run([*run, *as_is, "-e", environment, "install"], check=False).returncode
    if code:
        sys.exit(code)
    os.execv(run[0], [*run, "--as-is", "-e", environment, "python", "-m", "pureparallel.launch", *arguments])


def check(settings: Mapping[str, str]) -> None:
    """See that the bucket is there and may be used; products in other kinds of storage are not looked at.

    Raises
    ------
    UserError
        That says what to set, make or ask for. No key is ever told.
    """
    if settings.get("default-storage-provider") != "s3":
        return
    prefix = settings.get("default-storage-prefix", "")
    place = urlsplit(prefix)
    if place.scheme != "s3" or not place.netloc:
        told = "is not set" if prefix in ("", f"${PREFIX}") else f"is {prefix}"
        raise UserError(f"{PREFIX}: {told}; it must say where products are to lie, as s3://<bucket>/<prefix>")
    from boto3 import client  # type: ignore[import-not-found]
    from botocore.config import Config  # type: ignore[import-not-found]
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError  # type: ignore[import-not-found]

    where = f"the object store at {urlsplit(os.environ.get(ENDPOINT, 'https://s3.amazonaws.com')).netloc.rpartition('@')[2]}"
    try:
        settings_of_client = Config(
            connect_timeout=10, read_timeout=20, retries={"max_attempts": 3, "mode": "standard"}
        )
        client("s3", **_access(), config=settings_of_client).head_bucket(Bucket=place.netloc)
    except NoCredentialsError:
        raise UserError(f"{ACCESS_KEY}, {SECRET_KEY}: not set; {where} wants to know who asks") from None
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "404":
            raise UserError(
                f"{prefix}: {where} has no bucket {place.netloc}; make it there, or correct {PREFIX}"
            ) from None
        if code in ("400", "401", "403"):
            raise UserError(
                f"{ACCESS_KEY}, {SECRET_KEY}: {where} refuses them, or does not let them use bucket {place.netloc};"
                " correct them, or ask whom the bucket belongs to"
            ) from None
        raise UserError(f"{prefix}: {where} answers with {code}; try again later, or ask whom it belongs to") from None
    except (BotoCoreError, ValueError) as error:
        raise UserError(
            f"{ENDPOINT}: {where} does not answer ({type(error).__name__}); correct the address, or try again later"
        ) from None


def _access() -> dict[str, Any]:
    """Address and keys as the environment gives them; boto3 looks for what is missing where it usually does."""
    given = {
        "endpoint_url": os.environ.get(ENDPOINT),
        "region_name": os.environ.get(REGION, "us-east-1"),
        "aws_access_key_id": os.environ.get(ACCESS_KEY),
        "aws_secret_access_key": os.environ.get(SECRET_KEY),
        "aws_session_token": os.environ.get(TOKEN),
    }
    return {name: value for name, value in given.items() if value}
