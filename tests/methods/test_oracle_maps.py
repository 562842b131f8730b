"""Losses of maps, stage by stage: the references' values and gradients, and naive formulas."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from methods import Batch, Output, Probe, Shapes, create
from methods._adapters import ConvRegressor
from methods.ab import boundary_loss
from methods.afd import attentive_loss
from methods.at import attention_loss
from methods.fitnet import hint_loss
from methods.fsp import flow_loss
from methods.ft import Paraphraser, factor_loss, whole_factor_loss
from methods.ickd import channel_loss
from methods.kdsvd import singular_loss
from methods.mgd import generation_loss, masked
from methods.nst import selectivity_loss
from methods.vid import gaussian_loss, initial_rho
from tests.support.reference import cases, near

pytestmark = pytest.mark.broad

COUNT = 4
BATCH = Batch(torch.zeros(COUNT, dtype=torch.int64), torch.arange(COUNT), epoch=0, epochs=240)


def drawn(seed, *shape, scale=1.5):
    return scale * torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def stages(seed, *shapes):
    return tuple(drawn(seed + index, COUNT, *shape) for index, shape in enumerate(shapes))


def outputs(student, teacher):
    return tuple(
        Output(torch.empty(0), maps=maps, preactivations=maps) for maps in (student, teacher)
    )


def built(name, student, teacher, **settings):
    """A method with adapters in float64 for these maps."""
    method = create(name, **settings)
    shapes = (
        Shapes((10,), maps=tuple(tuple(features.shape[1:]) for features in maps))
        for maps in (student, teacher)
    )
    probe = Probe(*shapes, samples=64, batch_size=COUNT)
    assert method.supports(probe) is None
    torch.manual_seed(0)
    method.build(probe)
    return method.double()


def reason(name, student, teacher, **settings):
    probe = Probe(
        Shapes((10,), maps=student), Shapes((10,), maps=teacher), samples=64, batch_size=COUNT
    )
    return create(name, **settings).supports(probe)


@pytest.mark.parametrize("case", cases("at", "8x8", "s16_t8"))
def test_at_loss_is_the_references(case):
    case.holds(attention_loss(case["fs"], case["ft"], **case.params))


@pytest.mark.parametrize("case", cases("at", "s16_t8"))
def test_at_loss_pools_the_larger_of_two_maps_whichever_it_is(case):
    assert attention_loss(case["ft"], case["fs"]).item() == near(case.expected["loss"])


@pytest.mark.parametrize("case", cases("at", "zero_map"))
def test_an_inactive_teacher_map_has_no_attention_and_no_direction(case):
    """The reference's gradient is rounding noise of 1e-19 around the true value, zero."""
    loss = attention_loss(case["fs"], case["ft"])
    (gradient,) = torch.autograd.grad(loss, case["fs"])
    assert loss.item() == near(case.expected["loss"])
    assert gradient.abs().max() < 1e-15


@pytest.mark.parametrize("case", cases("at", "8x8"))
def test_at_by_its_published_defaults_adds_up_the_stages_under_weight_1000(case):
    at, maps = create("at"), [(case["fs"], case["ft"])] * 2
    weight, value = at(*outputs(*zip(*maps, strict=True)), BATCH)["at"]
    assert (weight, value.item()) == (1000.0, near(2 * case.expected["loss"]))


@pytest.mark.parametrize("case", cases("fitnet"))
def test_fitnet_loss_is_the_references(case):
    """The second reference's regressor is a bare convolution without BatchNorm and ReLU."""
    regressed = F.conv2d(case["fs"], case["w"]) if "w" in case.entries else case["fs"]
    case.holds(hint_loss(regressed, case["ft"]))


