"""Losses of two views, learned temperatures, transport and regions: references and formulas."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from methods import Batch, Classifier, Output, Probe, SettingError, Shapes, create
from methods.catkd import activation_maps, binarised, catkd_loss, of_likely_classes
from methods.crld import cross_loss, within_loss
from methods.ctkd import ctkd_loss, decayed, temperature_of
from methods.irg import distances, edge_loss, transformation, transformation_loss, vertex_loss
from methods.ls import standardised
from methods.luminet import luminet_loss
from methods.mlld import batch_loss, batch_losses, class_loss, class_losses, sample_losses, unsure
from methods.ofa import ofa_loss
from methods.sdd import (
    consistency_weights,
    region_logits,
    sdd_dkd_loss,
    sdd_kd_loss,
    sdd_nkd_loss,
    spatial_pyramid,
)
from methods.skd import direction_loss, instance_loss
from methods.srd import kl_loss, log_distance
from methods.wkd_logit import class_cost, late_decay, sinkhorn, target_loss, transport_loss
from tests.support.reference import cases, near

pytestmark = pytest.mark.broad

COUNT, CLASSES = 6, 7


def drawn(*shape: int, seed: int = 0, scale: float = 3.0) -> Tensor:
    normal = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return scale * normal


def labels() -> Tensor:
    return torch.tensor([3, 0, 6, 2, 2, 5])


def logits(case):
    return case["s"], case["t"]


@pytest.mark.parametrize("case", cases("ctkd"))
def test_ctkd_loss_and_the_temperatures_reversed_gradient_are_the_references(case):
    start, span = case.params["t_start"], case.params["t_end"]
    case.holds(ctkd_loss(*logits(case), case["g"], case.params["lam"], start, span))
    assert temperature_of(case["g"], start, span).item() == near(case.expected["parts"]["temp"])


@pytest.mark.parametrize(
    ("loops", "values"),
    [
        (
            10,
            [
                0.0,
                -0.02447174185242318,
                -0.09549150281252627,
                -0.20610737385376343,
                -0.3454915028125263,
                -0.5,
            ],
        ),
        (
            5,
            [
                0.0,
                -0.09549150281252627,
                -0.3454915028125263,
                -0.6545084971874737,
                -0.9045084971874737,
                -1.0,
                -1.0,
            ],
        ),
    ],
)
def test_the_temperatures_curriculum_is_the_references(loops, values):
    assert [decayed(epoch, loops) for epoch in range(len(values))] == near(values, 1.0)
    assert decayed(1, 0) == -1.0
    assert decayed(-1, loops) == 0.0


def mlld(case, seen=lambda logits: logits):
    """The reference's parts; only the comparison of samples may see standardised logits."""
    temperature, weight = case.params["T0"], case.params["kd_weight"]
    views = [case[name] for name in ("sw", "ss", "tw", "ts")]
    samples, classes = unsure(case["tw"])
    ce = F.cross_entropy(case["sw"], case["y"]) + F.cross_entropy(case["ss"], case["y"])
    return {
        "loss_ce": case.params["ce_weight"] * ce,
        "loss_kd": weight * sample_losses(*map(seen, views), samples, temperature),
        "loss_cc": weight * class_losses(case["sw"], case["tw"], classes, temperature),
        "loss_bc": weight * batch_losses(case["sw"], case["tw"], samples, temperature),
    }


@pytest.mark.parametrize("case", cases("mlld", "c10_T4_ce0.1_kd0.9", "ls_c100"))
def test_the_parts_of_mlld_are_the_references(case):
    parts = mlld(case, standardised) if case.params.get("logit_stand") else mlld(case)
    assert {name: part.item() for name, part in parts.items()} == near(case.expected["parts"])
    case.holds(sum(parts.values()))


@pytest.mark.parametrize("case", cases("mlld", "bc_c10_T4", "bc_c100_T2"))
def test_the_relations_of_samples_are_the_references(case):
    case.holds(batch_loss(*logits(case), case.params["T"]))


