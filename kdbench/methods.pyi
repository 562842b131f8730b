"""Stub: the modules are found by `kdbench._names`."""

from methods import *