@pytest.mark.parametrize("case", cases("fitnet", "mse_same"))
def test_fitnet_by_its_published_defaults_hints_at_the_second_deepest_stage_under_weight_100(case):
    other = torch.zeros_like(case["fs"])
    pair = outputs((other, case["fs"], other + 1), (other, case["ft"], other))
    method = create("fitnet")
    method.built = True  # without a regressor: the shapes are equal
    weight, value = method(*pair, BATCH)["fitnet"]
    assert (weight, value.item()) == (100.0, near(case.expected["loss"]))


@pytest.mark.parametrize("case", cases("nst"))
def test_nst_loss_is_the_references(case):
    case.holds(selectivity_loss(case["fs"], case["ft"]))


def test_nst_is_the_discrepancy_of_channels_written_out_with_another_kernel_as_well():
    student, teacher = drawn(0, 2, 3, 4, 4), drawn(1, 2, 5, 2, 2)
    pooled = F.adaptive_avg_pool2d(student, 2)

    def kernel(first, second, degree, offset):
        entries = [
            (F.cosine_similarity(a.flatten(), b.flatten(), dim=0).item() + offset) ** degree
            for n in range(2)
            for a in first[n]
            for b in second[n]
        ]
        return sum(entries) / len(entries)

    for degree, offset in ((2, 0.0), (3, 0.5)):
        parts = [
            kernel(*two, degree, offset)
            for two in ((teacher, teacher), (pooled, pooled), (pooled, teacher))
        ]
        expected = parts[0] + parts[1] - 2 * parts[2]
        assert selectivity_loss(student, teacher, degree, offset).item() == near(expected)


@pytest.mark.parametrize("case", cases("fsp"))
def test_fsp_loss_is_the_references(case):
    case.holds(flow_loss((case["s1"], case["s2"]), (case["t1"], case["t2"])))


def test_fsp_is_the_mean_product_of_channels_after_pooling_the_larger_of_two_consecutive_maps():
    student = stages(0, (2, 4, 4), (3, 2, 2), (3, 2, 2))
    teacher = stages(5, (2, 8, 8), (3, 4, 4), (3, 8, 8))

    def product(first, second, n, a, b):
        size = min(first.shape[2], second.shape[2])
        first, second = (F.adaptive_avg_pool2d(features, size) for features in (first, second))
        return (first[n, a] * second[n, b]).mean()

    expected = 0.0
    for i in range(2):
        entries = [
            (n, a, b) for n in range(COUNT) for a in range(student[i].shape[1]) for b in range(3)
        ]
        squares = [
            (product(*student[i : i + 2], *e) - product(*teacher[i : i + 2], *e)) ** 2
            for e in entries
        ]
        expected += (sum(squares) / len(squares)).item()
    assert flow_loss(student, teacher).item() == near(expected)


def test_fsp_teaches_before_the_training_only():
    student, teacher = (stages(seed, (2, 4, 4), (3, 2, 2)) for seed in (0, 5))
    method = built("fsp", student, teacher)
    assert method(*outputs(student, teacher), BATCH) == {}
    weight, value = method.pre_train(*outputs(student, teacher), BATCH)["fsp"]
    assert (weight, value.item()) == (1.0, flow_loss(student, teacher).item())


def test_fsp_says_why_it_cannot_compare_networks():
    two, other = ((2, 4, 4), (3, 2, 2)), ((2, 4, 4), (4, 2, 2))
    assert "single map" in reason("fsp", two[:1], two[:1])
    assert (
        reason("fsp", two, other) == "channels of the maps differ: student [2, 3], teacher [2, 4]"
    )


@pytest.mark.parametrize("case", cases("ft", "b_8x8", "a_p22_8x8", "a_s8_t4"))
def test_ft_loss_is_the_references_in_both_variants(case):
    parameters = {name: value for name, value in case.params.items() if name != "variant"}
    loss = factor_loss if case.params["variant"] == "a" else whole_factor_loss
    case.holds(loss(case["s"], case["t"], **parameters))


