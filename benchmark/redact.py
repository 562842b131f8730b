"""Addresses and messages without the passwords in them."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(?:^(?!\S*://)|(?<=://)(?<!sqlite://))\S*@")
_QUERY_VALUE = re.compile(r"(?<=[?&])([^=&\s]+)=[^&\s]*")


def shown(text: str) -> str:
    """An address, or a message with addresses in it, with names and passwords before an @ and query values masked."""
    return _QUERY_VALUE.sub(r"\1=***", _CREDENTIALS.sub("***@", text))
