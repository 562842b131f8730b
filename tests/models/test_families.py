"""Every family of timm: its smallest model can be tapped, teaches and learns.

The tables are pinned for one version of timm. Each family is represented by its model with the
fewest parameters, at the smallest of the sizes 32, 64 and 224 that it takes; CrossViT takes none
of these and has its own 240. Where that model has over 130 million parameters (DeepSeek's and
Gemma's, the latter the smallest with a classifier), two of its blocks represent the family.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F

import methods
from benchmark.data import Loaded
from benchmark.models import create, pairing
from benchmark.study.schema import Network
from benchmark.training.teacher import Teacher
from methods import Batch, Needs
from methods._discovery import MAX_STAGES

pytestmark = pytest.mark.trains

TIMM = "1.0.31"
PARTNER = "test_resnet"
CLASSES = 10
BATCH = 4
EVERYTHING = Needs(logits=True, embedding=True, maps=True)


@dataclass(frozen=True)
class Case:
    """A family's model, and the height and width of its images."""

    model: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    size: int = 32


WORKING = {
    "beit": Case("beit_base_patch16_224"),
    "byoanet": Case("eca_botnext26ts_256"),
    "byobnet": Case("test_byobnet"),
    "cait": Case("cait_xxs24_224"),
    "coat": Case("coat_tiny"),
    "convit": Case("convit_tiny"),
    "convmixer": Case("convmixer_768_32"),
    "convnext": Case("test_convnext"),
    "cpubone": Case("cpubone_nano"),
    "crossvit": Case("crossvit_tiny_240", size=240),
    "csatv2": Case("csatv2", size=64),
    "cspnet": Case("cs3darknet_focus_s"),
    "cspnext": Case("cspnext_tiny"),
    "davit": Case("davit_tiny"),
    "deepseek_vit": Case("deepseek_vit_412m", {"depth": 2}, size=224),
    "deit": Case("deit_tiny_patch16_224"),
    "densenet": Case("densenet121"),
    "dla": Case("dla46x_c"),
    "dpn": Case("dpn48b"),
    "edgenext": Case("edgenext_xx_small"),
    "efficientformer": Case("efficientformer_l1", size=224),
    "efficientformer_v2": Case("efficientformerv2_s0"),
    "efficientnet": Case("test_efficientnet"),
    "efficientvim": Case("efficientvim_m1"),
    "efficientvit_mit": Case("efficientvit_b0"),
    "efficientvit_msra": Case("efficientvit_m0"),
    "eva": Case("vit_tiny_patch16_dinov3_qkvb"),
    "fasternet": Case("fasternet_t0"),
    "fastvit": Case("fastvit_t8"),
    "focalnet": Case("focalnet_tiny_srf"),
    "gcvit": Case("gcvit_xxtiny"),
    "gemma4_vit": Case("gemma4_vit_167m", {"depth": 2}),
    "ghostnet": Case("ghostnet_050"),
    "hardcorenas": Case("hardcorenas_b"),
    "hgnet": Case("hgnetv2_b0"),
    "hiera": Case("hiera_tiny_224"),
    "hieradet_sam2": Case("sam2_hiera_tiny"),
    "hrnet": Case("hrnet_w18_small"),
    "iformer": Case("iformer_t"),
    "inception_next": Case("inception_next_atto"),
    "inception_resnet_v2": Case("inception_resnet_v2", size=224),
    "inception_v3": Case("inception_v3", size=224),
    "inception_v4": Case("inception_v4", size=224),
    "lcnetv2": Case("lcnetv2_small"),
    "levit": Case("levit_128s"),
    "lowformer": Case("lowformer_b0"),
    "mambaout": Case("test_mambaout"),
    "maxxvit": Case("test_coatnet"),
    "metaformer": Case("poolformerv2_s12"),
    "mlp_mixer": Case("gmlp_ti16_224"),
    "mobilenetv3": Case("lcnet_035"),
    "mobilenetv5": Case("mobilenetv5_base"),
    "mobilevit": Case("mobilevit_xxs"),
    "mvitv2": Case("mvitv2_tiny"),
    "naflexvit": Case("naflexvit_base_patch16_parfac_gap"),
    "nasnet": Case("nasnetalarge"),
    "nest": Case("nest_tiny"),
    "nextvit": Case("nextvit_small"),
    "nfnet": Case("test_nfnet"),
    "pit": Case("pit_ti_224"),
    "pnasnet": Case("pnasnet5large"),
    "pvt_v2": Case("pvt_v2_b0"),
    "qwen3_vit": Case("qwen3_vit_88m"),
    "rdnet": Case("rdnet_tiny"),
    "regnet": Case("regnetx_002"),
    "repghost": Case("repghostnet_050"),
    "repvit": Case("repvit_m1"),
    "res2net": Case("res2next50"),
    "resnest": Case("resnest14d"),
    "resnet": Case("test_resnet"),
    "resnetv2": Case("resnetv2_18"),
    "rexnet": Case("rexnet_100"),
    "selecsls": Case("selecsls42"),
    "senet": Case("legacy_seresnet18"),
    "sequencer": Case("sequencer2d_s"),
    "shvit": Case("shvit_s1"),
    "sknet": Case("skresnet18"),
    "starnet": Case("starnet_s050"),
    "swiftformer": Case("swiftformer_xs"),
    "swin_transformer": Case("swin_tiny_patch4_window7_224"),
    "swin_transformer_v2": Case("swinv2_tiny_window16_256"),
    "swin_transformer_v2_cr": Case("swinv2_cr_tiny_224"),
    "tiny_vit": Case("tiny_vit_5m_224"),
    "tnt": Case("tnt_s_legacy_patch16_224"),
    "tresnet": Case("tresnet_m"),
    "twins": Case("twins_svt_small"),
    "vgg": Case("vgg11"),
    "visformer": Case("visformer_tiny"),
    "vision_transformer": Case("test_vit"),
    "vision_transformer_hybrid": Case("vit_tiny_r_s16_p8_224"),
    "vision_transformer_relpos": Case("test_vit_relpos"),
    "vision_transformer_sam": Case("samvit_base_patch16_224"),
    "vitamin": Case("vitamin_small_224"),
    "volo": Case("volo_d1_224"),
    "vovnet": Case("ese_vovnet19b_slim_dw"),
    "xception": Case("legacy_xception"),
    "xception_aligned": Case("xception41p"),
    "xcit": Case("xcit_nano_12_p8_224"),
}

