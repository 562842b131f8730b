"""Hide passwords in addresses and messages."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(?:^(?!\S*://)|(?<=://)(?<!sqlite://))\S*@")
_QUERY_VALUE = re.compile(r"(?<=[?&])([^=&\s]+)=[^&\s]*")


def shown(text: str) -> str:
    """Mask the secrets in an address, or in a message that contains addresses.

    Everything before an `@`, and the values of query parameters, are replaced by `***`.
    """
    without_credentials = _CREDENTIALS.sub("***@", text)
    return _QUERY_VALUE.sub(r"\1=***", without_credentials)
