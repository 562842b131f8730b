"""What only a real GPU can show, in the order of its importance, in about ten minutes.

    python -m tests.speed.gpu [--results results/speed] [--skip-tests]

First the tests of `tests/gpu/test_real.py`: the bits of all methods, as graphs and as they are
written, alone, together and resumed. Then, for resnet56 and resnet20: operations that PyTorch calls
not deterministic; the time of a step of each kind of member, as it is written and as a graph, and
whether its graphs passed their comparison; thirteen methods on several numbers of streams. In the
end `tests.speed.compare` on the GPU. Writes `gpu.csv` beside the tables of the latter.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from unittest import mock

import torch

from benchmark.data import Data
from benchmark.errors import first_line
from benchmark.execution.environment import environment, make_repeatable
from benchmark.training.engine_choice import EngineChoice
from benchmark.training.engines import graphs
from tests.speed import compare
from tests.speed.compare import seconds_per_step
from tests.speed.contenders import MIXED, Way, cohort, open_data, random_images

PAIR = "56-20"
ROWS = (*MIXED, "kdsvd", "crld", "mlld", "reviewkd", "semckd", "dkd")
STREAMS = (1, 2, 4, 8)
WARM_UP, STEPS = 10, 50
TESTS = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu/test_real.py")

EAGER = Way("eager", engine=EngineChoice.EAGER)
GRAPHS = Way("graphs", engine=EngineChoice.GRAPHS)

Finding = tuple[str, str, str]
"""What was looked at, in which case, and what was found."""


def unordered(data: Data) -> Iterator[Finding]:
    """Yield the operations of each row that PyTorch calls not deterministic."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        for row in ROWS:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                for _ in islice(cohort(PAIR, [row], data, EAGER), 2):
                    pass
            names = sorted({str(warning.message).split()[0] for warning in caught})
            yield "not deterministic", row, ", ".join(names) or "-"
    finally:
        torch.use_deterministic_algorithms(False)


def steps(data: Data) -> Iterator[Finding]:
    """Yield the time of a step of each row, with the teacher's pass."""
    for row in ROWS:
        for way in (EAGER, GRAPHS):
            running = cohort(PAIR, [row], data, way)
            seconds_per_step(running, WARM_UP, data.device)
            seconds = seconds_per_step(running, STEPS, data.device)
            (member,) = next(running)
            note = f" ({member.note})" if member.note else ""
            yield f"ms per step, {way.name}", row, f"{1000 * seconds:.2f}{note}"


def streams(data: Data) -> Iterator[Finding]:
    """Yield the time of a step of thirteen methods on several numbers of streams."""
    for count in STREAMS:
        with mock.patch.object(graphs, "LANES", count):
            running = cohort(PAIR, MIXED, data, GRAPHS)
            seconds_per_step(running, WARM_UP, data.device)
        seconds = seconds_per_step(running, STEPS, data.device)
        yield f"ms per step of {len(MIXED)} methods", f"{count} streams", f"{1000 * seconds:.2f}"


def tests() -> Iterator[Finding]:
    """Yield the last line that the tests print."""
    ended = subprocess.run([sys.executable, *TESTS], capture_output=True, text=True, check=False)
    print(ended.stdout[-5000:])
    yield "tests", TESTS[-1], f"code {ended.returncode}: {ended.stdout.strip()[-200:]}"


def found(part: Callable[[Data], Iterator[Finding]], data: Data) -> Iterator[Finding]:
    """Yield the findings of a part; an error is a finding, too, and does not end the others."""
    try:
        yield from part(data)
    except Exception as error:
        yield part.__name__, "failed", first_line(error)


def main() -> None:
    """Look at everything, and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=Path("results/speed"))
    parser.add_argument("--skip-tests", action="store_true")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("this script needs a GPU")

    device = torch.device("cuda")
    make_repeatable()
    options.results.mkdir(parents=True, exist_ok=True)
    with (
        (options.results / "gpu.csv").open("w", newline="", buffering=1) as file,
        tempfile.TemporaryDirectory() as folder,
    ):
        table = csv.writer(file)
        table.writerow(("what", "case", "found"))
        table.writerow(("device", "", environment(device)["device_name"]))

        def note(findings: Iterator[Finding]) -> None:
            for finding in findings:
                print(*finding, sep="  ", flush=True)
                table.writerow(finding)

        if not options.skip_tests:
            note(tests())
        data = open_data(*random_images(), Path(folder), device)
        for part in (steps, streams, unordered):
            note(found(part, data))

    compare.main(["--device", "cuda", "--steps", "50", "--results", str(options.results)])


if __name__ == "__main__":
    main()
