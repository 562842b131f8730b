"""Runs of different environments are refused, or marked where somebody asks to mix them."""

from __future__ import annotations

import dataclasses

import pytest

from benchmark.leaderboard.environments import MixedEnvironmentsError
from tests.support.handmade import PLAN, lines, row


def test_the_runs_of_the_rarer_environment_are_marked_whatever_its_name():
    runs = [
        *row("student", [90, 91, 92], fingerprint="device z"),
        *row("kd", [91, 92, 93], fingerprint="device z"),
        *row("at", [92, 93], fingerprint="device z"),
        *row("at", [None, None, 94], fingerprint="device a"),
    ]
    assert lines(runs, PLAN, ("note",), mix_environments=True) == [
        ("at", "1 of 3 runs was trained in another environment (device a)"),
        ("kd", ""),
        ("student", ""),
    ]


def test_an_environment_that_only_lacks_something_is_told_by_what_it_lacks():
    runs = [
        *row("student", [90, 91, 92], fingerprint="cpu, torch 2"),
        *row("kd", [91, 92, 93], fingerprint="cpu"),
    ]
    with pytest.raises(MixedEnvironmentsError, match=r"\(3 in no torch 2; 3 in torch 2\)"):
        lines(runs, PLAN, ("note",))


def test_pairs_that_were_trained_in_different_environments_stand_in_one_study_unmarked():
    plan = dataclasses.replace(PLAN, pairs=("p", "q"))
    runs = []
    for pair, fingerprint in (("p", "device cpu"), ("q", "device cuda")):
        for name in plan.methods:
            runs += row(name, [90, 91, 92], pair, fingerprint=fingerprint)
    assert {values[-1] for values in lines(runs, plan, ("note",))} == {""}