@pytest.mark.parametrize("case", cases("ft", "paraphraser_rec"))
def test_the_paraphraser_rebuilds_a_map_as_the_reference_does(case):
    features = case["f"]
    channels, factors = features.shape[1], case["e1b"].shape[0]
    paraphraser = Paraphraser(channels, factors, case.params["use_bn"]).double()
    assert factors == channels * case.params["k"]
    state = {}
    for part, name in (("encoder", "e"), ("decoder", "d")):
        for index in range(3):
            state[f"{part}.{2 * index}.weight"] = case[f"{name}{index}w"]
            state[f"{part}.{2 * index}.bias"] = case[f"{name}{index}b"]
    paraphraser.load_state_dict(state)
    case.holds(F.mse_loss(paraphraser(features), features))
    parts = case.expected["parts"]
    assert paraphraser.encoder(features).sum().item() == near(parts["factor_sum"])
    assert paraphraser(features).sum().item() == near(parts["rec_sum"])


def test_ft_variants_written_out_at_other_powers():
    student, teacher = drawn(0, COUNT, 3, 4, 4), drawn(1, COUNT, 3, 4, 4)

    def factor(features, p):
        attention = torch.stack(
            [sum(channel**p for channel in sample) / len(sample) for sample in features]
        )
        return attention / attention.pow(2).sum(dim=(1, 2), keepdim=True).sqrt()

    gap = factor(student, 3) - factor(teacher, 3)
    assert factor_loss(student, teacher, 3, 1).item() == near(gap.abs().sum().item() / gap.numel())
    assert factor_loss(student, teacher, 3, 3).item() == near((gap**3).sum().item() / gap.numel())
    unit = [
        tensor / tensor.pow(2).sum(dim=(1, 2, 3), keepdim=True).sqrt()
        for tensor in (student, teacher)
    ]
    lengths = (unit[0] - unit[1]).pow(2).sum(dim=(1, 2, 3)).sqrt()
    assert whole_factor_loss(student, teacher, 2).item() == near(lengths.mean().item())


def test_the_paraphraser_learns_before_the_training_and_is_frozen_in_it():
    student, teacher = (
        (drawn(seed, COUNT, channels, 4, 4).requires_grad_(),)
        for seed, channels in ((0, 3), (1, 6))
    )
    method, pair = built("ft", student, teacher), outputs(student, teacher)
    weight, value = method.pre_train(*pair, BATCH)["paraphraser"]
    value.backward()
    assert weight == 1.0
    learns = {name for name, parameter in method.named_parameters() if parameter.grad is not None}
    assert learns == {
        name for name, _ in method.named_parameters() if name.startswith("paraphraser")
    }
    assert student[0].grad is None
    method.zero_grad()
    method(*pair, BATCH)["ft"][1].backward()
    learns = {name for name, parameter in method.named_parameters() if parameter.grad is not None}
    assert learns == {
        name for name, _ in method.named_parameters() if name.startswith("translator")
    }
    assert student[0].grad.norm() > 0
    assert teacher[0].grad is None


@pytest.mark.parametrize("case", cases("ab"))
def test_ab_loss_is_the_references(case):
    case.holds(boundary_loss(case["s"], case["t"], case.params["margin"]))


@pytest.mark.parametrize("margin", [0.5, 2.0])
def test_ab_counts_each_neuron_on_the_wrong_side_of_its_margin(margin):
    student, teacher = drawn(0, COUNT, 3, 4, 4), drawn(1, COUNT, 3, 4, 4)
    teacher[0, 0, 0, 0] = 0.0  # is inactive
    pairs = zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True)
    expected = (
        sum(max(s + margin, 0) ** 2 if t <= 0 else max(margin - s, 0) ** 2 for s, t in pairs)
        / COUNT
    )
    assert boundary_loss(student, teacher, margin).item() == near(expected)


