"""Hide passwords and tokens in addresses and messages.

Secrets are found by their position in an address. Libraries may also repeat them alone, so the
secrets of known addresses and of environment variables are hidden wherever they occur, unless they
are so short that ordinary words would be hidden as well.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from benchmark.printable import is_unprintable

MASK = "***"

_SHORTEST = 4
"""Number of characters below which a secret is hidden only in addresses."""

_LONG = 8
"""Number of characters from which a secret is hidden even within a longer word."""

_SHORTEST_TOKEN = 16
"""Number of characters from which a user name without a password is taken for a token."""

_CREDENTIALS = re.compile(r"(?<=://)(?!/)\S*@")
_LOCATION = re.compile(r"(?:\w://|url: /)\S+")
_QUERY_PART = re.compile(r"(?<=[?&#;])[^&;\s?#]+")
"""A part of a query or a fragment: a name with its value, or a value without a name."""

_MASKED = re.compile(r"\*\*\*(?!\w)")

_SECRET_NAME = re.compile(r"pass|pwd|token|secret|cred|key|sig|auth", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(r"(PASSWORD|PASSWD|TOKEN|SECRET|API_?KEY|ACCESS_KEY)$", re.IGNORECASE)


def shown(text: str, *addresses: str) -> str:
    """Mask the secrets in an address, or in a message that contains addresses.

    User and password of an address, and the values in its query, are replaced by `***`.

    Args:
        text: The text, of one or more lines.
        addresses: Addresses whose secrets the text may contain alone.
    """
    text = _CREDENTIALS.sub(f"{MASK}@", text)
    text = _LOCATION.sub(_without_query, text)

    for secret in sorted({*_known(addresses)}, key=len, reverse=True):
        text = _without(text, secret)
    return text


def _without_query(location: re.Match[str]) -> str:
    """Mask the query of an address; in that of a file, only values that have a name."""
    is_file = ":///" in location[0]

    def masked(part: re.Match[str]) -> str:
        name, equals, value = part[0].partition("=")
        if not equals:
            name, value = "", name
        if _MASKED.match(value) or (is_file and not equals):
            return part[0]
        return f"{name}{equals}{MASK}"

    return _QUERY_PART.sub(masked, location[0])


def shown_address(address: str) -> str:
    """Return an address as it may be shown, even if it cannot be parsed."""
    scheme, separator, _ = address.partition("://")
    if not separator:
        return MASK if re.search(r"[@?#\s]", address) else address
    if _is_local(address) or address_problem(address) is None:
        return shown(address)
    return f"{scheme}://{MASK}" if scheme.isalnum() else MASK


def address_problem(address: str) -> str | None:
    """Return why an address of a server cannot be parsed with certainty, or None if it can.

    Where a password ends would otherwise be a guess, and the wrong part would be shown. The text
    contains nothing of the address.
    """
    if any(character.isspace() or is_unprintable(character) for character in address):
        return "contains a space or a control character; percent-encode it, as %20 for a space"
    if "\\" in address:
        return r"contains a \; percent-encode it as %5C"

    encoded = "percent-encode the characters @ : / ? # [ ] of a password, as %40 for @"
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return f"has no valid host or port; {encoded}"

    if address.count("@") > 1 or ("@" in address and "@" not in parts.netloc):
        return f"contains an @ that does not end a password; {encoded}"
    if not host:
        return f"has no host; {encoded}"
    return None


def has_secrets(address: str) -> bool:
    """Return whether an address may contain a user name, a password, a query or a fragment."""
    marks = "?" if _is_local(address) else "@?#"
    return any(mark in address for mark in marks)


def _is_local(address: str) -> bool:
    """Return whether an address names a file: it has no host."""
    scheme, separator, rest = address.partition("://")
    kind = scheme.partition("+")[0]
    return bool(separator) and kind in ("sqlite", "file") and rest.startswith("/")


def _known(addresses: tuple[str, ...]) -> Iterator[str]:
    """Yield the secrets of addresses and of environment variables, in all forms."""
    for name, value in os.environ.items():
        if _SECRET_VARIABLE.search(name):
            yield from _forms(value)
        if "@" in value and "://" in value:
            addresses = (*addresses, value)

    for address in addresses:
        yield from _secrets(address)


def _secrets(address: str) -> Iterator[str]:
    """Yield the password of an address and the secrets in its query, in all forms."""
    try:
        parts = urlsplit(address)
        user, password = parts.username or "", parts.password or ""
        values = [value for name, value in parse_qsl(parts.query) if _SECRET_NAME.search(name)]
    except ValueError:
        return

    if password:
        plain = f"{unquote(user)}:{unquote(password)}"
        yield base64.b64encode(plain.encode()).decode()
    token = user if len(user) >= _SHORTEST_TOKEN else ""
    for secret in (password or token, *values):
        yield secret
        yield from _forms(unquote(secret))


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it is and as it is encoded in addresses."""
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)


def _without(text: str, secret: str) -> str:
    """Hide a secret wherever it occurs."""
    if len(secret) < _SHORTEST or secret.isspace():
        return text

    word = re.escape(secret)
    pattern = word if len(secret) >= _LONG else rf"(?<!\w){word}(?!\w)"
    return re.sub(pattern, MASK, text)
