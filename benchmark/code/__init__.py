"""Digests of the code that decides a result, so that results notice when it is edited.

The code of a method, network or data source is the part of its module that it uses, and the parts
of other modules that this part uses. Digests are taken from syntax trees: comments, docstrings and
formatting do not change them.
"""

from benchmark.code.closure import Code, changed_modules, code_of, has_file, sources_of
from benchmark.code.syntax import forget

__all__ = ["Code", "changed_modules", "code_of", "forget", "has_file", "sources_of"]
