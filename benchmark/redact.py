"""Hide passwords in addresses and messages."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(?:^(?!\S*://)|(?<=://)(?<!sqlite://))\S*@")
_QUERY_VALUE = re.compile(r"(?<=[?&])([^=&\s]+)=[^&\s]*")


def shown(text: str) -> str:
    """Return an address, or a message with addresses, as it may be shown.

    Everything before an `@`, and the values of queries, are replaced by `***`.
    """
    without_credentials = _CREDENTIALS.sub("***@", text)
    return _QUERY_VALUE.sub(r"\1=***", without_credentials)