FAILING: dict[str, str] = {}
"""Reason why no model of a family can be tapped or trained with, by family."""

SEVERAL_CLASSIFIERS = {
    "crossvit",
    "efficientformer",
    "efficientformer_v2",
    "efficientvim",
    "levit",
    "swiftformer",
}
"""Families whose logits are the mean of two classifiers, so that no single embedding exists."""

QUICK = [
    "byobnet",
    "convnext",
    "efficientnet",
    "levit",
    "mlp_mixer",
    "mobilevit",
    "swin_transformer",
    "vision_transformer",
]

CASES = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in WORKING]
pinned = pytest.mark.skipif(timm.__version__ != TIMM, reason=f"the tables hold for timm {TIMM}")


def tapped(model, kwargs, size):
    torch.manual_seed(0)
    network = Network(model=model, kwargs=kwargs)
    half = [0.5] * 3
    return create.tapped(network, "here", (3, size, size), CLASSES, half, half)


def batch(case):
    draw = torch.Generator().manual_seed(1)
    images = torch.rand(BATCH, 3, case.size, case.size, generator=draw)
    return images, torch.randint(CLASSES, (BATCH,), generator=draw)


def step(student, teacher, method, images, labels):
    """Take one step as the engine does, and return the values of the loss terms."""
    needs = method.tapped()
    pair = pairing.probe(student, teacher.model, needs, samples=BATCH, batch_size=BATCH)
    assert method.supports(pair) is None
    method.build(pair)
    optimizer = torch.optim.SGD([*student.parameters(), *method.parameters()], lr=0.01)

    depth = len(pair.student.maps)
    index = torch.arange(BATCH)
    taught = pairing.only(teacher.output(Loaded(images, labels, index)), needs, depth)
    output = student.train()(images, needs)
    paired_maps = output.maps[len(output.maps) - depth :]
    output = methods.Output(output.logits, output.embedding, paired_maps)

    terms = method(output, taught, Batch(labels, index))
    loss = F.cross_entropy(output.logits, labels)
    for weight, value in terms.values():
        loss = loss + weight * value
    loss.backward()
    optimizer.step()
    return {name: float(value.detach()) for name, (_, value) in terms.items()}


@pinned
@pytest.mark.parametrize("family", CASES)
def test_a_family_is_tapped_without_changing_its_output(family):
    case = WORKING[family]
    model = tapped(case.model, case.kwargs, case.size).eval()
    images, _ = batch(case)
    with torch.no_grad():
        output = model(images, EVERYTHING)
        plain = model.network(model.prepared(images))
    assert torch.equal(output.logits, plain)
    assert output.logits.shape == (BATCH, CLASSES)
    assert tuple(tuple(stage_map.shape[1:]) for stage_map in output.maps) == model.shapes.maps
    assert 2 <= len(output.maps) <= MAX_STAGES

    if family in SEVERAL_CLASSIFIERS:
        assert output.embedding is None
        assert model.notes["embedding"] == "the network has several classifiers"
    else:
        assert output.embedding.shape == (BATCH, *model.shapes.embedding)
        assert model.notes.keys() <= {"pooled", "classifier"}


@pinned
@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize("family", CASES)
def test_a_family_learns_and_teaches_with_logits_and_maps(family, role):
    case = WORKING[family]
    model = tapped(case.model, case.kwargs, case.size)
    partner = tapped(PARTNER, {}, case.size)
    student, teacher = (model, partner) if role == "student" else (partner, model)
    before = [weight.detach().clone() for weight in student.parameters()]

    terms = step(student, Teacher(teacher, ""), methods.create("kd+fitnet"), *batch(case))

    assert set(terms) == {"kd", "fitnet"}
    assert all(value > 0 and value < float("inf") for value in terms.values())
    assert all(torch.isfinite(weight).all() for weight in student.parameters())
    assert any(not torch.equal(*pair) for pair in zip(before, student.parameters(), strict=True))
    assert all(weight.grad is None for weight in teacher.parameters())


@pinned
def test_every_family_is_in_one_of_the_two_tables():
    # The zoo's files count as modules of timm too, so a family is one with a model of timm itself.
    timms_own = {
        name
        for name in create.names()
        if timm.models.model_entrypoint(name).__module__.startswith("timm.")
    }
    families = {
        module for module in timm.list_modules() if timms_own & set(timm.list_models(module=module))
    }
    assert families == WORKING.keys() | FAILING.keys()
    assert not WORKING.keys() & FAILING.keys()
    assert all(WORKING[family].model in timm.list_models(module=family) for family in WORKING)


@pinned
def test_at_least_80_of_98_families_work():
    assert len(WORKING) + len(FAILING) == 98
    assert len(WORKING) >= 80
    assert all(FAILING.values())