def test_ab_teaches_before_the_training_only_and_halves_the_weight_with_each_stage_above():
    student, teacher = (
        stages(0, (2, 4, 4), (3, 4, 4), (4, 2, 2)),
        stages(5, (5, 8, 8), (3, 2, 2), (6, 2, 2)),
    )
    method, pair = built("ab", student, teacher), outputs(student, teacher)
    assert method(*pair, BATCH) == {}
    weight, value = method.pre_train(*pair, BATCH)["ab"]
    assert weight == 0.003
    connected = [
        connector(features) for connector, features in zip(method.connectors, student, strict=True)
    ]
    expected = boundary_loss(connected[0], F.adaptive_avg_pool2d(teacher[0], 4)) / 4
    pooled = F.adaptive_avg_pool2d(student[1], 2)
    expected = expected + boundary_loss(method.connectors[1](pooled), teacher[1]) / 2
    assert value.item() == near((expected + boundary_loss(connected[2], teacher[2])).item())


@pytest.mark.parametrize("case", cases("vid"))
def test_vid_loss_and_its_first_variance_are_the_references(case):
    teacher, variance, eps = case["ft"], case.params["init_pred_var"], case.params["eps"]
    mean = case["fs"]
    for index, name in enumerate(("w1", "w2", "w3")):
        mean = F.conv2d(F.relu(mean) if index else mean, case[name])
    rho = torch.full((teacher.shape[1],), initial_rho(variance, eps), dtype=torch.float64)
    case.holds(gaussian_loss(mean, teacher, rho, eps))
    method = built("vid", (case["fs"],), (teacher,))
    state = {
        f"regressors.0.{2 * index}.weight": case[name]
        for index, name in enumerate(("w1", "w2", "w3"))
    }
    method.load_state_dict(state | {"rhos.0": method.rhos[0]})
    loss = method(*outputs((case["fs"],), (teacher,)), BATCH)["vid"][1]
    assert loss.item() == pytest.approx(
        case.expected["loss"], rel=1e-6
    )  # its rho is made in float32


def test_vid_is_a_gaussian_likelihood_with_a_trained_variance_per_channel():
    mean, teacher, rho = (
        drawn(0, COUNT, 3, 2, 2),
        drawn(1, COUNT, 3, 2, 2),
        drawn(2, 3).requires_grad_(),
    )
    loss = gaussian_loss(mean, teacher, rho, eps=1e-3)
    deviations = [math.sqrt(math.log(1 + math.exp(value)) + 1e-3) for value in rho.tolist()]
    scale = torch.tensor(deviations, dtype=torch.float64)[:, None, None]
    likelihood = torch.distributions.Normal(mean, scale).log_prob(teacher).mean().item()
    assert loss.item() == near(-likelihood - math.log(2 * math.pi) / 2)
    loss.backward()
    assert rho.grad.abs().min() > 0


@pytest.mark.parametrize("variance", [1e-4, 0.5, 5.0, 1000.0])
def test_vid_begins_with_the_variance_of_the_setting(variance):
    rho = torch.tensor(initial_rho(variance), dtype=torch.float64)
    assert (torch.logaddexp(rho, torch.zeros_like(rho)) + 1e-5).item() == near(variance)


def library_signs(maps, k, space):
    """The signs that LAPACK gives to the sums of leading singular vectors, [N, k] for each map."""
    matrices = (
        features.flatten(2).transpose(1, 2) if space == "channels" else features.flatten(1, 2)
        for features in maps
    )
    return [torch.linalg.svd(matrix)[2][:, :k].sum(dim=2).sign() for matrix in matrices]


@pytest.mark.parametrize("case", cases("kdsvd"))
def test_kdsvd_loss_is_the_references_with_the_librarys_signs(case):
    """With other signs than LAPACK's, each sample's loss is one of `per_sample_values`."""
    k = case.params["k"]
    maps = (case["s1"], case["s2"]), (case["t1"], case["t2"])
    case.holds(singular_loss(*maps, k, "channels", library_signs(maps[1], k, "channels")))
    for n, values in enumerate(case.extra["per_sample_values"]):
        loss = singular_loss(*([features[n : n + 1] for features in side] for side in maps))
        assert min(abs(loss.item() - value) for value in values) < 1e-11