def test_the_method_mlld_counts_what_its_parts_count_and_the_second_views_cross_entropy():
    weak, strong, target, other = (drawn(COUNT, CLASSES, seed=seed) for seed in range(4))
    method = create("mlld", temperature=3.5)
    terms = method(
        Output(weak, second=strong), Output(target, second=other), Batch(labels(), labels())
    )
    assert {name: weight for name, (weight, _) in terms.items()} == {
        "kd": 0.9,
        "cc": 0.9,
        "bc": 0.9,
        "ce_strong": 0.1,
    }
    assert terms["ce_strong"][1] == F.cross_entropy(strong, labels())
    counted = [(strong, other, t) for t in (3.5, 3, 5)] + [
        (weak, target, t) for t in (2, 6, 3.5, 3, 5, 2, 6)
    ]
    kl = [
        F.kl_div((s / t).log_softmax(1), (z / t).softmax(1), reduction="batchmean") * t**2
        for s, z, t in counted
    ]
    assert terms["kd"][1].item() == near((sum(kl[:5]) + sum(kl[5:]) / 2).item())
    pairs = [((weak / t).softmax(1), (target / t).softmax(1)) for t in (3.5, 3, 5, 2, 6)]
    relations = [student.T @ student - teacher.T @ teacher for student, teacher in pairs]
    assert terms["cc"][1].item() == near(
        4 / 7 * sum(relation.pow(2).sum().item() for relation in relations) / CLASSES
    )
    assert class_loss(weak, target, 2.0).item() == near(relations[3].pow(2).sum().item() / CLASSES)


@pytest.mark.parametrize("count", [5, 6])
def test_shares_of_unsure_samples_are_those_of_an_interpolated_median(count):
    target = drawn(count, CLASSES, seed=3)
    probabilities = target.softmax(1)
    each = (probabilities.amax(1), probabilities.sum(0))
    expected = [
        (confidence <= torch.quantile(confidence, 0.5)).double().mean().item()
        for confidence in each
    ]
    assert [confidence.item() for confidence in unsure(target)] == expected
    assert unsure(torch.zeros(4, 5))[0].item() == 1.0


@pytest.mark.parametrize("case", cases("ofa"))
def test_ofa_loss_is_the_references(case):
    case.holds(ofa_loss(*logits(case), case["y"], case.params["eps"], case.params["T"]))


@pytest.mark.parametrize(("exponent", "temperature"), [(1.5, 1.0), (0.7, 4.0), (1.0, 2.0)])
def test_ofa_loss_is_the_formula(exponent, temperature):
    s, t, at = drawn(COUNT, CLASSES), drawn(COUNT, CLASSES, seed=1), labels()
    total = 0.0
    for row in range(COUNT):
        p_s, p_t = (s[row] / temperature).softmax(0), (t[row] / temperature).softmax(0)
        for k in range(CLASSES):
            hit = float(k == at[row])
            total -= ((p_t[k] + hit) ** exponent - hit) * p_s[k].log() / COUNT
    assert ofa_loss(s, t, at, exponent, temperature).item() == near(total.item())


@pytest.mark.parametrize("case", cases("wkd_logit", "c10_T8_g600_l0.05_i10"))
def test_the_wasserstein_loss_of_logits_is_the_references(case):
    params = case.params
    target = target_loss(*logits(case), case["y"])
    assert target.item() == near(case.expected["parts"]["target_term"])
    settings = (params["T"], params["sinkhorn_lambda"], params["sinkhorn_iter"])
    case.holds(
        target + params["gamma"] * transport_loss(*logits(case), case["M"], case["y"], *settings)
    )


