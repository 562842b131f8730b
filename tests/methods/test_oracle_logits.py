"""Losses of logits alone: the references' values and gradients, naive formulas, extreme logits."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from methods import Batch, Output, create
from methods.abkd import abkd_loss
from methods.dist import dist_loss
from methods.dkd import dkd_loss, dkd_losses
from methods.dml import mutual_loss
from methods.hard_labels import hard_loss
from methods.kd import kd_loss
from methods.label_smoothing import smoothed_elsewhere_loss, smoothed_loss
from methods.logit_mse import logit_loss
from methods.ls import standardised
from methods.nkd import nkd_loss
from methods.normkd import normkd_dkd_losses, normkd_loss
from methods.rld import (
    masked_correlation_loss,
    raised,
    revised,
    revision_loss,
    rld_loss,
    sample_confidence_loss,
    swapped,
)
from methods.tfkd import regularisation_loss, self_loss
from methods.ttm import ttm_loss
from methods.wsld import wsld_loss
from methods.wttm import wttm_loss
from tests.support.reference import cases, near

pytestmark = pytest.mark.broad


def logits_of(case):
    return case["s"], case["t"]


def labelled(case):
    return case["s"], case["t"], case["y"]


@pytest.mark.parametrize("case", cases("kd", "c10_T1", "c100_T1", "big10_T1"))
def test_kd_loss_is_the_references(case):
    case.holds(kd_loss(*logits_of(case), case.params["T"]))


@pytest.mark.parametrize("case", cases("kd", "total_c100"))
def test_kd_by_its_published_defaults_is_the_references_whole_objective(case):
    holds_in_whole("kd", case)


def holds_in_whole(name, case, epoch=0, epochs=1):
    """With its defaults, a method's cross-entropy and terms are the reference's two parts."""
    method, (student, teacher, labels) = create(name), labelled(case)
    batch = Batch(labels, torch.arange(len(labels)), epoch, epochs)
    ce = method.ce * F.cross_entropy(student, labels)
    terms = sum(
        weight * value for weight, value in method(Output(student), Output(teacher), batch).values()
    )
    assert (ce.item(), terms.item()) == near(
        (case.expected["parts"]["loss_ce"], case.expected["parts"]["loss_kd"])
    )
    case.holds(ce + terms)


@pytest.mark.parametrize("case", cases("lskd", "c10_T2", "c100_T3"))
def test_kd_of_standardised_logits_is_the_references(case):
    case.holds(kd_loss(standardised(case["s"]), standardised(case["t"]), case.params["T"]))


@pytest.mark.parametrize("case", cases("lskd", "dkd_ls_c100"))
def test_dkd_of_standardised_logits_is_the_references(case):
    alpha, beta, temperature = (case.params[key] for key in ("alpha", "beta", "T"))
    assert (
        create("ls(dkd)").settings
        == create("dkd", alpha=alpha, beta=beta, temperature=temperature).settings
    )
    student, teacher, labels = standardised(case["s"]), standardised(case["t"]), case["y"]
    case.holds(dkd_loss(student, teacher, labels, alpha, beta, temperature))


@pytest.mark.parametrize("case", cases("dkd", "c10_a1_b8_T4", "c100_a1_b2_T1", "big10_T1"))
def test_dkd_loss_and_its_parts_are_the_references(case):
    parts = dkd_losses(*labelled(case), case.params["T"])
    assert [part.item() for part in parts] == near(
        [case.expected["parts"][part] for part in ("tckd", "nckd")]
    )
    case.holds(
        dkd_loss(*labelled(case), case.params["alpha"], case.params["beta"], case.params["T"])
    )


@pytest.mark.parametrize("case", cases("dkd", "total_c10_epoch100"))
def test_dkd_by_its_published_defaults_is_the_references_whole_objective_after_warming_up(case):
    holds_in_whole("dkd", case, epoch=100, epochs=240)


@pytest.mark.parametrize("name", ["dkd", "rld"])
@pytest.mark.parametrize(
    ("epoch", "epochs", "share"), [(0, 240, 1 / 20), (9, 240, 1 / 2), (19, 240, 1), (0, 12, 1)]
)
def test_a_warm_up_of_20_in_240_epochs_is_the_same_share_of_any_recipe(name, epoch, epochs, share):
    method, (student, teacher, labels) = create(name), drawn()
    terms = method(Output(student), Output(teacher), Batch(labels, labels, epoch, epochs))
    assert [weight for weight, _ in terms.values()] == pytest.approx([1.0 * share, 8.0 * share])


@pytest.mark.parametrize("case", cases("nkd"))
def test_nkd_loss_is_the_references(case):
    case.holds(nkd_loss(*labelled(case), case.params["gamma"], case.params["T"]))


# distplus_td is left out: that reference adds a correlation where it should take one minus it
@pytest.mark.parametrize(
    "case", cases("dist", "c10_b1_g1_tau1", "c10_b0_g1_tau4", "c100_b1_g1_tau4")
)
def test_dist_loss_is_the_references(case):
    case.holds(
        dist_loss(*logits_of(case), case.params["beta"], case.params["gamma"], case.params["tau"])
    )


@pytest.mark.parametrize("case", cases("wsld"))
def test_wsld_loss_is_the_references(case):
    case.holds(case.params["alpha"] * wsld_loss(*labelled(case), case.params["T"]))


@pytest.mark.parametrize("case", cases("normkd", "c10_tau1"))
def test_normkd_loss_is_the_references(case):
    case.holds(normkd_loss(*logits_of(case), case.params["tau"]))


@pytest.mark.parametrize("case", cases("normkd", "dkd_c100"))
def test_dkd_at_each_samples_temperature_is_the_references(case):
    target, others = normkd_dkd_losses(*labelled(case), case.params["tau"])
    case.holds(case.params["alpha"] * target + case.params["beta"] * others)


@pytest.mark.parametrize("case", cases("ttm"))
def test_ttm_and_wttm_losses_are_the_references(case):
    case.holds(
        {"ttm": ttm_loss, "wttm": wttm_loss}[case.params["variant"]](
            *logits_of(case), case.params["l"]
        )
    )


@pytest.mark.parametrize("case", cases("rld", "c10_a1_b8_T4_Ta1", "c100_a1_b8_T4_Ta4"))
def test_rld_loss_and_its_parts_are_the_references(case):
    alpha, beta, temperature, alpha_temperature = (
        case.params[key] for key in ("alpha", "beta", "T", "alpha_T")
    )
    assert case.params["logit_stand"] is False
    assert sample_confidence_loss(*labelled(case), alpha_temperature).item() == near(
        case.expected["parts"]["scd"]
    )
    assert masked_correlation_loss(*labelled(case), temperature).item() == near(
        case.expected["parts"]["mcd"]
    )
    case.holds(rld_loss(*labelled(case), alpha, beta, temperature, alpha_temperature))


@pytest.mark.parametrize("case", cases("rld", "rc_c10"))
def test_kd_of_a_students_own_raised_logits_is_the_references(case):
    case.holds(kd_loss(case["s"], raised(case["s"], case["y"]), case.params["T"]))


@pytest.mark.parametrize("case", cases("rld", "revision_c100"))
def test_label_revision_is_the_references(case):
    case.holds(
        revision_loss(*labelled(case), *(case.params[key] for key in ("lambda1", "lambda2", "eta")))
    )


@pytest.mark.parametrize(
    "case", cases("abkd", "c10_a0.8_b0.3_T4", "c10_a0.5_b-0.5_T4", "c100_a0.5_b0.5_T4")
)
def test_abkd_loss_is_the_references(case):
    case.holds(
        abkd_loss(*logits_of(case), case.params["alpha"], case.params["beta"], case.params["T"])
    )


@pytest.mark.parametrize("case", cases("abkd", "ttm_ab_c100"))
def test_alpha_beta_divergence_from_a_transformed_teacher_is_the_references(case):
    student, teacher = (
        case["s"],
        case["t"] * case.params["l"],
    )  # a power of probabilities is a multiple of logits
    case.holds(
        abkd_loss(
            student, teacher, case.params["ab_alpha"], case.params["ab_beta"], temperature=1.0
        )
    )


@pytest.mark.parametrize("case", cases("label_smoothing"))
def test_label_smoothing_is_the_references(case):
    loss = smoothed_elsewhere_loss if "variant" in case.params else smoothed_loss
    case.holds(loss(case["s"], case["y"], case.params["eps"]))


@pytest.mark.parametrize("case", cases("tfkd", "reg_c10_a0.1_T20_m100"))
def test_tfkd_by_its_published_defaults_is_the_references_whole_objective(case):
    tfkd, student, labels = create("tfkd"), case["s"], case["y"]
    ((weight, raw),) = tfkd(Output(student), Output(torch.empty(0)), Batch(labels, labels)).values()
    assert (weight, tfkd.ce) == (
        case.params["alpha"] * case.params["multiplier"],
        1 - case.params["alpha"],
    )
    assert raw.item() == near(regularisation_loss(student, labels, case.params["T"]).item())
    case.holds(tfkd.ce * F.cross_entropy(student, labels) + weight * raw)


@pytest.mark.parametrize("case", cases("tfkd", "self_c10_a0.1_T6_m1", "self_c100_a0.1_T6_m1"))
def test_tfkd_with_a_students_own_copy_is_the_references_whole_objective(case):
    alpha = case.params["alpha"]
    soft = case.params["multiplier"] * self_loss(*logits_of(case), case.params["T"])
    case.holds((1 - alpha) * F.cross_entropy(case["s"], case["y"]) + alpha * soft)


@pytest.mark.parametrize("case", cases("logits_dml"))
def test_logit_regression_is_the_references(case):
    case.holds(logit_loss(*logits_of(case)))


PUBLISHED = {
    "abkd": {"alpha": 0.8, "beta": 0.3, "temperature": 4.0, "weight": 32.0, "ce": 1.0},
    "born_again": {"temperature": 1.0, "weight": 1.0, "ce": 1.0},
    "dist": {"weight": 2.0, "beta": 1.0, "gamma": 1.0, "temperature": 4.0, "ce": 1.0},
    "dkd": {"alpha": 1.0, "beta": 8.0, "temperature": 4.0, "warm_up": 20 / 240, "ce": 1.0},
    "dml": {"weight": 1.0, "temperature": 1.0, "ce": 1.0},
    "hard_labels": {"weight": 1.0, "ce": 0.0},
    "kd": {"temperature": 4.0, "weight": 0.9, "ce": 0.1},
    "label_smoothing": {"smoothing": 0.1, "weight": 1.0, "ce": 0.0},
    "logit_mse": {"weight": 0.1, "ce": 1.0},
    "longer": {"factor": 2.0, "ce": 1.0},
    "ls": {"temperature": 2.0, "weight": 9.0, "ce": 0.1},
    "ls(dkd)": {"alpha": 9.0, "beta": 72.0, "temperature": 2.0, "warm_up": 20 / 240, "ce": 1.0},
    "ls(ctkd)": {"start": 2.0, "span": 20.0, "curriculum": 10 / 240, "weight": 9.0, "ce": 0.1},
    "nkd": {"weight": 1.0, "gamma": 1.5, "temperature": 1.0, "ce": 1.0},
    "normkd": {"tau": 2.0, "weight": 0.9, "ce": 0.1},
    "random_teacher": {"temperature": 4.0, "weight": 0.9, "ce": 0.1},
    "rld": {
        "alpha": 1.0,
        "beta": 8.0,
        "temperature": 4.0,
        "alpha_temperature": 1.0,
        "warm_up": 20 / 240,
        "ce": 1.0,
    },
    "tfkd": {"alpha": 0.1, "temperature": 20.0, "multiplier": 100.0, "ce": 0.9},
    "ttm": {"exponent": 0.1, "weight": 45.0, "ce": 1.0},
    "wsld": {"alpha": 2.25, "temperature": 4.0, "ce": 1.0},
    "wttm": {"exponent": 0.2, "weight": 4.0, "ce": 1.0},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_defaults_are_the_published_settings(name):
    assert create(name).settings == PUBLISHED[name]


WEIGHTS = {
    "abkd": {"abkd": 32.0},
    "born_again": {"kd": 1.0},
    "dist": {"inter": 2.0, "intra": 2.0},
    "dml": {"dml": 1.0},
    "hard_labels": {"hard_labels": 1.0},
    "label_smoothing": {"label_smoothing": 1.0},
    "logit_mse": {"logit_mse": 0.1},
    "longer": {},
    "nkd": {"target": 1.0, "others": 1.5},
    "normkd": {"normkd": 0.9},
    "random_teacher": {"kd": 0.9},
    "tfkd": {"tfkd": 10.0},
    "ttm": {"ttm": 45.0},
    "wsld": {"wsld": 2.25},
    "wttm": {"wttm": 4.0},
}


def drawn(seed=0, count=5, classes=7, scale=3.0):
    """Logits of student and teacher in float64, and labels."""
    draw = torch.Generator().manual_seed(seed)
    student, teacher = (
        scale * torch.randn(count, classes, generator=draw, dtype=torch.float64) for _ in range(2)
    )
    return student, teacher, torch.randint(0, classes, (count,), generator=draw)


LOSSES = {
    "abkd": lambda s, t, y: abkd_loss(s, t),
    "abkd at T 1": lambda s, t, y: abkd_loss(s, t, temperature=1.0),
    "abkd as KL": lambda s, t, y: abkd_loss(s, t, 1.0, 0.0, 1.0),
    "abkd as reverse KL": lambda s, t, y: abkd_loss(s, t, 0.0, 1.0, 1.0),
    "abkd of logs": lambda s, t, y: abkd_loss(s, t, 0.0, 0.0, 1.0),
    "dist": lambda s, t, y: dist_loss(s, t),
    "dkd": lambda s, t, y: dkd_loss(s, t, y),
    "dkd at T 1": lambda s, t, y: dkd_loss(s, t, y, temperature=1.0),
    "dml": lambda s, t, y: mutual_loss(s, t),
    "hard_labels": lambda s, t, y: hard_loss(s, t),
    "kd": lambda s, t, y: kd_loss(s, t),
    "kd at T 1": lambda s, t, y: kd_loss(s, t, 1.0),
    "label_smoothing": lambda s, t, y: smoothed_loss(s, y),
    "label_smoothing elsewhere": lambda s, t, y: smoothed_elsewhere_loss(s, y),
    "logit_mse": lambda s, t, y: logit_loss(s, t),
    "ls": lambda s, t, y: kd_loss(standardised(s), standardised(t.detach()), 2.0),
    "nkd": lambda s, t, y: nkd_loss(s, t, y),
    "normkd": lambda s, t, y: normkd_loss(s, t),
    "normkd of dkd": lambda s, t, y: sum(normkd_dkd_losses(s, t, y)),
    "rld": lambda s, t, y: rld_loss(s, t, y),
    "rld raised": lambda s, t, y: kd_loss(s, raised(s, y)),
    "rld revision": lambda s, t, y: revision_loss(s, t, y),
    "rld swapped": lambda s, t, y: kd_loss(s, swapped(t, y)),
    "tfkd": lambda s, t, y: regularisation_loss(s, y),
    "tfkd self": lambda s, t, y: self_loss(s, t),
    "ttm": lambda s, t, y: ttm_loss(s, t),
    "wsld": lambda s, t, y: wsld_loss(s, t, y),
    "wttm": lambda s, t, y: wttm_loss(s, t),
}

every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@pytest.mark.parametrize("name", WEIGHTS)
def test_terms_have_the_published_weights(name):
    student, teacher, labels = drawn()
    terms = create(name)(Output(student), Output(teacher), Batch(labels, labels))
    assert {term: weight for term, (weight, _) in terms.items()} == pytest.approx(WEIGHTS[name])


def extremes():
    """Pairs of logits [4, classes] at which a softmax underflows or a deviation is zero."""
    student, teacher, _ = (
        tensor.float() if tensor.is_floating_point() else tensor for tensor in drawn(3, 4, 5)
    )
    wrong = torch.zeros(4, 5)
    wrong[:, 4] = 120.0
    flat = torch.zeros(4, 5)
    yield "gap of 120", wrong, teacher
    yield "gap of 500", wrong * 500 / 120, teacher
    yield "gap of 120 against the teacher's", wrong, wrong.flip(1)
    yield "a sure teacher", student, wrong
    yield "the same gap", wrong, wrong
    yield "zero student", flat, teacher
    yield "constant student", flat + 0.1, teacher
    yield "constant and large student", flat + 7777.7, teacher
    yield "zero teacher", student, flat
    yield "constant teacher", student, flat + 0.1
    yield "both constant", flat + 0.3, flat + 0.1
    yield "the same logits", teacher, teacher
    yield "one zero row", student * torch.tensor([0.0, 1.0, 1.0, 1.0])[:, None], teacher
    yield "duplicate rows", student[:1].expand(4, 5), teacher[:1].expand(4, 5)
    yield "two classes", student[:, :2], teacher[:, :2]
    yield "two classes, gap of 120", wrong[:, 3:], teacher[:, :2]
    yield "one sample", student[:1], teacher[:1]


EXTREMES = {name: pair for name, *pair in extremes()}


@every_loss
@pytest.mark.parametrize("pair", EXTREMES.values(), ids=EXTREMES)
@pytest.mark.parametrize("label", [0, 1])
def test_value_and_gradient_stay_finite_in_float32_and_none_reaches_the_teacher(loss, pair, label):
    student, teacher = (logits.clone().requires_grad_() for logits in pair)
    value = loss(student, teacher, torch.full((len(student),), label))
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert student.grad.isfinite().all()
    assert teacher.grad is None


@every_loss
def test_the_gradient_is_the_slope(loss):
    student, teacher, labels = drawn(1)

    def of_student(logits):
        return loss(logits, teacher, labels)

    if loss not in (
        LOSSES["wsld"],
        LOSSES["rld raised"],
    ):  # their weights and targets stand still by definition
        assert torch.autograd.gradcheck(of_student, student.requires_grad_())


def naive_kl(teacher, student):
    return sum(t * math.log(t / s) for t, s in zip(teacher, student, strict=True))


def softmax(logits):
    powers = [math.exp(logit) for logit in logits]
    return [power / sum(powers) for power in powers]


def rows(logits):
    """Logits, number by number."""
    return logits.tolist()


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def divided(row, by):
    return [value / by for value in row]


def without(row, label):
    return row[:label] + row[label + 1 :]


def deviation(row):
    return math.sqrt(sum((value - mean(row)) ** 2 for value in row) / (len(row) - 1))


def two_ways(row, label):
    return [softmax(row)[label], 1 - softmax(row)[label]]


def correlation(first, second):
    first, second = ([value - mean(row) for value in row] for row in (first, second))
    size = math.sqrt(sum(v * v for v in first)) * math.sqrt(sum(v * v for v in second))
    return sum(a * b for a, b in zip(first, second, strict=True)) / (size + 1e-8)


@pytest.fixture(params=[(2, 5, 4), (3, 4, 10), (4, 3, 2)], ids=["5x4", "4x10", "3x2"])
def tensors(request):
    return drawn(*request.param)


@pytest.fixture
def samples(tensors):
    """(student's logits, teacher's, label) of each sample."""
    return list(zip(*(rows(tensor) for tensor in tensors), strict=True))


def test_dkd_is_the_formula(tensors, samples):
    actual, scale = dkd_losses(*tensors, 2.5), 2.5**2
    halves = [(divided(s, 2.5), divided(t, 2.5), y) for s, t, y in samples]
    assert actual[0].item() == near(
        scale * mean(naive_kl(two_ways(t, y), two_ways(s, y)) for s, t, y in halves)
    )
    others = mean(naive_kl(softmax(without(t, y)), softmax(without(s, y))) for s, t, y in halves)
    assert actual[1].item() == near(scale * others)
    assert dkd_loss(*tensors, 0.7, 3.0, 2.5).item() == near(
        0.7 * actual[0].item() + 3.0 * actual[1].item()
    )


def test_nkd_is_the_formula(tensors, samples):
    def of(s, t, y):
        ours, theirs = (softmax(divided(without(row, y), 3.0)) for row in (s, t))
        others = sum(q * math.log(p) for q, p in zip(theirs, ours, strict=True))
        return -softmax(t)[y] * math.log(softmax(s)[y]) - 3.5 * 3.0**2 * others

    assert nkd_loss(*tensors, 3.5, 3.0).item() == near(mean(of(*sample) for sample in samples))


def test_dist_is_the_formula(tensors, samples):
    ours, theirs = ([softmax(divided(sample[side], 2.0)) for sample in samples] for side in (0, 1))
    inter = 4 * (1 - mean(map(correlation, ours, theirs)))
    intra = 4 * (1 - mean(map(correlation, zip(*ours, strict=True), zip(*theirs, strict=True))))
    assert dist_loss(*tensors[:2], 0.3, 1.7, 2.0).item() == near(0.3 * inter + 1.7 * intra)


def test_wsld_is_the_formula(tensors, samples):
    def of(s, t, y):
        weight = 1 - math.exp(math.log(softmax(s)[y]) / (-math.log(softmax(t)[y]) + 1e-7))
        pairs = zip(softmax(divided(t, 2.0)), softmax(divided(s, 2.0)), strict=True)
        return weight * 4 * -sum(q * math.log(p) for q, p in pairs)

    assert wsld_loss(*tensors, 2.0).item() == near(mean(of(*sample) for sample in samples))


def test_normkd_is_the_formula(tensors, samples):
    def of(s, t, _):
        ours, theirs = 1.5 * deviation(s), 1.5 * deviation(t)
        return theirs**2 * naive_kl(softmax(divided(t, theirs)), softmax(divided(s, ours)))

    assert normkd_loss(*tensors[:2], 1.5).item() == near(mean(of(*sample) for sample in samples))


def test_standardised_kd_is_the_formula(tensors, samples):
    def seen(row):
        return [(value - mean(row)) / (deviation(row) + 1e-7) / 3.0 for value in row]

    actual = kd_loss(standardised(tensors[0]), standardised(tensors[1]), 3.0)
    assert actual.item() == near(
        9 * mean(naive_kl(softmax(seen(t)), softmax(seen(s))) for s, t, _ in samples)
    )


def test_ttm_and_wttm_are_the_formulas(tensors, samples):
    def of(s, t, weighted):
        powers = [p**0.3 for p in softmax(t)]
        kl = naive_kl([power / sum(powers) for power in powers], softmax(s))
        return sum(powers) * kl if weighted else kl

    for loss, weighted in ((ttm_loss, False), (wttm_loss, True)):
        assert loss(*tensors[:2], 0.3).item() == near(
            mean(of(s, t, weighted) for s, t, _ in samples)
        )


def test_rld_is_the_formula(tensors, samples):
    def of(s, t, y):
        (ours, theirs), top = (softmax(divided(row, 1.5)) for row in (s, t)), t.index(max(t))
        sure = naive_kl([theirs[top], 1 - theirs[top]], [ours[y], 1 - ours[y]])
        below = [k for k, logit in enumerate(t) if logit < t[y]]
        lower = ([row[k] / 2.5 for k in below] for row in (t, s))
        return 0.7 * 1.5**2 * sure + 3 * 2.5**2 * (naive_kl(*map(softmax, lower)) if below else 0)

    assert rld_loss(*tensors, 0.7, 3.0, 2.5, 1.5).item() == near(
        mean(of(*sample) for sample in samples)
    )


def test_a_label_that_the_teacher_finds_least_likely_counts_nothing_in_rlds_second_part():
    student, teacher, _ = drawn()
    assert masked_correlation_loss(student, teacher, teacher.argmin(dim=1)) == 0


@pytest.mark.parametrize(
    ("alpha", "beta"),
    [
        (0.8, 0.3),
        (1.3, -0.4),
        (0.6, 0.0),
        (0.0, 0.7),
        (0.4, -0.4),
        (0.0, 0.0),
        (1.0, 0.0),
        (0.0, 1.0),
    ],
)
def test_abkd_is_the_formula(tensors, samples, alpha, beta):
    def of(p, q):  # of one class: teacher's probability, student's
        if alpha == beta == 0:
            return 0.5 * (math.log(q) - math.log(p)) ** 2
        if alpha == 0:
            return (q**beta * math.log(q**beta / p**beta) - q**beta + p**beta) / beta
        if beta == 0:
            return (p**alpha * math.log(p**alpha / q**alpha) - p**alpha + q**alpha) / alpha
        if alpha + beta == 0:
            return (math.log(q**alpha / p**alpha) + p**alpha / q**alpha - 1) / alpha
        total = alpha + beta
        mixed = p**alpha * q**beta - alpha / total * p**total - beta / total * q**total
        return -mixed / (alpha * beta)

    pairs = [
        zip(softmax(divided(t, 2.0)), softmax(divided(s, 2.0)), strict=True) for s, t, _ in samples
    ]
    actual = abkd_loss(*tensors[:2], alpha, beta, 2.0)
    assert actual.item() == near(mean(sum(of(p, q) for p, q in pair) for pair in pairs))


def test_abkd_is_kl_at_one_and_zero():
    student, teacher, _ = drawn()
    assert abkd_loss(student, teacher, 1.0, 0.0, 2.0).item() == near(
        kd_loss(student, teacher, 2.0).item() / 4
    )


def test_the_soft_targets_of_the_controls_are_the_formulas(tensors, samples):
    count = tensors[0].shape[1]

    def crossed(target, s):
        return -sum(q * math.log(p) for q, p in zip(target, softmax(s), strict=True))

    def spread(y, label, other):
        return [label if k == y else other for k in range(count)]

    everywhere = mean(crossed(spread(y, 0.8 + 0.2 / count, 0.2 / count), s) for s, _, y in samples)
    elsewhere = mean(crossed(spread(y, 0.8, 0.2 / (count - 1)), s) for s, _, y in samples)
    virtual = mean(
        naive_kl(softmax(divided(spread(y, 0.99, 0.01 / (count - 1)), 5.0)), softmax(s))
        for s, _, y in samples
    )
    student, _, labels = tensors
    assert smoothed_loss(student, labels, 0.2).item() == near(everywhere)
    assert smoothed_elsewhere_loss(student, labels, 0.2).item() == near(elsewhere)
    assert regularisation_loss(student, labels, 5.0).item() == near(virtual / count)


def test_hard_labels_are_the_teachers_first_choices(tensors, samples):
    assert hard_loss(*tensors[:2]).item() == near(
        mean(-math.log(softmax(s)[t.index(max(t))]) for s, t, _ in samples)
    )


def test_swapped_logits_put_the_label_first_and_the_mistake_in_its_place():
    logits, labels = torch.tensor([[1.0, 5.0, 3.0], [4.0, 2.0, 0.0]]), torch.tensor([2, 0])
    assert swapped(logits, labels).tolist() == [[1.0, 3.0, 5.0], [4.0, 2.0, 0.0]]


def test_a_revised_teacher_is_always_right():
    _, teacher, labels = drawn(5, count=50)
    target = revised(teacher, labels)
    assert target.argmax(dim=1).equal(labels)
    assert target.sum(dim=1).tolist() == near([1.0] * 50)


@pytest.mark.parametrize("right", [True, False], ids=["all right", "all wrong"])
def test_label_revision_counts_only_the_samples_concerned(right):
    student, teacher, _ = drawn()
    labels = teacher.argmax(dim=1) if right else teacher.argmin(dim=1)
    where_right = F.cross_entropy(student, labels) + 4 * F.mse_loss(student, teacher)
    where_wrong = F.mse_loss(F.softmax(student, dim=1), revised(teacher, labels))
    assert revision_loss(student, teacher, labels).item() == near(
        (where_right if right else where_wrong).item()
    )


def test_with_two_classes_nothing_is_left_among_the_others():
    student, teacher, labels = drawn(classes=2)
    target, others = dkd_losses(student, teacher, labels)
    assert target > 0
    assert others == 0


def test_twice_the_batch_is_the_same_loss():
    once = drawn()
    twice = [torch.cat([tensor, tensor]) for tensor in once]
    for name, loss in LOSSES.items():
        assert loss(*twice).item() == pytest.approx(loss(*once).item(), rel=1e-7), name


def test_a_peer_learns_by_the_same_loss_with_the_roles_exchanged():
    first, second, labels = (
        part.requires_grad_() if part.is_floating_point() else part for part in drawn()
    )
    dml = create("dml")
    for student, peer in ((first, second), (second, first)):
        ((weight, value),) = dml(Output(student), Output(peer), Batch(labels, labels)).values()
        assert value.item() == near(
            F.kl_div(student.log_softmax(1), peer.softmax(1), reduction="batchmean").item()
        )
        assert torch.autograd.grad(weight * value, [student, peer], allow_unused=True)[1] is None


def test_who_teaches_is_declared():
    companions = {
        "dml": "peer",
        "born_again": "earlier",
        "random_teacher": "untrained",
        "hard_labels": "",
    }
    assert {name: create(name).tapped().companion for name in companions} == companions
    without_another = ("label_smoothing", "tfkd", "longer")
    assert not any(create(name).tapped().any for name in without_another)
    assert all(create(name).control for name in (*without_another, "hard_labels", "random_teacher"))


def test_longer_training_stretches_the_recipe():
    assert (create("longer").length, create("longer", factor=3).length) == (2.0, 3.0)
    assert create("longer+kd").length == 2.0
    assert not create("longer").baseline
