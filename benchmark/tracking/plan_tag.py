"""Converts the plan of a study to the value of a tag, and back."""

from __future__ import annotations

import base64
import json
import zlib

from benchmark.study.plan import Plan, from_dict, to_dict
from benchmark.tracking.tags import LONGEST_TAG


def pack(plan: Plan) -> str:
    """Return the parts of a plan that tables need, as JSON, compressed if it is long."""
    text = json.dumps(to_dict(plan.for_tables()), sort_keys=True)
    if len(text) <= LONGEST_TAG:
        return text

    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpack(tag: str) -> Plan:
    """Return the plan in a tag that this or an older version wrote.

    Raises:
        ValueError: The tag is damaged.
    """
    try:
        text = tag if tag.startswith("{") else zlib.decompress(base64.b64decode(tag))
        return from_dict(json.loads(text))
    except (zlib.error, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("the tag is not a plan") from error