def naive_kdsvd(student, teacher, k, space):
    """By the textbook and autograd, sample by sample."""
    total = 0.0
    for n in range(len(student[0])):
        vectors = []
        for own, other in zip(student, teacher, strict=True):
            s, t = (
                m[n].flatten(1).T if space == "channels" else m[n].flatten(0, 1)
                for m in (own, other)
            )
            _, sizes, right = torch.linalg.svd(t, full_matrices=False)
            candidates = torch.linalg.svd(s, full_matrices=False)[2][: k + 3]
            sizes = sizes[:k] / sizes[:k].norm()
            columns = []
            for j in range(k):
                cosines = candidates @ right[j]
                best = int(cosines.abs().argmax())
                columns.append(
                    (candidates[best] * cosines[best].sign() * sizes[j], right[j] * sizes[j])
                )
            vectors.append(columns)
        for before, after in pairwise(vectors):
            for (s_before, t_before), (s_after, t_after) in zip(before, after, strict=True):
                r = [
                    torch.exp(-((b[:, None] - a[None]) ** 2) / 8)
                    for a, b in ((s_before, s_after), (t_before, t_after))
                ]
                total = total + (r[0] - r[1]).pow(2).sum()
    return total / len(student[0])


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize(
    ("space", "student", "teacher"),
    [
        ("channels", [(6, 4, 4), (5, 3, 3)], [(6, 6, 6), (5, 2, 2)]),
        (
            "channels",
            [(12, 3, 3), (20, 2, 2)],
            [(12, 3, 3), (20, 2, 2)],
        ),  # more channels than positions
        ("width", [(3, 5, 5), (4, 5, 5)], [(6, 5, 5), (2, 5, 5)]),
        ("width", [(1, 3, 6), (2, 3, 6)], [(3, 6, 6), (1, 6, 6)]),
    ],
)
def test_kdsvd_and_its_gradient_are_those_of_the_textbook(k, space, student, teacher):
    student, teacher = stages(0, *student), stages(7, *teacher)
    for tensor in student:
        tensor.requires_grad_()
    signs = library_signs(teacher, k, space)
    losses = (
        singular_loss(student, teacher, k, space, signs),
        naive_kdsvd(student, teacher, k, space),
    )
    assert losses[0].item() == near(losses[1].item())
    for actual, expected in zip(
        *(torch.autograd.grad(loss, student) for loss in losses), strict=True
    ):
        assert torch.allclose(actual, expected, rtol=1e-7, atol=1e-10 * expected.abs().max().item())


def test_kdsvd_does_not_depend_on_the_sign_that_a_library_chooses():
    student, teacher = stages(0, (3, 5, 5), (4, 5, 5)), stages(7, (6, 5, 5), (2, 5, 5))
    expected = singular_loss(student, teacher, 2, "width").item()
    turned = [-tensor for tensor in student], [teacher[0], -teacher[1]]
    assert singular_loss(*turned, 2, "width").item() == near(expected)


DEGENERATE_MAPS = {
    "zero maps": lambda tensor: tensor * 0,
    "a zero sample": lambda tensor: (
        tensor * torch.tensor([0.0, 1.0, 1.0, 1.0])[:, None, None, None]
    ),
    "constant maps": lambda tensor: tensor * 0 + 2.0,
    "channels alike": lambda tensor: tensor[:, :1].expand(tensor.shape),
    "tiny maps": lambda tensor: tensor * 1e-20,
    "large maps": lambda tensor: tensor * 1e4,
    "equal singular values": lambda tensor: (
        torch.eye(tensor.shape[-1]).expand(tensor.shape).clone()
    ),
    "a value of 120": lambda tensor: torch.cat([tensor[:, :, :1] + 120, tensor[:, :, 1:]], dim=2),
}

