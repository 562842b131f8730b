"""Kills, corruptions, hostile studies, outages and sick cells, in numbers: `make torture`.

Each part is a list of cases. A case does something to a study that trains in a second, and then
compares all that can be reproduced with what an undisturbed study wrote.
"""
