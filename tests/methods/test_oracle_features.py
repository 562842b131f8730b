"""Losses of embeddings and maps: references' values and gradients, formulas, limits of float32."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from methods import Batch, Classifier, Output, Probe, Shapes, create
from methods.crd import crd_loss, moved, nce_loss
from methods.itrd import correlation_loss, mutual_loss
from methods.ofd import margin_of, ofd_loss
from methods.reviewkd import Review, hcl_loss
from methods.semckd import attention, semckd_loss, similarities
from methods.simkd import projection_loss, projector
from methods.srrl import feature_loss, regression_loss
from methods.wkd_feature import gaussian_distances, wkd_feature_loss
from tests.support.reference import cases, near

pytestmark = pytest.mark.broad

SAMPLES, COUNT, CLASSES = 40, 6, 5
LABELS = torch.arange(SAMPLES) % CLASSES
FLAT = Shapes((CLASSES,), (12,), ((4, 16, 16), (12, 4, 4)), (), True)
STUDENT = Shapes((CLASSES,), (12,), ((4, 16, 16), (12, 4, 4)), (12, 4, 4), True)
TEACHER = Shapes((CLASSES,), (20,), ((8, 32, 32), (20, 8, 8)), (20, 8, 8), True)


def probe(student=STUDENT, teacher=TEACHER, labels=LABELS):
    width = teacher.embedding[0]
    classifier = Classifier(torch.randn(CLASSES, width), torch.randn(CLASSES))
    return Probe(student, teacher, SAMPLES, COUNT, labels=labels, classifier=classifier)


def outputs(pair, seed=0, scale=1.0):
    draw = torch.Generator().manual_seed(seed)
    networks = []
    for shapes in (pair.student, pair.teacher):
        before = tuple(scale * torch.randn(COUNT, *shape, generator=draw) for shape in shapes.maps)
        pooled = (
            scale * torch.randn(COUNT, *shapes.pooled, generator=draw) if shapes.pooled else None
        )
        embedding = scale * torch.randn(COUNT, *shapes.embedding, generator=draw)
        embedding = embedding if pooled is None else pooled.mean(dim=(2, 3))
        logits = torch.randn(COUNT, CLASSES, generator=draw)
        networks.append(
            Output(
                logits,
                embedding,
                tuple(tensor.relu() for tensor in before),
                before,
                pooled,
                pair.classifier,
            )
        )
    return networks


def batch(epoch=0, epochs=240):
    return Batch(LABELS[:COUNT], torch.arange(COUNT), epoch, epochs)


def built(name, pair, **settings):
    method = create(name, **settings)
    assert method.supports(pair) is None
    method.build(pair)
    return method.train()


def drawn(*shape, seed=0, scale=1.0):
    draw = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=draw, dtype=torch.float64)).requires_grad_()


def filled(module, **values):
    """The module in float64, with these weights."""
    module = module.double().train()
    with torch.no_grad():
        for name, value in values.items():
            module.get_parameter(name.replace("_", ".")).copy_(value)
    return module


def same(actual, expected, *inputs):
    """Value, and gradient with respect to the inputs."""
    assert actual.item() == pytest.approx(expected.item(), rel=1e-12)
    for mine, naive in zip(
        torch.autograd.grad(actual, inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        assert torch.allclose(mine, naive, rtol=1e-10, atol=1e-12)


def stays_finite(loss, *inputs):
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert all(tensor.grad.isfinite().all() for tensor in inputs)


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("case", cases("crd"))
def test_crd_by_one_product_with_the_bank_is_the_references_step(case, repeated):
    own, others = (
        F.normalize(F.linear(case[x], case[w], case[b]))
        for x, w, b in (("fs", "ws", "bs"), ("ft", "wt", "bt"))
    )
    banks, temperature = (case["m1"], case["m2"]), case.params["T"]
    student, teacher, log_z = crd_loss(own, others, *banks, case["c"], None, temperature, repeated)
    parts = case.expected["parts"]
    assert student.item() == near(parts["student_loss"])
    assert teacher.item() == near(parts["teacher_loss"])
    assert log_z.exp().tolist() == near([parts["Z_v1"], parts["Z_v2"]])
    case.holds(student + teacher)
    for bank, rows, name in zip(banks, (own, others), ("mem1_sum", "mem2_sum"), strict=True):
        after = bank.index_copy(0, case["y"], moved(bank[case["y"]], rows, case.params["momentum"]))
        assert after.sum().item() == near(parts[name])


@pytest.mark.parametrize("repeated", [False, True])
def test_crd_is_its_formula_with_given_normalisers_and_repeated_negatives(repeated):
    own, others = drawn(5, 7), drawn(5, 7, seed=1)
    banks = drawn(30, 7, seed=2).detach(), drawn(30, 7, seed=3).detach()
    chosen, noise, eps = (
        torch.randint(0, 30, (5, 10), generator=torch.Generator().manual_seed(4)),
        9 / 30,
        1e-7,
    )
    z = torch.tensor([50.0, 700.0], dtype=torch.float64)
    naive = 0
    for vectors, bank, normaliser in ((own, banks[1], z[0]), (others, banks[0], z[1])):
        p = torch.exp(torch.einsum("nkd,nd->nk", bank[chosen], vectors) / 0.3) / normaliser
        positive = torch.log(p[:, 0] / (p[:, 0] + noise + eps)).sum()
        naive = naive - (positive + torch.log(noise / (p[:, 1:] + noise + eps)).sum()) / 5
    student, teacher, log_z = crd_loss(own, others, *banks, chosen, z.log(), 0.3, repeated)
    assert torch.equal(log_z, z.log())
    same(student + teacher, naive, own, others)


def test_crd_stays_finite_where_scores_overflow_and_rows_are_zero():
    scores = torch.tensor([[120.0, -120.0, 0.0], [-500.0, 500.0, 90.0]], requires_grad=True)
    stays_finite(nce_loss(scores, torch.zeros(()), 0.02), scores)
    pair = probe()
    method = built("crd", pair, **create("crd").small)
    nn.init.zeros_(method.student_projection.bias)
    student, teacher = outputs(pair)
    embedding = torch.zeros(COUNT, 12, requires_grad=True)
    ((_, value),) = method(Output(student.logits, embedding), teacher, batch()).values()
    stays_finite(value, embedding, method.student_projection.weight)


def test_crd_starts_with_uniform_banks_keeps_the_first_normalisers_and_moves_the_seen_rows_alone():
    pair = probe()
    method = built("crd", pair, negatives=16, dim=12)
    before = method.student_bank.clone(), method.teacher_bank.clone()
    assert 0.45 < before[0].abs().max() <= 0.5  # 1 / sqrt(12 / 3)
    assert method.log_z.isneginf().all()
    student, teacher = outputs(pair)
    method(student, teacher, batch())
    first = method.log_z.clone()
    for bank, old in zip((method.student_bank, method.teacher_bank), before, strict=True):
        assert torch.equal(bank[COUNT:], old[COUNT:])
        assert torch.allclose(bank[:COUNT].norm(dim=1), torch.ones(COUNT))
    method(student, teacher, batch())
    assert first.isfinite().all()
    assert torch.equal(method.log_z, first)


@pytest.mark.parametrize("negatives", [1, 20, 32, 33, 100])
@pytest.mark.parametrize(
    "labels", [LABELS * 7 + 3, LABELS.flip(0), (torch.arange(SAMPLES) == 5).long() * 4]
)
def test_crd_draws_negatives_of_other_classes_evenly_and_apart_while_there_are_enough(
    negatives, labels
):
    method = built("crd", probe(labels=labels), negatives=negatives)
    index = torch.tensor([5, 0, 39, 7])
    torch.manual_seed(0)
    drawn_rows = torch.stack([method._negatives(index) for _ in range(200)], dim=1)
    assert drawn_rows.shape == (4, 200, negatives)
    most = labels.unique(return_counts=True)[1].max()
    for sample, negatives_drawn in zip(index, drawn_rows, strict=True):
        others = labels != labels[sample]
        times = torch.bincount(negatives_drawn.flatten(), minlength=SAMPLES)
        assert (times[~others] == 0).all()
        expected = 200 * negatives / others.sum()
        assert (times[others] - expected).abs().max() <= 5 * math.sqrt(expected)
        if negatives <= SAMPLES - most:
            assert all(len(row.unique()) == negatives for row in negatives_drawn)


def test_crd_takes_all_other_samples_for_negatives_where_labels_are_unknown_and_needs_two_classes():
    method = built("crd", probe(labels=None), negatives=SAMPLES - 1)
    assert set(method._negatives(torch.tensor([3])).flatten().tolist()) == set(range(SAMPLES)) - {3}
    assert create("crd").supports(probe(labels=torch.zeros(SAMPLES, dtype=torch.int64)))


@pytest.mark.parametrize("case", cases("itrd"))
def test_correlation_loss_is_the_references(case):
    case.holds(
        correlation_loss(
            F.linear(case["s"], case["w"], case["b"]), case["t"], case.params["alpha_it"]
        )
    )


@pytest.mark.parametrize("alpha", [0.7, 1.01, 1.5])
def test_correlation_and_mutual_loss_are_their_formulas(alpha):
    s, t = drawn(5, 9, scale=60.0), drawn(5, 9, seed=1)
    own, others = ((tensor - tensor.mean(0)) / tensor.std(0) for tensor in (s, t.detach()))
    c = torch.einsum("nd,nd->d", own, others) / 5
    same(correlation_loss(s, t, alpha), torch.log2(((c - 1) ** 2).abs().pow(alpha).sum()), s)
    wide = drawn(5, 4, seed=2).detach()
    gram, other = F.normalize(s) @ F.normalize(s).T, F.normalize(wide) @ F.normalize(wide).T
    both = gram * other / torch.trace(gram * other)
    same(mutual_loss(s, wide), ((gram / torch.trace(gram)) ** 2 - both**2).sum(), s)
    assert torch.autograd.grad(
        correlation_loss(s, t) + mutual_loss(s, t), t, allow_unused=True
    ) == (None,)


@pytest.mark.parametrize("rows", ["zero", "one zero", "same", "constant column", "single"])
@pytest.mark.parametrize("loss", [correlation_loss, mutual_loss])
def test_itrd_stays_finite_where_the_reference_does_not(rows, loss):
    for spoiled in range(2):
        count = 1 if rows == "single" else 6
        pair = [
            torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)
        ]
        features = pair[spoiled]
        if rows == "constant column":
            features[:, 0] = 0.1
        elif rows == "zero":
            features.zero_()
        elif rows == "same":
            features[:] = features[:1].clone()
        elif rows == "one zero":
            features[0] = 0.0

        stays_finite(loss(pair[0].requires_grad_(), pair[1]), pair[0])
        assert pair[0].grad.abs().max() < 100


@pytest.mark.parametrize("case", cases("srrl"))
def test_srrl_is_the_references_with_its_connector(case):
    connector = nn.Sequential(nn.Conv2d(16, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
    names = {"0_weight": "w", "1_weight": "g", "1_bias": "b"}
    connector = filled(connector, **{name: case[argument] for name, argument in names.items()})
    connected = connector(case["fs"])
    feature = feature_loss(connected, case["ft"])
    regression = regression_loss(connected, Classifier(case["fw"], case["fb"]), case["t"])
    assert feature.item() == near(case.expected["parts"]["fm"])
    assert regression.item() == near(case.expected["parts"]["sr"])
    case.holds(feature + case.params["weight"] * regression)


def test_srrl_spares_the_teachers_classifier_and_takes_vectors_as_maps_of_one_position():
    connected, teacher, logits = drawn(5, 8, seed=1), drawn(5, 8, seed=2), drawn(5, 3, seed=3)
    weight, bias = drawn(3, 8, seed=4), drawn(3, seed=5)
    for head in (Classifier(weight, bias), Classifier(weight)):
        actual = feature_loss(connected, teacher) + regression_loss(connected, head, logits)
        as_map = connected[..., None, None]
        again = feature_loss(as_map, teacher[..., None, None]) + regression_loss(
            as_map, head, logits
        )
        assert actual.item() == pytest.approx(again.item(), rel=1e-14)
        others = torch.autograd.grad(actual, (teacher, logits, weight, bias), allow_unused=True)
        assert others == (None,) * 4


@pytest.mark.parametrize("case", cases("simkd"))
def test_simkd_projection_and_prediction_are_the_references(case):
    weights = {f"{3 * at}_weight": case[f"w{at + 1}"] for at in range(3)}
    norms = {
        f"{3 * at + 1}_{kind}": case[f"{letter}{at + 1}"]
        for at in range(3)
        for kind, letter in (("weight", "g"), ("bias", "b"))
    }
    module = filled(projector(16, 32, case.params["factor"]), **weights, **norms)
    projected = module(case["fs"])
    predicted = F.linear(projected.mean(dim=(2, 3)), case["fw"], case["fb"])
    parts = case.expected["parts"]
    actual = [projected.sum().item(), predicted.sum().item(), predicted.abs().sum().item()]
    assert actual == near([parts["proj_sum"], parts["pred_sum"], parts["pred_abs_sum"]])
    case.holds(projection_loss(projected, case["ft"]))


@pytest.mark.parametrize(
    ("student", "teacher", "size"), [(STUDENT, TEACHER, (4, 4)), (FLAT, TEACHER, (1, 1))]
)
def test_simkd_is_deployed_with_a_copy_of_the_teachers_classifier(student, teacher, size):
    pair = probe(student, teacher)
    method = built("simkd", pair)
    own, other = outputs(pair)
    head = method.deployed()
    projected = head.project(own)
    assert projected.shape == (COUNT, 20, *size)
    assert torch.equal(head(own), pair.classifier(projected.mean(dim=(2, 3))))
    assert {"head.weight", "head.bias", "head.projector.0.weight"} <= method.state_dict().keys()
    assert not any(name in ("head.weight", "head.bias") for name, _ in method.named_parameters())
    pair.classifier.weight.zero_()
    assert head.weight.abs().sum() > 0
    ((_, value),) = method(own, other, batch()).values()
    target = F.adaptive_avg_pool2d(other.pooled, size)
    assert value.item() == pytest.approx(
        (head.project(own) - target).pow(2).mean().item(), rel=1e-5
    )


def test_simkd_averages_the_larger_map_whichever_it_is():
    teacher = drawn(2, 3, 8, 8)
    assert projection_loss(
        torch.zeros(2, 3, 4, 4, dtype=torch.float64), teacher
    ).item() == pytest.approx(F.avg_pool2d(teacher, 2).pow(2).mean().item(), rel=1e-12)
    pair = probe(TEACHER, STUDENT)
    method = built("simkd", pair)
    assert method.deployed().project(outputs(pair)[0]).shape == (COUNT, 12, 4, 4)


@pytest.mark.parametrize("case", cases("semckd"))
def test_semckd_loss_is_the_references(case):
    maps = [[[case[f"{side}{i}{j}"] for j in range(2)] for i in range(2)] for side in "pt"]
    case.holds(semckd_loss(*maps, case["w"]))


def test_semckd_is_its_formula_for_unequal_numbers_of_stages():
    maps, targets = (
        [[drawn(5, 2 + j, 3, 3, seed=10 * k + j) for j in range(3)] for k in (n, n + 1)]
        for n in (0, 5)
    )
    queries, keys = drawn(5, 2, 4, seed=70), drawn(5, 3, 4, seed=71)
    actual = semckd_loss(maps, targets, attention(queries, keys, 0.5))
    naive = 0
    for n in range(5):
        for i in range(2):
            shares = torch.softmax(
                torch.stack([queries[n, i] @ keys[n, j] / 0.5 for j in range(3)]), dim=0
            )
            for j in range(3):
                naive = (
                    naive
                    + shares[j] * (maps[i][j][n] - targets[i][j][n].detach()).pow(2).mean() / 10
                )
    same(actual, naive, queries, keys, maps[1][2])
    gram = (maps[0][0][1] * maps[0][0][2]).sum().item()
    assert similarities(maps[0][0])[1, 2].item() == pytest.approx(gram)


@pytest.mark.parametrize("case", cases("reviewkd", "hcl_8x8"))
def test_hcl_loss_is_the_references(case):
    case.holds(hcl_loss(case["fs"], case["ft"]))


@pytest.mark.parametrize("case", cases("reviewkd", "full_pipeline"))
def test_the_chain_of_fusions_is_the_references(case):
    student, teacher = [(8, 8, 8), (12, 4, 4), (12, 1, 1)], [(16, 8, 8), (24, 4, 4), (24, 1, 1)]
    kinds = {
        "inner_0_weight": "c1w",
        "inner_1_weight": "b1w",
        "inner_1_bias": "b1b",
        "outer_0_weight": "c2w",
        "outer_1_weight": "b2w",
        "outer_1_bias": "b2b",
        "attention_weight": "aw",
        "attention_bias": "ab",
    }
    names = {
        f"fusions_{at}_{name}": f"l{at}_{kind}" for at in range(3) for name, kind in kinds.items()
    }
    weights = {name: case[argument] for name, argument in names.items() if argument in case.entries}
    review = filled(Review(student, teacher, case.params["mid"]), **weights)
    assert len(list(review.parameters())) == len(weights)
    fused = review([case["x1"], case["x2"], case["x3"][..., None, None]])
    targets = [case["t1"], case["t2"], case["t3"][..., None, None]]
    assert [features.sum().item() for features in fused] == near(
        case.expected["parts"]["out_sums"], 100
    )
    assert [features.abs().sum().item() for features in fused] == near(
        case.expected["parts"]["out_abs_sums"]
    )
    case.holds(
        torch.stack(
            [hcl_loss(features, other) for features, other in zip(fused, targets, strict=True)]
        ).sum()
    )


@pytest.mark.parametrize(
    ("height", "weights"),
    [(1, []), (2, [0.5]), (3, [0.5, 0.25]), (4, [0.5, 0.25]), (7, [0.5, 0.25, 0.125])],
)
def test_hcl_loss_takes_the_levels_below_the_maps_height(height, weights):
    s, t = drawn(5, 3, height, 6), drawn(5, 3, height, 6, seed=1)
    naive = (s - t.detach()).pow(2).mean()
    for level, weight in zip((4, 2, 1)[3 - len(weights) :], weights, strict=True):
        pooled = (F.adaptive_avg_pool2d(tensor, level) for tensor in (s, t.detach()))
        naive = naive + weight * F.mse_loss(*pooled)
    same(hcl_loss(s, t), naive / (1 + sum(weights)), s)


@pytest.mark.parametrize(
    "maps", [((6, 14, 14), (6, 14, 14)), ((6, 7, 3), (9, 1, 1)), ((3, 5, 5), (4, 8, 8), (5, 2, 2))]
)
def test_reviewkd_runs_with_maps_of_equal_and_of_odd_sizes(maps):
    for student, teacher in ((maps, TEACHER.maps), (TEACHER.maps, maps)):
        count = min(len(student), len(teacher))
        sides = (Shapes((CLASSES,), (12,), maps[-count:]) for maps in (student, teacher))
        pair = probe(*sides)
        ((_, value),) = built("reviewkd", pair)(*outputs(pair), batch()).values()
        assert value.isfinite()


def test_reviewkd_and_wkd_change_their_weights_as_published_over_240_epochs():
    pair = probe()
    own, other = outputs(pair)
    review, wkd = built("reviewkd", pair), built("wkd_feature", pair)
    weights = [review(own, other, batch(epoch))["reviewkd"][0] for epoch in (0, 9, 19, 239)]
    assert weights == pytest.approx([0.25, 2.5, 5.0, 5.0])
    weights = [wkd(own, other, batch(epoch))["wkd_feature"][0] for epoch in (0, 149, 194, 239)]
    assert weights == pytest.approx([0.08, 0.08, 0.04, 0.0])


@pytest.mark.parametrize("case", cases("ofd"))
def test_ofd_loss_is_the_references(case):
    case.holds(ofd_loss(case["s"], case["t"], case["m"]))


def test_ofd_loss_is_its_formula_for_margins_of_any_sign():
    s, t, m = drawn(5, 4, 3, 3), drawn(5, 4, 3, 3, seed=1), drawn(4, seed=2)
    naive = 0
    for student, target, margin in zip(
        s.movedim(1, 0), t.detach().movedim(1, 0), m.detach(), strict=True
    ):
        for x, y in zip(student.flatten(), target.flatten(), strict=True):
            y = max(y, margin)
            naive = naive + ((x - y) ** 2 if x > y or y > 0 else 0 * x) / 5
    same(ofd_loss(s, t, m), naive, s)


def test_the_margin_is_the_mean_of_the_negative_part_of_a_normal_distribution():
    weight = torch.tensor([1.0, -2.0, 0.5, 0.1, 0.0, 0.0, 0.3], dtype=torch.float64)
    bias = torch.tensor([0.0, 1.0, -2.0, 3.0, 1.0, -1.0, 0.92], dtype=torch.float64)
    expected = []
    for s, m in zip(weight.abs().tolist()[:4], bias.tolist()[:4], strict=True):
        below = 0.5 * math.erfc(m / s / math.sqrt(2))
        height = math.exp(-((m / s) ** 2) / 2) / math.sqrt(2 * math.pi)
        expected.append(m - s * height / below if below > 0.001 else -3 * s)
    actual = margin_of(weight, bias)
    assert actual[:4].tolist() == pytest.approx(expected, rel=1e-12)
    assert actual[4:6].tolist() == pytest.approx([0.0, -1.0])
    assert actual.isfinite().all()
    assert margin_of(weight.float(), bias.float()).isfinite().all()
    normal = torch.randn(200_000, generator=torch.Generator().manual_seed(0)) * 2 + 1
    assert normal[normal < 0].mean().item() == pytest.approx(actual[1].item(), rel=0.01)


def test_ofd_estimates_its_margins_over_all_batches_and_halves_shallow_stages():
    pair = probe()
    method = built("ofd", pair)
    seen = [outputs(pair, seed) for seed in range(3)]
    for own, other in seen:
        terms = method(own, other, batch())
    maps = torch.cat([other.preactivations[1] for _, other in seen])
    means = torch.stack([channel[channel < 0].mean() for channel in maps.movedim(1, 0)])
    margin = method.margins[1].total / method.margins[1].count
    assert torch.allclose(margin, means, rtol=1e-5)
    losses = []
    for at, (connector, running) in enumerate(zip(method.connectors, method.margins, strict=True)):
        target = F.adaptive_avg_pool2d(other.preactivations[at], own.preactivations[at].shape[2:])
        losses.append(
            ofd_loss(connector(own.preactivations[at]), target, running.total / running.count)
        )
    assert terms["ofd"][1].item() == pytest.approx((losses[0] / 2 + losses[1]).item(), rel=1e-5)


@pytest.mark.parametrize("case", cases("wkd_feature"))
def test_wkd_feature_loss_is_the_references(case):
    means, deviations = gaussian_distances(
        case["s"], case["t"], case.params["grid"], case.params["eps"]
    )
    assert means.item() == near(case.expected["parts"]["mean"])
    assert deviations.item() == near(case.expected["parts"]["cov"])
    case.holds(wkd_feature_loss(case["s"], case["t"], **case.params))


@pytest.mark.parametrize(
    ("grid", "size"), [(1, (8, 8)), (2, (8, 8)), (4, (8, 8)), (3, (7, 5)), (4, (6, 10))]
)
def test_wkd_feature_loss_is_its_formula_on_a_grid(grid, size):
    s, t = drawn(5, 3, *size), drawn(5, 3, *size, seed=1)
    naive, (height, width) = 0, size
    for i in range(grid):
        for j in range(grid):
            down = slice(math.floor(i * height / grid), math.ceil((i + 1) * height / grid))
            across = slice(math.floor(j * width / grid), math.ceil((j + 1) * width / grid))
            own, other = s[:, :, down, across], t.detach()[:, :, down, across]
            means = (own.mean((2, 3)) - other.mean((2, 3))).pow(2).sum()
            spread = (
                ((own.var((2, 3)) + 1e-3).sqrt() - (other.var((2, 3)) + 1e-3).sqrt()).pow(2).sum()
            )
            naive = naive + (2 * means + spread) / 5 / grid**2
    same(wkd_feature_loss(s, t, 2.0, grid, 1e-3), naive, s)


def test_feature_losses_stay_finite_at_constant_maps_and_cells_of_one_position():
    for size, grid in (((4, 4), 1), ((4, 4), 4), ((1, 1), 1), ((2, 2), 4)):
        for value in (0.0, 1.0):
            s = torch.full((3, 5, *size), value, requires_grad=True)
            stays_finite(wkd_feature_loss(s, torch.randn(3, 5, 1, 1), grid=grid), s)
    s = torch.zeros(3, 5, 4, 4, requires_grad=True)
    stays_finite(
        ofd_loss(s, torch.zeros(3, 5, 4, 4), torch.zeros(5)) + hcl_loss(s, torch.zeros(3, 5, 4, 4)),
        s,
    )
    pair = probe()
    own, other = outputs(pair, scale=0.0)
    for name in ("semckd", "srrl", "simkd", "reviewkd", "ofd", "wkd_feature", "itrd"):
        method = built(name, pair)
        total = sum(weight * value for weight, value in method(own, other, batch()).values())
        stays_finite(total, *method.parameters())


def test_semckd_weighs_stages_by_the_batch_and_reaches_queries_and_keys():
    pair = probe()
    method = built("semckd", pair)
    ((_, value),) = method(*outputs(pair), batch()).values()
    value.backward()
    assert len(method.projectors) == 4
    assert method.queries[0].layers[0].in_features == COUNT
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert method.keys[1].layers[2].weight.grad.abs().sum() > 0


def test_defaults_of_the_feature_methods_are_the_published_ones():
    defaults = {
        name: create(name).settings
        for name in ("crd", "srrl", "simkd", "semckd", "reviewkd", "ofd", "itrd")
    }
    assert defaults == {
        "crd": {
            "weight": 0.8,
            "negatives": 16384,
            "temperature": 0.07,
            "momentum": 0.5,
            "dim": 128,
            "ce": 1.0,
        },
        "srrl": {"feature": 1.0, "regression": 1.0, "ce": 1.0},
        "simkd": {"weight": 1.0, "factor": 2, "ce": 0.0},
        "semckd": {"weight": 400.0, "factor": 4, "soft": 1.0, "ce": 1.0},
        "reviewkd": {"weight": 5.0, "width": 512, "warm_up": 20 / 240, "ce": 1.0},
        "ofd": {"weight": 0.001, "ce": 1.0},
        "itrd": {"correlation": 2.0, "mutual": 1.0, "alpha": 1.01, "ce": 1.0},
    }
    wkd = {"weight": 0.08, "ratio": 4.0, "grid": 1, "stage": -1, "decay_from": 150 / 240, "ce": 1.0}
    assert create("wkd_feature").settings == wkd