LOSSES = {
    "at": attention_loss,
    "nst": selectivity_loss,
    "fsp": lambda s, t: flow_loss((s, s.flip(1)), (t, t.flip(2))),
    "ft": factor_loss,
    "ft, whole": whole_factor_loss,
    "ft, whole, by length": lambda s, t: whole_factor_loss(s, t, 2),
    "ab": boundary_loss,
    "vid": lambda s, t: gaussian_loss(s, t, torch.zeros(s.shape[1])),
    "kdsvd": lambda s, t: singular_loss((s, s.flip(1)), (t, t.flip(2)), 1, "channels"),
    "kdsvd, over the width": lambda s, t: singular_loss((s, s.flip(2)), (t, t.flip(1)), 2, "width"),
    "ickd": channel_loss,
    "mgd": generation_loss,
    "afd": lambda s, t: attentive_loss(s, t, torch.full(s.shape[:2], -200.0)),
}

every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@every_loss
@pytest.mark.parametrize("spoiled", DEGENERATE_MAPS.values(), ids=DEGENERATE_MAPS)
@pytest.mark.parametrize("side", ["student", "teacher", "both"])
def test_value_and_gradient_are_finite_in_float32_where_maps_are_degenerate(loss, spoiled, side):
    student, teacher = drawn(0, COUNT, 6, 5, 5).float(), drawn(1, COUNT, 6, 5, 5).float()
    student = spoiled(student) if side != "teacher" else student
    teacher = spoiled(teacher) if side != "student" else teacher
    student = student.clone().requires_grad_()
    value = loss(student, teacher)
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert student.grad.isfinite().all()


@every_loss
def test_no_gradient_reaches_the_teacher(loss):
    student, teacher = (drawn(seed, COUNT, 6, 5, 5).float().requires_grad_() for seed in (0, 1))
    loss(student, teacher).backward()
    assert student.grad.norm() > 0
    assert teacher.grad is None


def test_kdsvd_runs_on_any_channels_over_the_width_and_says_why_it_cannot_elsewhere():
    first, second = ((4, 8, 8), (6, 4, 4)), ((8, 8, 8), (6, 4, 4))
    assert reason("kdsvd", first, second) is None
    assert "channels" in reason("kdsvd", first, second, space="channels")
    assert "single map" in reason("kdsvd", first[:1], second[:1])
    assert reason("kdsvd", first, second, k=5) == "a map has only 4 singular vectors, but k is 5"
    assert "width of 1" in reason("kdsvd", ((4, 1, 1), (6, 1, 1)), ((4, 1, 1), (6, 1, 1)))


@pytest.mark.parametrize("case", cases("ickd"))
def test_ickd_loss_is_the_references(case):
    case.holds(channel_loss(case["s"], case["t"]))


def test_ickd_is_reduced_by_channels_and_the_square_of_the_batch_whatever_the_sizes():
    student, teacher = drawn(0, COUNT, 3, 4, 4), drawn(1, COUNT, 3, 2, 2)

    def entry(features, n, a, b):
        row = [(features[n, a] * channel).sum() for channel in features[n]]
        return (row[b] / math.sqrt(sum(product**2 for product in row))).item()

    entries = [(n, a, b) for n in range(COUNT) for a in range(3) for b in range(3)]
    squares = sum((entry(student, *index) - entry(teacher, *index)) ** 2 for index in entries)
    assert channel_loss(student, teacher).item() == near(squares / (3 * COUNT**2))


def test_the_ickd_term_is_a_mean_over_samples_after_a_1x1_convolution_with_batch_norm():
    student, teacher = (drawn(0, COUNT, 3, 4, 4),), (drawn(1, COUNT, 5, 4, 4),)
    method = built("ickd", student, teacher)
    conv, norm = method.embedding
    assert (type(conv).__name__, conv.kernel_size, conv.bias) == ("Conv2d", (1, 1), None)
    assert type(norm).__name__ == "BatchNorm2d"

    weight, value = method(*outputs(student, teacher), BATCH)["ickd"]
    assert weight == 2.5
    expected = channel_loss(method.embedding(student[0]), teacher[0]) * COUNT
    assert value.item() == near(expected.item())

    twice = [(maps[0].repeat(2, 1, 1, 1),) for maps in (student, teacher)]
    _, doubled = method(*outputs(*twice), BATCH)["ickd"]
    assert doubled.item() == near(value.item())


