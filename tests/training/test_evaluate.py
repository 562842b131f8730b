"""Quality measures against scikit-learn, plain loops and cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss, top_k_accuracy_score
from torch import Tensor

from benchmark.data import Resident
from benchmark.measures import BY_COLUMN
from benchmark.models import create
from benchmark.models.tapped import TappedModel
from benchmark.study.schema import Network
from benchmark.training import evaluate
from tests.support.networks import STUDENT

pytestmark = pytest.mark.trains

HALF = (0.5, 0.5, 0.5)


def random_case(
    classes: int, count: int = 200, seed: int = 0, present: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return logits that are mostly right, and labels of the first `present` classes."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, present or classes, (count,), generator=draw)
    logits = torch.randn(count, classes, generator=draw)
    logits[torch.arange(count), labels] += 1.5
    return logits, labels


def logits_of(*rows: list[float]) -> Tensor:
    """Return logits whose softmax is these probabilities."""
    return torch.tensor(rows, dtype=torch.float64).log()


@pytest.fixture(scope="module")
def model() -> TappedModel:
    """A network that gives other logits in train mode than in eval mode."""
    torch.manual_seed(0)
    network = create.tapped(Network(model=STUDENT), "here", (3, 32, 32), 10, HALF, HALF)
    torch.manual_seed(1)
    with torch.no_grad():
        network.train()(torch.rand(8, 3, 32, 32), network.taps())
    return network


@pytest.fixture(scope="module")
def images() -> Resident:
    draw = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (600, 3, 32, 32), dtype=torch.uint8, generator=draw)
    return Resident(pixels, torch.randint(0, 10, (600,), generator=draw))


@pytest.mark.parametrize("classes", [2, 5, 10, 100])
def test_accuracy_and_f1_are_scikit_learns(classes: int) -> None:
    logits, labels = random_case(classes)
    predicted = logits.argmax(dim=1)
    accuracy = accuracy_score(labels, predicted)
    assert evaluate.accuracy(logits, labels) == pytest.approx(100 * accuracy)
    f1 = f1_score(labels, predicted, average="macro")
    assert evaluate.macro_f1(logits, labels) == pytest.approx(100 * f1)


@pytest.mark.parametrize("top", [1, 3, 5, 9])
def test_top_k_accuracy_is_scikit_learns(top: int) -> None:
    logits, labels = random_case(10)
    expected = top_k_accuracy_score(labels, logits, k=top, labels=range(10))
    assert evaluate.accuracy(logits, labels, top) == pytest.approx(100 * expected)


@pytest.mark.parametrize("classes", [2, 4, 5])
def test_with_five_classes_or_fewer_every_label_is_among_the_five_best(classes: int) -> None:
    assert evaluate.accuracy(*random_case(classes), top=5) == 100


def test_a_class_that_is_neither_present_nor_predicted_is_left_out_of_f1() -> None:
    logits = torch.eye(10)[[0, 0, 5, 9]]
    assert evaluate.macro_f1(logits, torch.tensor([0, 0, 5, 9])) == 100


def test_a_class_that_is_only_predicted_or_never_predicted_counts_as_zero_in_f1() -> None:
    logits = torch.eye(4)[[0, 0, 1, 1]]
    # Class 0 is always right, class 1 is only predicted, class 2 is never predicted.
    assert evaluate.macro_f1(logits, torch.tensor([0, 0, 2, 2])) == pytest.approx(100 / 3)


def test_f1_of_classes_without_images_is_scikit_learns() -> None:
    logits, labels = random_case(10, present=4)
    f1 = f1_score(labels, logits.argmax(dim=1), average="macro")
    assert evaluate.macro_f1(logits, labels) == pytest.approx(100 * f1)


def test_f1_counts_misses_and_false_alarms_of_each_class() -> None:
    logits = torch.eye(3)[[0, 1, 1, 2, 0]]
    labels = torch.tensor([0, 0, 1, 2, 2])
    # Recall and precision by class: 1/2 and 1/2, 1 and 1/2, 1/2 and 1.
    assert evaluate.macro_f1(logits, labels) == pytest.approx(100 * (1 / 2 + 2 / 3 + 2 / 3) / 3)


def test_accuracy_breaks_ties_of_logits_as_the_other_measures_do() -> None:
    logits = torch.zeros(10, 10)
    labels = torch.arange(10)
    hits = [evaluate.accuracy(logits[:1], label[None]) == 100 for label in labels]
    assert hits == [label == logits[0].argmax() for label in labels]


@pytest.mark.parametrize(
    ("rows", "labels", "bins", "expected"),
    [
        ([[0.9, 0.1]], [0], 15, 10.0),
        ([[0.9, 0.1]], [1], 15, 90.0),
        ([[0.9, 0.1]] * 10, [0] * 9 + [1], 15, 0.0),
        # One bin: half are right with a mean confidence of 0.85.
        ([[0.9, 0.1], [0.8, 0.2]], [0, 1], 1, 35.0),
        # Errors in different bins do not cancel: (0.9 + 0.4) / 2.
        ([[0.9, 0.1], [0.6, 0.4]], [1, 0], 4, 65.0),
        # Errors in one bin do: (0.9 - 0.4) / 2.
        ([[0.9, 0.1], [0.6, 0.4]], [1, 0], 2, 25.0),
    ],
)
def test_calibration_error_of_cases_worked_out_by_hand(
    rows: list[list[float]], labels: list[int], bins: int, expected: float
) -> None:
    error = evaluate.calibration_error(logits_of(*rows), torch.tensor(labels), bins)
    assert error == pytest.approx(expected, abs=1e-9)


def test_a_confidence_on_the_border_of_two_bins_belongs_to_the_lower_one() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(9)]], dtype=torch.float64)
    # lower bin: right with 0.5; upper bin: wrong with 0.9; in one bin the two would nearly cancel
    assert evaluate.calibration_error(logits, torch.tensor([0, 0]), bins=2) == pytest.approx(70.0)


def test_certain_and_clueless_predictions_have_a_bin() -> None:
    certain = torch.tensor([[1000.0, 0.0], [0.0, 1000.0]])
    assert evaluate.calibration_error(certain, torch.tensor([0, 1])) == 0
    assert evaluate.calibration_error(certain, torch.tensor([1, 0])) == 100
    clueless = torch.zeros(1, 1000)
    assert evaluate.calibration_error(clueless, torch.tensor([0])) == pytest.approx(99.9)


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_is_that_of_a_plain_loop(classes: int, bins: int) -> None:
    logits, labels = random_case(classes, seed=classes)
    probabilities = torch.softmax(logits.double(), dim=1).tolist()
    predictions = [
        (max(row), row.index(max(row)) == label)
        for row, label in zip(probabilities, labels.tolist(), strict=True)
    ]

    expected = 0.0
    for number in range(bins):
        lower, upper = number / bins, (number + 1) / bins
        inside = [(sure, right) for sure, right in predictions if lower < sure <= upper]
        if inside:
            confidence = sum(sure for sure, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            expected += len(inside) / len(labels) * abs(accuracy - confidence)

    assert evaluate.calibration_error(logits, labels, bins) == pytest.approx(100 * expected)


def test_agreement_is_the_share_of_images_where_both_name_one_class() -> None:
    student, teacher = torch.eye(4)[[0, 1, 2, 3]], 7 * torch.eye(4)[[0, 1, 3, 2]]
    assert evaluate.agreement(student, teacher) == 50
    assert evaluate.agreement(student, student * 0.1) == 100
    assert evaluate.agreement(student, -student) == 0


def test_agreement_is_scikit_learns_accuracy_with_the_teachers_classes_for_labels() -> None:
    (student, _), (teacher, _) = random_case(10, seed=1), random_case(10, seed=2)
    expected = accuracy_score(teacher.argmax(dim=1), student.argmax(dim=1))
    assert evaluate.agreement(student, teacher) == pytest.approx(100 * expected)


def test_quality_holds_each_measure_under_its_name_and_agreement_only_with_a_teacher() -> None:
    (logits, labels), (teacher, _) = random_case(10), random_case(10, seed=3)
    alone = evaluate.quality(logits, labels, None)
    assert alone == {
        "acc1": evaluate.accuracy(logits, labels),
        "acc5": evaluate.accuracy(logits, labels, 5),
        "f1": evaluate.macro_f1(logits, labels),
        "ece": evaluate.calibration_error(logits, labels),
    }
    assert evaluate.quality(logits, labels, teacher) == {
        **alone,
        "agreement": evaluate.agreement(logits, teacher),
    }


@pytest.mark.parametrize("training", [True, False])
def test_predicting_gives_the_models_logits_in_eval_mode_and_changes_nothing(
    training: bool, model: TappedModel, images: Resident
) -> None:
    model.train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    logits = evaluate.predict(model, images)

    assert model.training == model.network.training == training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not logits.requires_grad
    model.eval()
    with torch.no_grad():
        expected = model.network((images.images.float() / 255 - 0.5) / 0.5)
    assert logits.shape == (600, 10)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_validation_is_accuracy_and_mean_cross_entropy(
    model: TappedModel, images: Resident
) -> None:
    some = images.subset(torch.arange(100))
    logits = evaluate.predict(model, some)
    accuracy = accuracy_score(some.labels, logits.argmax(dim=1))
    loss = log_loss(some.labels, torch.softmax(logits.double(), dim=1), labels=range(10))

    scores = evaluate.validate(model, some, epoch=1)

    assert scores["val/acc1"] == pytest.approx(100 * accuracy)
    assert scores["val/loss"] == pytest.approx(loss, rel=1e-6)


def test_test_metrics_have_the_keys_of_the_list_of_measures(
    model: TappedModel, images: Resident
) -> None:
    some = images.subset(torch.arange(100))
    logits = evaluate.predict(model, some)
    for teacher in (None, -logits):
        expected = evaluate.quality(logits, some.labels, teacher)
        keyed = {BY_COLUMN[column].key: score for column, score in expected.items()}
        assert evaluate.test_metrics(model, some, teacher) == keyed
        assert {key.partition("/")[0] for key in keyed} == {"test"}
