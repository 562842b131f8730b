"""The pretended GPU: it computes as the CPU does, and catches what a GPU would not forgive."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.support.pretended import CUDA, DeviceMismatchError, PretendedGpu, pretended_gpu

Loss = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture
def gpu() -> Iterator[PretendedGpu]:
    """A pretended GPU that computes."""
    with pretended_gpu() as pretended:
        yield pretended


def pair(device: str = "cuda") -> tuple[Tensor, Tensor]:
    """Return the logits of a student and of a teacher."""
    draw = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 6, 5, generator=draw).to(device)
    return student.requires_grad_(), teacher


def distil(student: Tensor, teacher: Tensor) -> Tensor:
    """A loss without a fault."""
    target = F.softmax(teacher / 4.0, dim=1)
    return F.kl_div(F.log_softmax(student / 4.0, dim=1), target, reduction="batchmean")


def with_host_tensor(student: Tensor, teacher: Tensor) -> Tensor:
    return (student * torch.ones(6, 1) - teacher).pow(2).mean()


def with_host_mask(student: Tensor, teacher: Tensor) -> Tensor:
    return torch.where(torch.ones(6, 1) > 0, student, teacher).mean()


def with_host_target(student: Tensor, teacher: Tensor) -> Tensor:
    return F.cross_entropy(student, torch.zeros(6, dtype=torch.int64))


def with_host_result(student: Tensor, teacher: Tensor) -> Tensor:
    return torch.zeros(()).add_(student.mean())


def with_host_generator(student: Tensor, teacher: Tensor) -> Tensor:
    return student.mean() * torch.rand(6, device="cuda", generator=torch.Generator()).mean()


def with_host_matrix(student: Tensor, teacher: Tensor) -> Tensor:
    return (student @ torch.eye(5)).mean()


def with_host_part(student: Tensor, teacher: Tensor) -> Tensor:
    return torch.cat([student, torch.zeros(1, 5)]).mean()


REFUSED = [
    with_host_tensor,
    with_host_mask,
    with_host_target,
    with_host_result,
    with_host_generator,
    with_host_matrix,
    with_host_part,
]


def with_item(student: Tensor, teacher: Tensor) -> Tensor:
    return distil(student, teacher) * teacher.max().item()


def with_condition(student: Tensor, teacher: Tensor) -> Tensor:
    return student.mean() if teacher.mean() > 0 else student.sum()


def with_boolean_index(student: Tensor, teacher: Tensor) -> Tensor:
    return student[teacher > 0].mean()


def with_host_index(student: Tensor, teacher: Tensor) -> Tensor:
    return student[torch.tensor([0, 2])].mean()


def with_made_tensor(student: Tensor, teacher: Tensor) -> Tensor:
    return (student * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0], device=student.device)).mean()


def with_made_like(student: Tensor, teacher: Tensor) -> Tensor:
    return (student * student.new_tensor([1.0, 2.0, 3.0, 4.0, 5.0])).mean()


def with_late_copy(student: Tensor, teacher: Tensor) -> Tensor:
    return (student * torch.ones(5).to("cuda", non_blocking=True)).mean()


def with_nonzero(student: Tensor, teacher: Tensor) -> Tensor:
    return student.mean() * len(teacher.nonzero())


def with_eigenvalues(student: Tensor, teacher: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(student.T @ student).sum()


def with_synchronize(student: Tensor, teacher: Tensor) -> Tensor:
    torch.cuda.synchronize()
    return distil(student, teacher)


WAITS: dict[Loss, str] = {
    with_item: "aten._local_scalar_dense",
    with_condition: "aten._local_scalar_dense",
    with_boolean_index: "aten.index (by a mask)",
    with_host_index: "aten.index (by an index on the CPU)",
    with_made_tensor: "copy to the device",
    with_made_like: "copy to the device",
    with_late_copy: "copy to the device",
    with_nonzero: "aten.nonzero",
    with_eigenvalues: "aten._linalg_eigh",
    with_synchronize: "cuda.synchronize",
}


def with_host_number(student: Tensor, teacher: Tensor) -> Tensor:
    return distil(student, teacher) * torch.tensor(2.0)


def with_python_numbers(student: Tensor, teacher: Tensor) -> Tensor:
    return torch.where(teacher > 0, student, 0.5).mean() + teacher.new_zeros(3).sum()


def with_pinned_copy(student: Tensor, teacher: Tensor) -> Tensor:
    factors = torch.ones(2, 5).pin_memory()
    return (student * factors[1].to("cuda", non_blocking=True)).mean()


ALLOWED = [distil, with_host_number, with_python_numbers, with_pinned_copy]


@pytest.mark.parametrize("loss", REFUSED)
def test_a_loss_with_tensors_of_two_devices_is_refused(gpu: PretendedGpu, loss: Loss) -> None:
    with pytest.raises(DeviceMismatchError, match="CPU"):
        loss(*pair())


@pytest.mark.parametrize("loss", WAITS)
def test_a_loss_that_waits_for_the_gpu_is_told_with_its_line(gpu: PretendedGpu, loss: Loss) -> None:
    inputs = pair()
    with gpu.recording() as record:
        loss(*inputs)

    (sync,) = record.syncs
    first = loss.__code__.co_firstlineno
    assert sync.operation == WAITS[loss]
    assert sync.place in {f"tests/gpu/test_pretended.py:{first + line}" for line in (1, 2)}
    assert sync.function == loss.__name__


@pytest.mark.parametrize("loss", ALLOWED)
def test_a_loss_without_a_fault_computes_the_bits_of_the_cpu_without_a_wait(
    gpu: PretendedGpu, loss: Loss
) -> None:
    inputs = pair()
    with gpu.recording() as record:
        value = loss(*inputs)
        value.backward()

    assert record.syncs == []
    assert value.device == CUDA
    assert value.is_cuda
    if loss is distil:
        expected = pair("cpu")
        distil(*expected).backward()
        own, other = inputs[0].grad, expected[0].grad
        assert own is not None
        assert other is not None
        assert torch.equal(own.cpu(), other)


def test_a_wait_names_the_functions_of_the_project_that_run(gpu: PretendedGpu) -> None:
    def outer() -> float:
        return pair()[1].sum().item()

    outer()
    *_, sync = gpu.record.syncs
    assert sync.callers[0].endswith("outer")
    assert sync.callers[1] == test_a_wait_names_the_functions_of_the_project_that_run.__name__


def network() -> nn.Module:
    """Return a small network with BatchNorm."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    )