def test_mgd_is_the_squared_error_of_the_generated_map_summed_over_all_but_the_batch():
    """The reference, with nothing masked, so that it is the same each time."""
    student, teacher = (drawn(0, COUNT, 3, 4, 4),), (drawn(1, COUNT, 5, 4, 4),)
    method = built("mgd", student, teacher, share=0.0)
    weight, value = method(*outputs(student, teacher), BATCH)["mgd"]
    first, _, second = method.generator
    hidden = F.conv2d(method.align(student[0]), first.weight, first.bias, padding=1).clamp(min=0)
    generated = F.conv2d(hidden, second.weight, second.bias, padding=1)
    assert weight == 7e-5
    assert value.item() == near(
        sum(((generated[n] - teacher[0][n]) ** 2).sum().item() for n in range(COUNT)) / COUNT
    )
    assert generation_loss(generated, teacher[0]).item() == near(value.item())


@pytest.mark.parametrize(("over", "shape"), [("channel", (1, 1)), ("position", (8, 8))])
def test_mgd_masks_a_share_of_whole_channels_or_of_whole_positions_anew_for_each_sample(
    over, shape
):
    features = torch.ones(64, 32, 8, 8)
    torch.manual_seed(0)
    left = masked(features, 0.15, over)
    assert left.mean().item() == pytest.approx(0.85, abs=0.03)
    alike = left[:, :, :1, :1] if over == "channel" else left[:, :1]
    assert torch.equal(left, alike.expand(left.shape))
    assert alike.shape[-2:] == shape
    assert not torch.equal(left[0], left[1])
    assert torch.equal(masked(features, 0.0, over), features)
    assert not masked(features, 1.0, over).any()


def test_afd_weighs_each_channels_difference_by_the_teachers_attention():
    """No figures of a reference; the formula of Knowledge-Distillation-Zoo written out."""
    student, teacher, scores = (
        drawn(0, COUNT, 3, 4, 4),
        drawn(1, COUNT, 3, 4, 4),
        drawn(2, COUNT, 3),
    )

    def unit(channel):
        return channel / (math.sqrt(channel.pow(2).sum()) + 1e-6)

    expected = 0.0
    for n in range(COUNT):
        attention = [1 / (1 + math.exp(-score)) for score in scores[n].tolist()]
        for c in range(3):
            difference = (unit(student[n, c]) - unit(teacher[n, c])).pow(2).mean().item()
            expected += attention[c] / sum(attention) * difference / COUNT
    assert attentive_loss(student, teacher, scores).item() == near(expected)


def test_afd_takes_its_attention_from_the_teachers_pooled_channels_and_the_mean_over_stages():
    student, teacher = stages(0, (3, 8, 8), (4, 4, 4)), stages(5, (5, 4, 4), (4, 4, 4))
    method = built("afd", student, teacher, width=0.5)
    weight, value = method(*outputs(student, teacher), BATCH)["afd"]
    assert weight == 500.0
    assert [layers[0].out_features for layers in method.attention] == [2, 2]
    assert [type(layer).__name__ for layer in method.align] == ["Conv2d", "Identity"]
    losses = [
        attentive_loss(align(F.adaptive_avg_pool2d(s, 4)), t, attention(t.mean(dim=(2, 3)))).item()
        for align, attention, s, t in zip(
            method.align, method.attention, student, teacher, strict=True
        )
    ]
    assert value.item() == near(sum(losses) / 2)