@pytest.mark.parametrize("case", cases("wkd_logit", "nosep_c10"))
def test_the_wasserstein_loss_with_the_label_among_the_classes_is_the_references(case):
    settings = (case.params["T"], case.params["sinkhorn_lambda"], case.params["sinkhorn_iter"])
    case.holds(transport_loss(*logits(case), case["M"], None, *settings))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_leaving_out_the_label_is_the_same_as_taking_its_row_and_column_away(temperature):
    s, t, at = drawn(COUNT, CLASSES), drawn(COUNT, CLASSES, seed=1), labels()
    cost = class_cost(drawn(CLASSES, 9, seed=2), 0.8)
    total = 0.0
    for row in range(COUNT):
        kept = [k for k in range(CLASSES) if k != at[row]]
        a, b = (s[row, kept] / temperature).softmax(0), (t[row, kept] / temperature).softmax(0)
        part = cost[kept][:, kept].relu() + 1e-8
        kernel, u = (
            (-part / 0.07).exp(),
            torch.full((CLASSES - 1,), 1 / (CLASSES - 1), dtype=torch.float64),
        )
        for _ in range(6):
            v = b / (kernel.T @ u + 1e-8)
            u = a / (kernel @ v + 1e-8)
        total += (torch.diag(u) @ kernel @ torch.diag(v) * part).sum().item() / COUNT
    assert transport_loss(s, t, cost, at, temperature, 0.07, 6).item() == near(total)


def test_transport_follows_a_cost_that_is_not_symmetric():
    a, b = (
        torch.tensor([[0.7, 0.3]], dtype=torch.float64),
        torch.tensor([[0.2, 0.8]], dtype=torch.float64),
    )
    cost = torch.tensor([[0.0, 0.6], [0.2, 0.0]], dtype=torch.float64)
    assert sinkhorn(a, b, cost, 0.05, 500).item() == pytest.approx(0.5 * 0.6, rel=0.01)


def test_wkds_weight_falls_by_a_cosine_after_its_share_of_the_training():
    weights = [late_decay(Batch(labels(), labels(), epoch, 240), 150 / 240) for epoch in range(240)]
    assert set(weights[:150]) == {1.0}
    assert weights[150:] == near(
        [(1 + math.cos(math.pi * (epoch - 149) / 90)) / 2 for epoch in range(150, 240)], 1.0
    )
    assert late_decay(Batch(labels(), labels(), 9, 10), 1.0) == 1.0


def regions(case):
    return case["s"], case["t"], case["y"]


@pytest.mark.parametrize("case", cases("sdd", "kd_c10_r5"))
def test_kd_of_regions_is_the_references(case):
    case.holds(sdd_kd_loss(*regions(case), case.params["T"]))


@pytest.mark.parametrize("case", cases("sdd", "dkd_c10_r21", "dkd_c100_r5"))
def test_dkd_of_regions_is_the_references(case):
    case.holds(
        sdd_dkd_loss(*regions(case), case.params["alpha"], case.params["beta"], case.params["T"])
    )


@pytest.mark.parametrize("case", cases("sdd", "spp_1"))
def test_the_spatial_pyramid_is_the_references(case):
    levels = tuple(int(level) for level in case.params["M"].strip("[]").split(","))
    regions = spatial_pyramid(case["x"], levels)
    assert list(regions.shape) == case.expected["parts"]["shape"]
    assert regions[0, 0].tolist() == near([case.expected["parts"]["regions_first_sample_channel0"]])
    places = torch.arange(1, regions.numel() + 1, dtype=torch.float64).reshape(regions.shape)
    case.holds((regions * places / regions.numel()).sum())


def test_the_regions_are_the_whole_then_the_quarters_then_the_sixteenths_row_by_row():
    maps = drawn(2, 3, 8, 8)
    regions = spatial_pyramid(maps)
    assert regions.shape == (2, 3, 21)
    assert torch.allclose(regions[:, :, 0], maps.mean(dim=(2, 3)))
    assert torch.allclose(regions[:, :, 2], maps[:, :, :4, 4:].mean(dim=(2, 3)))
    assert torch.allclose(regions[:, :, 3], maps[:, :, 4:, :4].mean(dim=(2, 3)))
    assert torch.allclose(regions[:, :, 5 + 4 + 2], maps[:, :, 2:4, 4:6].mean(dim=(2, 3)))
    weight, bias = drawn(CLASSES, 3), drawn(CLASSES, seed=1)
    assert torch.allclose(
        region_logits(maps, Classifier(weight, bias))[:, :, 7], regions[:, :, 7] @ weight.T + bias
    )