def trained(device: str, optimizer: str) -> dict[str, Tensor]:
    """Return the state of a network after three updates."""
    learner = network().to(device).to(memory_format=torch.channels_last).train()
    kind = getattr(torch.optim, optimizer)
    rate = torch.tensor(0.1, device=device)
    updates = kind(learner.parameters(), lr=rate, weight_decay=0.01, fused=True)
    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(1)).to(device)

    for _ in range(3):
        updates.zero_grad()
        F.cross_entropy(learner(images), torch.arange(8, device=device) % 5).backward()
        updates.step()
    return {name: value.cpu() for name, value in learner.state_dict().items()}


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_training_has_the_bits_of_the_cpu_and_a_fused_update_is_one_launch(
    gpu: PretendedGpu, optimizer: str
) -> None:
    own, expected = trained("cuda", optimizer), trained("cpu", optimizer)
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[name], expected[name]) for name in own)
    assert gpu.record.launches[f"aten._fused_{optimizer.lower()}_"] == 3


def test_products_under_autocast_are_lowered_and_have_the_bits_of_the_cpu(
    gpu: PretendedGpu,
) -> None:
    gradients = []
    for device in ("cuda", "cpu"):
        learner = network().to(device)
        images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(1)).to(device)
        with torch.autocast(device, torch.bfloat16):
            logits = learner(images)
            with torch.autocast(device, torch.bfloat16, enabled=False):
                assert learner(images).dtype == torch.float32
        assert logits.dtype == torch.bfloat16

        F.cross_entropy(logits.float(), torch.arange(8, device=device) % 5).backward()
        gradients.append([parameter.grad for parameter in learner.parameters()])

    for own, expected in zip(*gradients, strict=True):
        assert own is not None
        assert expected is not None
        assert own.dtype == torch.float32
        assert torch.equal(own.cpu(), expected)