@pytest.mark.parametrize("name", ["nst", "ft", "afd"])
def test_maps_of_a_single_position_are_a_reason(name):
    assert "single position" in reason(name, ((4, 1, 1),), ((6, 1, 1),))
    assert reason(name, ((4, 2, 2),), ((6, 2, 2),)) is None


@pytest.mark.parametrize("name", ["ab", "fsp", "ft"])
def test_the_published_stage_before_the_training_is_30_of_240_epochs(name):
    assert create(name).pre_training * 240 == 30
    assert create(name, pre_training=0.25).pre_training == 0.25


def test_ab_needs_what_comes_before_the_activation():
    student, teacher = stages(0, (3, 4, 4)), stages(1, (3, 4, 4))
    method = built("ab", student, teacher)
    pair = [replace(output, maps=()) for output in outputs(student, teacher)]
    assert method.tapped().preactivations
    assert method.pre_train(*pair, BATCH)["ab"][1].item() > 0


PUBLISHED = {
    "student": {"ce": 1.0},
    "at": {"beta": 1000.0, "p": 2, "ce": 1.0},
    "fitnet": {"weight": 100.0, "stage": -2, "ce": 1.0},
    "nst": {"weight": 50.0, "ce": 1.0},
    "fsp": {"weight": 1.0, "pre_training": 0.125, "ce": 1.0},
    "ft": {"weight": 200.0, "rate": 0.5, "pre_training": 0.125, "ce": 1.0},
    "ab": {"weight": 0.003, "margin": 1.0, "pre_training": 0.125, "ce": 1.0},
    "vid": {"weight": 1.0, "variance": 5.0, "ce": 1.0},
    "kdsvd": {"weight": 1.0, "k": 1, "space": "width", "ce": 1.0},
    "ickd": {"weight": 2.5, "ce": 1.0},
    "mgd": {"alpha": 7e-5, "share": 0.15, "mask": "channel", "ce": 1.0},
    "afd": {"weight": 500.0, "width": 1.0, "ce": 1.0},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_defaults_are_the_published_settings(name):
    assert create(name).settings == PUBLISHED[name]


@pytest.mark.parametrize(
    ("student", "teacher", "kind", "kernel", "stride"),
    [
        ((4, 16, 16), (6, 8, 8), "Conv2d", (3, 3), (2, 2)),
        ((4, 8, 8), (6, 16, 16), "ConvTranspose2d", (4, 4), (2, 2)),
        ((4, 8, 8), (6, 8, 8), "Conv2d", (1, 1), (1, 1)),
        ((4, 9, 8), (6, 7, 5), "Conv2d", (3, 4), (1, 1)),
        (
            (4, 32, 32),
            (6, 8, 8),
            "Conv2d",
            (1, 1),
            (1, 1),
        ),  # not the published kernel of 25x25: resampled
        ((4, 7, 7), (6, 8, 8), "Conv2d", (1, 1), (1, 1)),
    ],
)
def test_the_regressor_brings_a_map_to_the_teachers_shape_with_the_published_kernel(
    student, teacher, kind, kernel, stride
):
    regressor = ConvRegressor(student, teacher)
    assert (type(regressor.conv).__name__, regressor.conv.kernel_size, regressor.conv.stride) == (
        kind,
        kernel,
        stride,
    )
    regressed = regressor(torch.randn(2, *student, generator=torch.Generator().manual_seed(0)))
    assert regressed.shape == (2, *teacher)
    assert regressed.min() == 0


def test_what_a_method_builds_is_trained_with_it():
    fitnet = create("fitnet")
    assert not list(fitnet.parameters())
    maps = ((4, 16, 16), (4, 8, 8), (4, 4, 4))
    fitnet.build(Probe(Shapes((10,), maps=maps), Shapes((10,), maps=maps), samples=8, batch_size=2))
    assert {name for name, _ in fitnet.named_parameters()} == {
        f"regressor.{part}" for part in ("conv.weight", "conv.bias", "norm.weight", "norm.bias")
    }
