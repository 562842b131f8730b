"""The code of cells and teachers from versions of kdbench that recorded none.

Their configurations, and so their identities, lack the code. The first later run takes them as
trained with the code that it finds, and records this code beside the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark.code import Code
from benchmark.files import read_json, write_json
from benchmark.records.layout import CellFiles

CODE = "code"
"""Key of the digests of code in a configuration."""


def record_code(configuration: Mapping[str, Any], code: Code, files: CellFiles) -> bool:
    """Record the code of a cell or teacher whose configuration lacks it.

    Args:
        configuration: The configuration of the cell or teacher.
        code: The present code.
        files: Its files.

    Returns:
        Whether the code was unknown until now.
    """
    if not code or CODE in configuration or read_code(files) is not None:
        return False

    write_json(files.code, code)
    return True


def read_code(files: CellFiles) -> Code | None:
    """Return the code recorded beside a configuration that lacks it; None if there is none."""
    if not files.code.exists():
        return None

    code: Code = read_json(files.code, remedy="delete it")
    return code