def test_views_share_their_memory_and_changes_in_place_reach_them(gpu: PretendedGpu) -> None:
    base = torch.zeros(2, 3, device="cuda")
    view = base[1]
    with gpu.recording() as record:
        base.add_(1)
        view.mul_(2)

    assert base.tolist() == [[1.0] * 3, [2.0] * 3]
    assert record.launches == {"aten.add_": 1, "aten.mul_": 1}


def test_a_copy_of_a_network_has_its_own_memory(gpu: PretendedGpu) -> None:
    first = network().to("cuda")
    second = copy.deepcopy(first)
    with torch.no_grad():
        next(second.parameters()).zero_()
    assert next(first.parameters()).any()
    assert isinstance(next(second.parameters()), nn.Parameter)


def test_shapes_alone_give_the_launches_and_shapes_of_the_numbers() -> None:
    scripts = []
    for shapes_only in (False, True):
        with pretended_gpu(shapes_only) as gpu:
            learner = network().to("cuda")
            with gpu.recording(script=True) as record:
                images = torch.rand(8, 3, 8, 8, device="cuda")
                labels = torch.zeros(8, dtype=torch.int64, device="cuda")
                loss = F.cross_entropy(learner(images), labels)
                loss.backward()
            assert loss.cpu().shape == ()
            scripts.append(record.script)
    assert scripts[0] == scripts[1]


def test_a_script_holds_the_numbers_that_python_gave(gpu: PretendedGpu) -> None:
    student, teacher = pair()
    with gpu.recording(script=True) as record:
        student * 0.5 + torch.tensor(0.25)
        with gpu.unscripted():
            teacher.mul(3)

    assert record.script is not None
    assert [line.operation for line in record.script] == ["aten.mul.Tensor", "aten.add.Tensor"]
    assert [line.numbers for line in record.script] == [(0.5,), (0.25,)]
    assert record.launches["aten.mul"] == 2


def test_operations_that_are_not_deterministic_on_cuda_are_noted(gpu: PretendedGpu) -> None:
    maps = torch.rand(2, 3, 7, 7, device="cuda", requires_grad=True)
    F.adaptive_avg_pool2d(maps, 3).sum().backward()
    student, _ = pair()
    student.gather(1, torch.zeros(6, 1, dtype=torch.int64, device="cuda")).sum().backward()
    torch.zeros(3, device="cuda").cumsum(0)
    torch.zeros(3, dtype=torch.int64, device="cuda").cumsum(0)

    assert gpu.record.unstable == {
        "aten._adaptive_avg_pool2d_backward": 1,
        "aten.scatter_add": 1,
        "aten.cumsum": 1,
    }


def test_nothing_stays_behind() -> None:
    before = torch.cuda.Event, torch.cuda.synchronize, torch.cuda.manual_seed
    with pretended_gpu():
        values = torch.rand(3, device="cuda")

    assert (torch.cuda.Event, torch.cuda.synchronize, torch.cuda.manual_seed) == before
    assert not torch.__future__.get_overwrite_module_params_on_conversion()
    with pytest.raises(RuntimeError, match="outside of pretended_gpu"):
        values + 1
    with pytest.raises((RuntimeError, AssertionError)):
        torch.rand(3, device="cuda")
