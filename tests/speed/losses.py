"""What each method's loss costs, against the step of its student.

    OMP_NUM_THREADS=1 python -m tests.speed.losses [METHOD ...] [--pair 56-20] [--rounds 5]

A loss is the forward and backward pass of a method's terms alone, on taps that are detached from
both networks, with its projectors and memories for 50,000 images; of methods with an early stage
only, it is that stage's. A step is that of the student without a teacher: forward and backward
pass, optimizer and log. Loss and step take turns in one process, so that any other load on the
machine slows both. Times are the lowest of all rounds, as are the shares. Methods whose companion
is another network than the teacher are left out.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import methods
from benchmark.data import Loaded
from benchmark.models import create
from benchmark.models.pairing import only
from benchmark.study.schema import Augmentation, Network, Recipe
from benchmark.training.assembly import assemble
from benchmark.training.conditions import Conditions
from benchmark.training.member import Member
from benchmark.training.progress import Progress
from benchmark.training.teacher import Teacher
from benchmark.training.writing import Writer
from methods import Batch, Output
from tests.speed.contenders import PAIRS, open_data, random_images, task
from tests.speed.plain import BATCH, CPU, PADDING

STEPS = 3
"""Steps and losses per round, of which the fastest counts."""


def seconds(action: Callable[[], object]) -> float:
    """Return the lowest time of an action."""
    times = []
    for _ in range(STEPS):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def step_of(member: Member, loaded: Loaded) -> Callable[[], object]:
    """Return a step of a student without a teacher."""
    member.state.enter(0)
    return lambda: member.step(loaded, None, 0)


def loss_of(
    name: str, student: str, conditions: Conditions, loaded: Loaded, output: Output, folder: Path
) -> Callable[[], object]:
    """Return the loss of a method with its gradients.

    Args:
        name: The method.
        student: The student's architecture.
        conditions: Data and teacher.
        loaded: The batch.
        output: The teacher's output for the batch.
        folder: Folder of the cell.
    """
    parts = assemble(task(folder, name, student), conditions)
    criterion = parts.criterion
    method, needs = criterion.method, criterion.needs
    batch = Batch(loaded.labels, loaded.index, 0, 240)
    source = only(output, needs, criterion.depth)

    leaves: list[Tensor] = [each for each in method.parameters() if each.requires_grad]

    def as_leaf(tap: Tensor) -> Tensor:
        leaves.append(tap.detach().requires_grad_())
        return leaves[-1]

    learner = criterion.output(parts.student, loaded).map(as_leaf)

    def loss() -> None:
        terms = method(learner, source, batch)
        if not terms and method.pre_training > 0:
            terms = method.pre_train(learner, source, batch)
        values = [weight * value for weight, value in terms.values()]
        if values:
            torch.autograd.grad(torch.stack(values).sum(), leaves, allow_unused=True)

    return loss


def main() -> None:
    """Measure, and print a line per method, the most expensive first."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("methods", nargs="*")
    parser.add_argument("--pair", choices=PAIRS, default="56-20")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    large, small = PAIRS[options.pair]
    chosen = options.methods or [
        name for name in methods.names() if not methods.create(name).tapped().companion
    ]
    recipe = Recipe(epochs=240, batch_size=BATCH, augmentation=Augmentation(crop_padding=PADDING))

    rows = []
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        data = open_data(*random_images(), folder, CPU)
        shape = (data.size, data.classes, data.mean, data.std)
        teacher = Teacher(create.tapped(Network(model=large), large, *shape), "")
        conditions = Conditions(data, recipe, 0, "last", teacher)
        loaded = next(data.epoch(0, 0, recipe, views=True))
        output = teacher.output(loaded)
        member = Member(
            task(folder / "student", "student", small), conditions, Progress(), Writer()
        )
        step = step_of(member, loaded)

        for name in chosen:
            loss = loss_of(name, small, conditions, loaded, output, folder / name)
            loss()  # a warm-up
            pairs = [(seconds(step), seconds(loss)) for _ in range(options.rounds)]
            shares = [own / whole for whole, own in pairs]
            times = [1e3 * min(column) for column in zip(*pairs, strict=True)]
            rows.append((statistics.median(shares), min(shares), *times, name))
            print(name, end=" ", flush=True)

    print(f"\n{'method':18} {'loss, ms':>8} {'step, ms':>8} {'share':>6} {'lowest':>6}")
    for share, lowest, whole, own, name in sorted(rows, reverse=True):
        print(f"{name:18} {own:8.1f} {whole:8.1f} {share:6.0%} {lowest:6.0%}")


if __name__ == "__main__":
    main()