def test_a_region_counts_twice_where_the_teacher_is_right_on_one_side_only():
    teacher = torch.zeros(2, 3, 3)
    teacher[0, 1, 0] = teacher[0, 1, 1] = teacher[0, 2, 2] = 1.0
    teacher[1, 0, 0] = teacher[1, 1, 1] = teacher[1, 2, 2] = 1.0
    assert consistency_weights(teacher, torch.tensor([1, 1])).tolist() == [[1, 1, 2], [1, 2, 1]]


@pytest.mark.parametrize("label_kept", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_nkd_of_regions_is_the_formula_with_the_label_left_out_or_as_in_the_reference_kept(
    temperature, label_kept
):
    s, t, at = drawn(COUNT, CLASSES, 5), drawn(COUNT, CLASSES, 5, seed=1), labels()
    total = 0.0
    for row in range(COUNT):
        y = at[row].item()
        kept = [k for k in range(CLASSES) if label_kept or k != y]
        for region in range(5):
            own, other = s[row, :, region], t[row, :, region]
            loss = -other.softmax(0)[y] * own.softmax(0)[y].log()
            q_s, q_t = (own[kept] / temperature).softmax(0), (other[kept] / temperature).softmax(0)
            loss = loss - 1.5 * temperature**2 * (q_t * q_s.log()).sum()
            weight = 1 if (other.argmax() == y) == (t[row, :, 0].argmax() == y) else 2
            total += weight * loss.item() / (COUNT * 5)
    assert sdd_nkd_loss(s, t, at, 1.5, temperature, label_kept).item() == near(total)


@pytest.mark.parametrize("case", cases("catkd", "c10_r2_raw", "c100_r2_raw", "c10_s8_t4_r2_norm"))
def test_catkd_loss_is_the_references(case):
    case.holds(catkd_loss(*logits(case), case.params["resolution"], case.params["normalize"]))


@pytest.mark.parametrize("case", cases("catkd", "partial_top4"))
def test_catkd_of_the_likely_classes_is_the_references(case):
    pair = of_likely_classes(*logits(case), case["lt"], case.params["n"])
    assert F.cross_entropy(case["ls"], case["y"]).item() == near(case.expected["parts"]["loss_CE"])
    case.holds(catkd_loss(*pair, case.params["resolution"], case.params["normalize"]))


def test_a_map_is_binary_at_the_mean_of_its_absolute_values():
    maps = torch.tensor([[[[4.0, -2.0], [2.0, 1.0]]]])
    assert binarised(maps).tolist() == [[[[1.0, 0.0], [0.0, 0.0]]]]


def test_the_average_of_a_classs_activation_map_is_its_logit_without_bias():
    pooled, weight = drawn(COUNT, 5, 4, 3), drawn(CLASSES, 5)
    assert torch.allclose(
        activation_maps(pooled, weight).mean(dim=(2, 3)), pooled.mean(dim=(2, 3)) @ weight.T
    )


@pytest.mark.parametrize("case", cases("skd", "instance_c10"))
def test_the_instance_loss_of_skd_is_the_references(case):
    case.holds(instance_loss(*logits(case), case.params["T"]))


@pytest.mark.parametrize("diagonal", [0.1, 0.7])
def test_the_direction_loss_of_skd_is_the_formula_and_its_gradient_right(diagonal):
    s, t = drawn(COUNT, CLASSES).requires_grad_(), drawn(COUNT, CLASSES, seed=1)
    own, other = (z / z.norm(dim=1, keepdim=True) for z in (s, t))
    difference = own @ own.T - other @ other.T
    inverse = torch.inverse(
        torch.cov(difference.T) + diagonal * torch.eye(COUNT, dtype=torch.float64)
    )
    expected = torch.stack([(row @ inverse @ row).sqrt() for row in difference]).mean()
    loss = direction_loss(s, t, diagonal)
    assert loss.item() == near(expected.item())
    gradients = [torch.autograd.grad(value, s, retain_graph=True)[0] for value in (loss, expected)]
    assert torch.allclose(*gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", cases("srd"))
def test_the_loss_of_srd_is_the_references(case):
    features = log_distance(case["fs"], case["ft"], case.params["exponent"])
    case.holds(features + kl_loss(*logits(case), case.params["T"]))


@pytest.mark.parametrize("exponent", [1.0, 4.0])
@pytest.mark.parametrize("difference", [0.0, 1e-30, 1e20])
def test_a_log_distance_and_its_gradient_stay_finite_where_the_sum_would_not(difference, exponent):
    teacher = torch.zeros(4, 3)
    student = (teacher + difference * torch.tensor([1.0, 0.0, -0.5])).requires_grad_()
    loss = log_distance(student, teacher, exponent)
    assert loss.isfinite()
    loss.backward()
    assert student.grad.isfinite().all()


def test_a_log_distance_of_an_exponent_below_1_which_has_no_finite_gradient_at_0_is_refused():
    with pytest.raises(SettingError, match="exponent"):
        create("srd", exponent=0.5)


@pytest.mark.parametrize("case", cases("luminet"))
def test_luminet_loss_is_the_references(case):
    case.holds(luminet_loss(*logits(case), case.params["alpha"], case.params["T"]))


@pytest.mark.parametrize("case", cases("irg_hkd_afd", "irg_abh"))
def test_irg_loss_is_the_references(case):
    vertex, edge, transform = case.params["w"]
    edges = [edge_loss(case[s], case[t]) for s, t in (("vs", "vt"), ("fs1", "ft1"), ("fs2", "ft2"))]
    pairs = (case["fs1"], case["fs2"]), (case["ft1"], case["ft2"])
    loss = vertex * vertex_loss(case["os"], case["ot"]) + edge * sum(edges) / 3
    case.holds(loss + transform * transformation_loss(*pairs))


def test_distances_and_transformations_are_the_formula_whatever_the_stages_shapes():
    rows = drawn(COUNT, 3, 2)
    squared = torch.stack(
        [torch.stack([(first - second).pow(2).sum() for second in rows]) for first in rows]
    )
    assert torch.allclose(distances(rows), squared / squared.max())
    early, late = drawn(COUNT, 2, 4, 6), drawn(COUNT, 4, 2, 3, seed=1)
    halved = early.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(4, 5))
    moved = (halved - (late[:, 0::2] + late[:, 1::2]) / 2).pow(2).sum(dim=(1, 2, 3))
    assert torch.allclose(transformation(early, late), moved / moved.max())
    assert transformation(drawn(2, 5, 3, 3), drawn(2, 3, 4, 2)).shape == (2,)


@pytest.mark.parametrize(
    "features", [torch.zeros(4, 3, 2, 2), torch.ones(1, 3, 2, 2), torch.ones(4, 3, 2, 2)]
)
def test_irg_of_equal_maps_has_a_finite_loss_and_gradient(features):
    student = features.clone().requires_grad_()
    teacher = drawn(*features.shape).float()
    loss = edge_loss(student, teacher) + transformation_loss((student, student), (teacher, teacher))
    assert loss.isfinite()
    loss.backward()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("case", cases("crld"))
def test_the_parts_of_crld_are_the_references(case):
    params = case.params
    views = [case[name] for name in ("s_w", "s_s", "t_w", "t_s")]
    ce = F.cross_entropy(case["s_w"], case["y"]) + F.cross_entropy(case["s_s"], case["y"])
    parts = {
        "loss_ce": params["ce"] * ce,
        "loss_kd_wv": params["wv"] * within_loss(*views, params["tau_w"], params["T"]),
        "loss_kd_cv": params["cv"] * cross_loss(*views, params["tau_s"], params["T"]),
    }
    assert {name: part.item() for name, part in parts.items()} == near(case.expected["parts"])
    case.holds(sum(parts.values()))


def network(channels: int, side: int) -> Shapes:
    return Shapes((CLASSES,), (channels,), ((channels, side, side),), (channels, side, side), True)


@pytest.mark.parametrize("name", ["sdd", "catkd"])
@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.parametrize("what", ["pooled", "classifier"])
def test_regions_need_the_last_map_and_the_classifier_of_both_networks(name, side, what):
    shapes = {"student": network(4, 4), "teacher": network(6, 8)}
    assert create(name).supports(Probe(**shapes, samples=8, batch_size=8)) is None
    lacks = {
        "pooled": Shapes((CLASSES,), (6,), classifier=True),
        "classifier": Shapes((CLASSES,), (6,), (), (6, 8, 8)),
    }
    probe = Probe(
        **shapes | {side: lacks[what]},
        samples=8,
        batch_size=8,
        notes={f"{side}.{what}": "it has none"},
    )
    title = {"pooled": "pooled map", "classifier": "classifier"}[what]
    assert create(name).supports(probe) == f"{title} of the {side}: it has none"


@pytest.mark.parametrize(("side", "levels"), [(1, (1,)), (3, (1, 2)), (8, (1, 2, 4))])
def test_levels_that_do_not_fit_are_left_out(side, levels):
    method = create("sdd")
    method.build(Probe(network(4, 8), network(6, side), samples=8, batch_size=8))
    assert method.levels == levels


@pytest.mark.parametrize("variant", ["kd", "dkd", "nkd"])
def test_a_region_loss_reaches_the_students_classifier_and_not_the_teachers(variant):
    weights = [drawn(CLASSES, channels).float().requires_grad_() for channels in (4, 6)]
    maps = [drawn(COUNT, channels, 4, 4).float().requires_grad_() for channels in (4, 6)]
    outputs = [
        Output(torch.zeros(0), pooled=features, classifier=Classifier(weight))
        for features, weight in zip(maps, weights, strict=True)
    ]
    method = create("sdd", variant=variant)
    method.build(Probe(network(4, 4), network(6, 4), samples=8, batch_size=COUNT))
    (weight, loss) = method(*outputs, Batch(labels(), labels(), 0, 24))["sdd"]
    assert weight == pytest.approx(0.9 if variant == "kd" else 0.45)
    loss.backward()
    assert weights[0].grad is not None
    assert maps[0].grad is not None
    assert weights[1].grad is None
    assert maps[1].grad is None


def test_ofa_asks_for_the_students_maps_only():
    student, teacher = network(4, 4), Shapes((CLASSES,))
    method = create("ofa")
    assert method.supports(Probe(student, teacher, samples=8, batch_size=8)) is None
    assert method.supports(
        Probe(teacher, student, samples=8, batch_size=8, notes={"student.maps": "none"})
    )
    method.build(Probe(student, teacher, samples=8, batch_size=8))
    assert [head[-1].out_features for head in method.heads] == [CLASSES]


def test_the_last_head_of_ofa_has_a_1x1_convolution_to_the_widest_of_the_embeddings():
    student = Shapes((CLASSES,), (4,), ((2, 8, 8), (4, 4, 4)))
    method = create("ofa")
    method.build(Probe(student, Shapes((CLASSES,), (6,)), samples=8, batch_size=8))
    first, last = method.heads
    assert (last[0].kernel_size, last[0].out_channels) == ((1, 1), 6)
    assert [head[-1].in_features for head in (first, last)] == [6, 6]


def test_published_defaults_are_the_published_settings():
    expected = {
        "ctkd": {"start": 1.0, "span": 20.0, "curriculum": 10 / 240, "weight": 0.9, "ce": 0.1},
        "mlld": {"temperature": 4.0, "weight": 0.9, "standardised": False, "ce": 0.1},
        "ofa": {"weight": 1.0, "stages": 0.1, "exponent": 1.0, "temperature": 1.0, "ce": 1.0},
        "crld": {
            "within": 2.0,
            "cross": 0.5,
            "threshold_weak": 0.9,
            "threshold_strong": 0.2,
            "temperature": 4.0,
            "ce": 1.0,
        },
        "wkd_logit": {
            "gamma": 600.0,
            "temperature": 8.0,
            "target": 1.0,
            "regularisation": 0.05,
            "iterations": 10,
        }
        | {"sharpen": 1.0, "decay_after": 0.625, "ce": 1.0},
        "sdd": {
            "variant": "kd",
            "finest": 4,
            "temperature": 4.0,
            "alpha": 1.0,
            "beta": 8.0,
            "warm_up": 20 / 240,
        }
        | {"weight": 0.9, "ce": 0.1},
        "catkd": {"weight": 400.0, "resolution": 2, "scaled": True, "ce": 1.0},
        "skd": {"temperature": 4.0, "diagonal": 0.1, "instance": 1.0, "direction": 1.0, "ce": 1.0},
        "srd": {"weight": 1.0, "exponent": 4.0, "kl": 1.0, "temperature": 1.0, "ce": 1.0},
        "luminet": {"alpha": 34.0, "temperature": 4.0, "warm_up": 20 / 240, "ce": 2.0},
        "irg": {"vertex": 0.1, "edge": 5.0, "transform": 5.0, "ce": 1.0},
    }
    assert {name: create(name).settings for name in expected} == expected


def complete(side: int, channels: int, seed: int) -> Output:
    """All that the engine could give of a network, in float32 and with a gradient."""
    pooled, weight = (
        drawn(COUNT, channels, side, side, seed=seed),
        drawn(CLASSES, channels, seed=seed + 1),
    )
    maps = (drawn(COUNT, channels // 2, 2 * side, 2 * side, seed=seed + 2), pooled)
    embedding = pooled.mean(dim=(2, 3))
    ready = [
        tensor.float().requires_grad_()
        for tensor in (embedding @ weight.T, embedding, *maps, pooled, weight)
    ]
    logits, embedding, *maps, pooled, weight = ready  # type: ignore[assignment]
    return Output(
        logits, embedding, tuple(maps), (), pooled, Classifier(weight), (logits * 0.5).detach()
    )


@pytest.mark.parametrize(
    "name",
    ["ctkd", "mlld", "ofa", "wkd_logit", "sdd", "catkd", "skd", "srd", "luminet", "irg", "crld"],
)
@pytest.mark.parametrize("sides", [(4, 4), (8, 2), (3, 7)])
def test_a_pair_of_any_sizes_gets_finite_terms_and_gradients_for_the_student_alone(name, sides):
    student, teacher = complete(sides[0], 4, 0), complete(sides[1], 6, 10)
    shapes = [
        Shapes(
            (CLASSES,),
            (channels,),
            tuple(tuple(features.shape[1:]) for features in output.maps),
            output.pooled.shape[1:],
            True,
        )
        for output, channels in ((student, 4), (teacher, 6))
    ]
    method = create(name)
    probe = Probe(
        *shapes, samples=COUNT, batch_size=COUNT, labels=labels(), classifier=teacher.classifier
    )
    assert method.supports(probe) is None
    torch.manual_seed(0)
    method.build(probe)
    terms = method(student, teacher, Batch(labels(), torch.arange(COUNT), 1, 3))
    assert all(
        value.shape == () and value.dtype == torch.float32 and value.isfinite()
        for _, value in terms.values()
    )
    sum(weight * value for weight, value in terms.values()).backward()
    of_student = [
        student.logits,
        student.embedding,
        *student.maps,
        student.pooled,
        student.classifier.weight,
    ]
    of_teacher = [
        teacher.logits,
        teacher.embedding,
        *teacher.maps,
        teacher.pooled,
        teacher.classifier.weight,
    ]
    assert any(tensor.grad is not None and tensor.grad.norm() > 0 for tensor in of_student)
    assert all(tensor.grad is None for tensor in of_teacher)
    assert all(
        tensor.grad.isfinite().all()
        for tensor in [*of_student, *method.parameters()]
        if tensor.grad is not None
    )
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_wkds_cost_is_saved_with_the_method():
    teacher = complete(4, 6, 0)
    shapes = Shapes((CLASSES,), classifier=True)
    method = create("wkd_logit", sharpen=2.0)
    method.build(
        Probe(shapes, shapes, samples=COUNT, batch_size=COUNT, classifier=teacher.classifier)
    )
    assert torch.equal(
        method.state_dict()["cost"], class_cost(teacher.classifier.weight.detach(), 2.0)
    )
    assert method.supports(Probe(shapes, shapes, samples=COUNT, batch_size=COUNT))


def gap() -> Tensor:
    """Wrong classes 120 above: the label's probability, and most others, underflow in float32."""
    logits = torch.zeros(COUNT, CLASSES)
    logits[range(COUNT), (labels() + 1) % CLASSES] = 120.0
    return logits


def probes() -> list[Tensor]:
    flat, same = torch.zeros(COUNT, CLASSES), drawn(1, CLASSES).float().expand(COUNT, CLASSES)
    return [gap(), -gap(), flat, flat + 7.0, same, 40 * drawn(COUNT, CLASSES).float()]


COST = class_cost(drawn(CLASSES, 4, seed=5).float())

FINITE = {
    "ctkd": lambda s, t: ctkd_loss(s, t, torch.ones(())),
    "mlld": lambda s, t: (
        sample_losses(s, s, t, t, *unsure(t)[:1]) + batch_losses(s, t, *unsure(t)[1:])
    ),
    "mlld classes": lambda s, t: class_losses(s, t, unsure(t)[1]),
    "ofa": lambda s, t: ofa_loss(s, t, labels(), 1.5) + ofa_loss(s, t, labels()),
    "wkd_logit": lambda s, t: (
        target_loss(s, t, labels()) + 600 * transport_loss(s, t, COST, labels())
    ),
    "wkd_logit at T 1": lambda s, t: transport_loss(s, t, COST, labels(), 1.0),
    "wkd_logit of little regularisation": lambda s, t: transport_loss(
        s, t, COST, labels(), 1.0, 0.005
    ),
    "wkd_logit with the label": lambda s, t: transport_loss(s, t, COST, None, 1.0),
    "sdd kd": lambda s, t: sdd_kd_loss(s[:, :, None], t[:, :, None], labels(), 1.0),
    "sdd dkd": lambda s, t: sdd_dkd_loss(s[:, :, None], t[:, :, None], labels(), temperature=1.0),
    "sdd nkd": lambda s, t: sdd_nkd_loss(s[:, :, None], t[:, :, None], labels()),
    "skd": lambda s, t: instance_loss(s, t) + direction_loss(s, t),
    "srd": lambda s, t: log_distance(s, t) + kl_loss(s, t),
    "luminet": lambda s, t: luminet_loss(s, t),
    "irg": lambda s, t: vertex_loss(s, t) + edge_loss(s, t),
    "crld": lambda s, t: within_loss(s, s, t, t) + cross_loss(s, s, t, t),
    "catkd": lambda s, t: catkd_loss(s[:, :, None, None].expand(-1, -1, 4, 4), t[:, :, None, None]),
}


@pytest.mark.parametrize("name", FINITE)
@pytest.mark.parametrize("own", range(6))
@pytest.mark.parametrize("other", range(6))
def test_losses_and_gradients_stay_finite_in_float32_and_never_reach_the_teacher(name, own, other):
    student = probes()[own].clone().requires_grad_()
    teacher = probes()[other].clone().requires_grad_()
    loss = FINITE[name](student, teacher)
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    loss.backward()
    assert student.grad.isfinite().all()
    assert teacher.grad is None
