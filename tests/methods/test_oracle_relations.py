"""Losses of relations between samples: the references' values and gradients, naive formulas."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F

from methods import Batch, Output, Probe, Shapes, create
from methods.cc import frobenius_loss, neighbour_loss, taylor_kernel, taylor_loss
from methods.pkt import affinities, transfer_loss
from methods.rkd import angle_loss, distance_loss, rank_loss, relational_loss
from methods.sp import similarity, similarity_loss
from tests.support.reference import cases, near

pytestmark = pytest.mark.broad

COUNT = 5

VECTORS = {
    "sp": similarity_loss,
    "pkt": transfer_loss,
    "rkd": relational_loss,
    "rkd, ranks": rank_loss,
    "cc": neighbour_loss,
    "cc, bilinear": lambda s, t: frobenius_loss(s, t, "bilinear"),
    "cc, gaussian": frobenius_loss,
    "cc, at unit length": taylor_loss,
}

every_loss = pytest.mark.parametrize("loss", VECTORS.values(), ids=VECTORS)


def drawn(seed, *shape, scale=1.5):
    return scale * torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def pair(student=7, teacher=7):
    return drawn(0, COUNT, student), drawn(1, COUNT, teacher)


@pytest.mark.parametrize("case", cases("sp"))
def test_sp_loss_is_the_references(case):
    case.holds(similarity_loss(case["fs"], case["ft"]))


@pytest.mark.parametrize("case", cases("pkt"))
def test_pkt_loss_is_the_references(case):
    case.holds(transfer_loss(case["fs"], case["ft"]))


@pytest.mark.parametrize("case", cases("rkd", "64_d25_a50", "64_96_d0_a1", "batch5_d0_a1"))
def test_rkd_loss_is_the_references(case):
    case.holds(relational_loss(case["fs"], case["ft"], case.params["w_d"], case.params["w_a"]))


@pytest.mark.parametrize("case", cases("rkd", "hard_dark_rank"))
def test_dark_rank_of_features_at_unit_length_is_the_references(case):
    alpha, beta, length = (case.params[name] for name in ("alpha", "beta", "permute_len"))
    case.holds(rank_loss(F.normalize(case["fs"]), F.normalize(case["ft"]), alpha, beta, length))


@pytest.mark.parametrize("case", cases("cc"))
def test_cc_loss_is_the_references_in_each_of_its_variants(case):
    student, teacher = case["fs"], case["ft"]
    if "embed" in case.params:
        student, teacher = (
            F.linear(student, case["ws"], case["bs"]),
            F.linear(teacher, case["wt"], case["bt"]),
        )
    variants = {
        "a": lambda: neighbour_loss(student, teacher),
        "b": lambda: frobenius_loss(student, teacher, case.params["type"]),
        "c": lambda: taylor_loss(student, teacher, case.params["gamma"], case.params["P_order"]),
    }
    case.holds(variants[case.params["variant"]]())


def test_sp_is_the_mean_square_of_what_each_pair_of_rows_differs_in():
    student, teacher = drawn(0, COUNT, 3, 4, 4), drawn(1, COUNT, 6, 2, 2)

    def entry(features, i, j):
        products = [(features[i] * features[k]).sum() for k in range(COUNT)]
        return products[j] / math.sqrt(sum(product**2 for product in products))

    expected = (
        sum(
            (entry(student, i, j) - entry(teacher, i, j)) ** 2
            for i in range(COUNT)
            for j in range(COUNT)
        )
        / COUNT**2
    )
    assert similarity_loss(student, teacher).item() == near(expected.item())


def test_pkt_is_the_mean_divergence_over_pairs_with_another_constant_as_well():
    student, teacher = pair(7, 9)

    def table(features, eps):
        unit = [row / (row.norm() + eps) for row in features]
        rows = [[(first @ second + 1) / 2 for second in unit] for first in unit]
        return [[entry / sum(row) for entry in row] for row in rows]

    for eps in (1e-7, 1e-2):
        s, t = table(student, eps), table(teacher, eps)
        pairs = [(s[i][j], t[i][j]) for i in range(COUNT) for j in range(COUNT)]
        expected = sum(b * torch.log((b + eps) / (a + eps)) for a, b in pairs) / COUNT**2
        assert transfer_loss(student, teacher, eps).item() == near(expected.item())


def smooth(difference):
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


def test_rkd_compares_relative_distances_of_all_pairs():
    def table(features):
        rows = [
            [math.dist(first, second) for second in features.tolist()]
            for first in features.tolist()
        ]
        mean = sum(map(sum, rows)) / (COUNT * (COUNT - 1))
        return [entry / mean for row in rows for entry in row]

    student, teacher = pair(7, 9)
    student = (
        student * torch.tensor([0.01, 0.1, 1.0, 10.0, 100.0])[:, None]
    )  # differences beyond 1 are linear
    expected = (
        sum(smooth(a - b) for a, b in zip(table(student), table(teacher), strict=True)) / COUNT**2
    )
    assert distance_loss(student, teacher).item() == near(expected)


def test_rkd_compares_the_angles_of_all_triangles():
    def cosine(features, i, j, k):
        first, second = features[j] - features[i], features[k] - features[i]
        return (first @ second / (first.norm() * second.norm())).item() if i not in (j, k) else 0.0

    student, teacher = pair(7, 9)
    triples = [(i, j, k) for i in range(COUNT) for j in range(COUNT) for k in range(COUNT)]
    expected = (
        sum(smooth(cosine(student, *triple) - cosine(teacher, *triple)) for triple in triples)
        / COUNT**3
    )
    assert angle_loss(student, teacher).item() == near(expected)


def test_dark_rank_is_the_likelihood_of_the_teachers_order_among_all_orders():
    student, teacher = pair(7, 9)
    total = 0.0
    for i in range(COUNT):
        nearest = sorted(range(COUNT), key=lambda j, i=i: (teacher[i] - teacher[j]).norm().item())[
            1:4
        ]
        score = {j: -2 * (student[i] - student[j]).norm().item() ** 1.5 for j in nearest}

        def likelihood(order, score=score):
            return math.prod(
                math.exp(score[j]) / sum(math.exp(score[rest]) for rest in order[position:])
                for position, j in enumerate(order)
            )

        assert sum(map(likelihood, permutations(nearest))) == near(1.0)
        total -= math.log(likelihood(nearest))
    assert rank_loss(student, teacher, alpha=2.0, beta=1.5, length=3).item() == near(total / COUNT)


def test_a_taylor_kernel_of_high_order_is_the_gaussian_of_features_at_unit_length():
    unit = F.normalize(drawn(0, COUNT, 7))
    gaussian = torch.exp(-0.7 * (unit[None] - unit[:, None]).pow(2).sum(dim=2))
    assert torch.allclose(taylor_kernel(unit, gamma=0.7, order=30), gaussian, rtol=1e-12)
    assert torch.allclose(taylor_kernel(unit, 0.7, 0), torch.full_like(gaussian, math.exp(-1.4)))


def test_cc_variants_are_reduced_as_their_sources_reduce_them():
    student, teacher = pair()
    kernels = taylor_kernel(student, 0.3, 3), taylor_kernel(teacher, 0.3, 3)
    norm = math.sqrt((kernels[0] - kernels[1]).pow(2).sum().item())
    assert frobenius_loss(student, teacher, "gaussian", 0.3, 3).item() == near(norm / COUNT**2)
    gap = (student - teacher).abs()
    expected = sum((gap[i] @ gap[i + 1]).item() for i in range(COUNT - 1)) / (COUNT - 1)
    assert neighbour_loss(student, teacher).item() == near(expected)


@pytest.mark.parametrize("loss", [similarity_loss, transfer_loss], ids=["sp", "pkt"])
def test_a_batch_twice_over_halves_the_loss(loss):
    student, teacher = drawn(0, 64, 16), drawn(1, 64, 16)
    twice = loss(student.repeat(2, 1), teacher.repeat(2, 1))
    assert twice.item() == pytest.approx(loss(student, teacher).item() / 2, rel=1e-4)


@pytest.mark.parametrize("name", ["sp", "pkt"])
@pytest.mark.parametrize(("batch_size", "scale"), [(64, 1.0), (128, 2.0), (32, 0.5)])
def test_the_weight_follows_the_batch_size_where_the_loss_depends_on_it(name, batch_size, scale):
    method, shapes = create(name), Shapes((10,), (12,), ((4, 4, 4),))
    method.build(Probe(shapes, shapes, samples=256, batch_size=batch_size))
    output = Output(torch.empty(0), torch.randn(8, 12), (torch.randn(8, 4, 4, 4),))
    ((weight, _),) = method(
        output, output, Batch(torch.zeros(8, dtype=torch.int64), torch.arange(8))
    ).values()
    assert weight == method.weight * scale


def test_sp_takes_the_embedding_where_it_is_told_to():
    method, output = create("sp", tap="embedding"), Output(torch.empty(0), drawn(0, COUNT, 6))
    assert method.tapped().embedding
    assert not method.tapped().maps
    other = Output(torch.empty(0), drawn(1, COUNT, 9))
    method.build(Probe(Shapes((10,), (6,)), Shapes((10,), (9,)), samples=8, batch_size=COUNT))
    (_, value) = method(output, other, Batch(torch.zeros(COUNT), torch.arange(COUNT)))["sp"]
    assert value.item() == similarity_loss(output.embedding, other.embedding).item()


def test_cc_trains_both_embeddings_and_not_the_teacher():
    method, shapes = create("cc", features=3), Shapes((10,), (7,))
    method.build(Probe(shapes, shapes, samples=8, batch_size=COUNT))
    student, teacher = (tensor.float().requires_grad_() for tensor in pair())
    outputs = Output(torch.empty(0), student), Output(torch.empty(0), teacher)
    method(*outputs, Batch(torch.zeros(COUNT), torch.arange(COUNT)))["cc"][1].backward()
    assert teacher.grad is None
    assert {name for name, weight in method.named_parameters() if weight.grad.norm() > 0} == {
        f"{side}.{part}"
        for side, parts in (("student", ("weight", "bias")), ("teacher", ("weight", "bias")))
        for part in parts
    }


DEGENERATE = {
    "rows of zeros in the student": lambda s, t: (
        s * torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0])[:, None],
        t,
    ),
    "rows of zeros in the teacher": lambda s, t: (
        s,
        t * torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0])[:, None],
    ),
    "nothing but zeros": lambda s, t: (s * 0, t * 0),
    "rows alike in the student": lambda s, t: (s[[0, 0, 0, 1, 2]], t),
    "all rows alike": lambda s, t: (s[[0] * COUNT], t[[0] * COUNT]),
    "student and teacher alike": lambda s, t: (s, s),
    "constant rows": lambda s, t: (s * 0 + 3.0, t),
    "one row": lambda s, t: (s[:1], t[:1]),
    "a feature of 120": lambda s, t: (torch.cat([s[:, :1] + 120, s[:, 1:]], dim=1), t),
}


@every_loss
@pytest.mark.parametrize("spoiled", DEGENERATE.values(), ids=DEGENERATE)
def test_value_and_gradient_are_finite_in_float32_where_features_are_degenerate(loss, spoiled):
    student, teacher = (tensor.float() for tensor in spoiled(*pair()))
    student = student.clone().requires_grad_()
    value = loss(student, teacher)
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert student.grad.isfinite().all()


@every_loss
def test_no_gradient_reaches_the_teacher(loss):
    if loss is neighbour_loss:
        pytest.skip("its teacher's side is an embedding that learns")
    student, teacher = (tensor.requires_grad_() for tensor in pair())
    loss(student, teacher).backward()
    assert student.grad.norm() > 0
    assert teacher.grad is None


@pytest.mark.parametrize("table", [similarity, affinities], ids=["sp", "pkt"])
def test_relations_do_not_depend_on_the_size_of_features(table):
    features = drawn(0, COUNT, 7)
    assert torch.allclose(table(1000 * features), table(features), rtol=1e-6)


PUBLISHED = {
    "sp": {"weight": 3000.0, "tap": "map", "ce": 1.0},
    "pkt": {"weight": 30000.0, "ce": 1.0},
    "rkd": {"distance": 25.0, "angle": 50.0, "ce": 1.0},
    "cc": {"weight": 0.02, "features": 128, "ce": 1.0},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_defaults_are_the_published_settings(name):
    assert create(name).settings == PUBLISHED[name]
