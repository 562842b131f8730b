"""The command line of the torture: runs all parts, and prints their figures."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.quick import quicken, template
from tests.torture import controls, corruptions, fuzzed, kills, outages, sickness
from tests.torture.cases import Case, Outcome, share, total

PARTS = ("kills", "corruptions", "studies", "outages", "sick", "controls")


def main() -> int:
    """Run the parts, and return 1 if a case showed a problem."""
    options = _options()
    prepare()
    folder = Path(tempfile.mkdtemp(prefix="kdbench-torture-"))
    start = time.monotonic()

    failed = False
    for part in options.only or PARTS:
        cases = _cases(part, options.short, options.seed, folder)
        begun = time.monotonic()
        outcomes = share(cases, options.jobs, folder / part, _tell)
        if part == "kills" and not options.short:
            outcomes += kills.missing(total(outcomes))
        failed |= _print(part, outcomes, time.monotonic() - begun)

    print(f"{(time.monotonic() - start) / 60:.1f} minutes, seed {options.seed}")
    if failed:
        print(f"files are kept in {folder}")
    else:
        shutil.rmtree(folder)
    return int(failed)


def prepare() -> None:
    """Import what takes time, before processes are forked, and leave out pictures."""
    import mlflow.store.tracking.sqlalchemy_store
    import optuna  # noqa: F401
    import scipy.stats  # noqa: F401
    import timm  # noqa: F401
    import torch

    from benchmark.report import files
    from benchmark.search import tune

    assert mlflow.store.tracking.sqlalchemy_store
    torch.set_num_threads(1)
    quicken()
    template()
    vars(files)["all_figures"] = tuple
    vars(tune)["draw_pictures"] = lambda *_: None


def _cases(part: str, short: bool, seed: int, folder: Path) -> list[Case]:
    """Return the cases of a part, in the long or the short form."""
    if part == "kills":
        return kills.cases(6 if short else 50, seed, short=short)
    if part == "corruptions":
        return corruptions.cases(12 if short else 500, seed)
    if part == "studies":
        return fuzzed.cases(60 if short else 2000, seed)
    if part == "outages":
        mounts = outages.can_mount(folder)
        return outages.cases(0 if short else 4, 1 if short else 12, seed, mounts=mounts)
    if part == "sick":
        return sickness.cases(short=short)
    return controls.cases(seed)


def _print(part: str, outcomes: Sequence[Outcome], seconds: float) -> bool:
    """Print the figures of a part, and return whether a case showed a problem."""
    problems = sum(outcome.problem is not None for outcome in outcomes)
    print(f"{part}: {len(outcomes)} cases, {problems} problems, {seconds:.0f} s", flush=True)
    for name, count in sorted(total(outcomes).items()):
        print(f"    {count:6} {name}", flush=True)
    return problems > 0


def _tell(line: str) -> None:
    print(f"PROBLEM {line}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few cases of each part")
    parser.add_argument("--seed", type=int, default=0, help="seed of all draws")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="parts to run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
