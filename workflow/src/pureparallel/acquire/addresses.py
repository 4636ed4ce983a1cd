"""Which addresses may be asked, and which of them may be shown the token of MAST.

The token goes to MAST alone, over https (or to this machine, where only tests listen), in the header that MAST
documents (https://outerspace.stsci.edu/display/MASTDOCS/API+Curl+Download): never into an address, a message or a file.
"""

import re
from urllib.parse import quote, urljoin, urlsplit

from .. import UserError

LOOPBACK = re.compile(r"localhost|127\.[0-9]+\.[0-9]+\.[0-9]+|::1")
ARCHIVE_HOST = re.compile(r"([a-z0-9-]+\.)*stsci\.edu")
"""Hosts that a token of MAST may go to, where they are the configured one."""

PRODUCT = re.compile(r"(mast:)?([A-Za-z0-9][A-Za-z0-9_.-]*/)*[A-Za-z0-9][A-Za-z0-9_.-]*")
NEW_TOKEN = "make a new one at https://auth.mast.stsci.edu/tokens and set MAST_API_TOKEN to it"


def host_of(url: str) -> str:
    """The host of an address."""
    return urlsplit(url).hostname or ""


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    return bool(LOOPBACK.fullmatch(host_of(url)))


def checked_url(url: str) -> str:
    """An address that may be asked: https, or http on this machine; without a name, a password or odd characters.

    Raises
    ------
    UserError
        For others.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - refuses what is no number
    except ValueError as error:
        raise UserError(f"{url!r} is not an address ({error})") from error
    if "@" in parts.netloc:
        raise UserError("an address holds a name or a password before '@': leave them out")
    if not re.fullmatch(r"[!-~]+", url) or re.search(r'[\\"<>^`{|}]', url) or not parts.hostname:
        raise UserError(f"{url!r} is not an address; give https://<host>/<path>")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(url)):
        raise UserError(f"{parts.scheme}://{parts.hostname}: only https is trusted, and http on this machine")
    return url


def product_url(base: str, product: str, exposure: str) -> str:
    """The address of an exposure's raw file.

    Parameters
    ----------
    base : str
        The archive's address, which the product's name is appended to.
    product : str
        The file's name in the archive, such as ``<dataset>/<exposure>_uncal.fits``.
    exposure : str

    Raises
    ------
    UserError
        If the product is not that exposure's, or the address may not be asked.
    """
    if not PRODUCT.fullmatch(product) or ".." in product or product.rpartition("/")[2] != f"{exposure}_uncal.fits":
        raise UserError(f"uri: {product!r} is not the archive's name of {exposure}_uncal.fits; correct the manifest")
    return checked_url(base + quote(product, safe=""))


def following(url: str, location: str) -> str:
    """Where a redirect leads.

    Raises
    ------
    UserError
        If that address may not be asked, or is less safe than `url`.
    """
    try:
        target = checked_url(urljoin(url, location))
    except (UserError, ValueError):
        raise UserError(f"a redirect of {host_of(url)} leads to an address that is not trusted") from None
    if is_loopback(target) and not is_loopback(url):
        raise UserError(f"a redirect of {host_of(url)} leads to this machine")
    return target


def checked_token(token: str) -> str:
    """The token without blanks around it; UserError, which does not show it, for what cannot be one."""
    token = token.strip()
    if not re.fullmatch(r"[!-~]{0,4096}", token):
        raise UserError(f"MAST_API_TOKEN holds characters that no token has; {NEW_TOKEN}")
    return token


def may_have_token(url: str, base: str) -> bool:
    """Whether a request may carry the token: to the very host that is configured, which is MAST's or this machine."""
    asked, own = urlsplit(url), urlsplit(base)
    if (asked.scheme, asked.hostname, asked.port) != (own.scheme, own.hostname, own.port):
        return False
    return is_loopback(url) or (asked.scheme == "https" and bool(ARCHIVE_HOST.fullmatch(host_of(url))))
