"""A cell's identity changes with everything that decides its numbers, and with nothing else."""

from __future__ import annotations

import json

import pytest

import methods
from benchmark.hashing import canonical, identity
from benchmark.study import study as study_module
from benchmark.study import yamlfile
from tests.support.studyfile import changed, load_text

DATA, TEACHER = "fingerprint", "weights"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "study.yaml"


def identity_of(cell, data=DATA, teacher=TEACHER):
    settings = methods.create(cell.row.method, **cell.row.settings).settings
    network = {**cell.pair.teacher.identity, "sha256": teacher}
    return identity(cell.configuration(data, network, settings))


def warm_cell(study):
    """Return the cell of the second pair, the row `warm` and the last seed."""
    return study.cells()[10]


def test_cells_come_pair_by_pair_and_seed_by_seed(file):
    study = load_text(file)
    cells = [(cell.pair.name, cell.seed, cell.row.name) for cell in study.cells()]

    assert cells == [
        (pair, seed, row)
        for pair in ("resnet14-resnet8", "same")
        for seed in (3, 1)
        for row in ("student", "warm", "kd+at")
    ]
    assert str(study.cells()[4]) == "resnet14-resnet8 / warm / seed 1"


def test_an_identity_is_twelve_digits_of_the_canonical_text(file):
    cell = warm_cell(load_text(file))
    configuration = cell.configuration("fingerprint", {"model": "resnet8"}, {"temperature": 2.0})
    backwards = json.loads(
        canonical(configuration), object_pairs_hook=lambda pairs: dict(reversed(pairs))
    )

    assert canonical(backwards) == canonical(configuration)
    assert canonical({"b": [1, 0.1, None], "a": {"d": True, "c": "é"}}) == (
        '{"a":{"c":"\\u00e9","d":true},"b":[1,0.1,null]}'
    )
    assert identity({"a": 1}) == "015abd7f5cc5"


def test_a_number_that_is_not_finite_has_no_identity():
    with pytest.raises(ValueError, match="not JSON compliant"):
        identity({"a": float("nan")})


def backwards(value):
    """Return plain data with the keys of all mappings in reverse order."""
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [backwards(item) for item in value]
    return value


def test_an_identity_does_not_depend_on_the_order_of_keys(file):
    study = load_text(file)
    content = yamlfile.read(file).data
    reordered = backwards(content)

    assert list(reordered) != list(content)
    again = load_text(file, yamlfile.dump(reordered))
    assert identity_of(warm_cell(again)) == identity_of(warm_cell(study))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: first", "name: second"),
        ("question: Which one?", "question: Another?"),
        ("name: same", "name: other"),
        ("name: warm", "name: other"),
        ("  - student\n", ""),
        ("tracking: {experiment: mine}", "tracking: {experiment: other, uri: 'sqlite:///x.db'}"),
        ("seed: 2, min_accuracy: 90", "seed: 3"),
        ("seeds: [3, 1]", "seeds: [3, 1, 4]"),
        ("settings: {temperature: 2}", "settings: {temperature: 2.0, weight: 0.9}"),
        ("flip: true}", "flip: true}\n  precision: fp32"),
        ("flip: true}", "flip: true}\n  ema: null\n  max_hours: null\n  teacher_cache: null"),
        ("temperature: 2}", "temperature: 2}, recipe: {epochs: 10, optimizer: {lr: 0.05}}"),
        ("temperature: 2}", "temperature: 2}, recipe: {}"),
        ("train_samples: 300", "train_samples: 300, test_samples: null"),
    ],
)
def test_an_identity_does_not_depend_on_names_neighbours_or_defaults_that_are_written_out(
    file, old, new
):
    before = load_text(file)
    after = load_text(file, changed(old, new))
    (cell,) = (
        cell
        for cell in after.cells()
        if (cell.pair, cell.row.method, cell.seed) == (after.pairs[1], "kd", 1)
    )
    assert identity_of(cell) == identity_of(warm_cell(before))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dataset: digits", "dataset: torch/cifar100"),
        ("val: 0.2", "val: 0.25"),
        ("train_samples: 300", "train_samples: 301"),
        ("train_samples: 300, ", ""),
        ("seed: 1}", "seed: 4}"),
        ("name: same, teacher: resnet8", "name: same, teacher: resnet14"),
        (
            "name: same, teacher: resnet8",
            "name: same, teacher: {model: resnet8, kwargs: {width: 2}}",
        ),
        ("student: {model: resnet8,", "student: {model: resnet14,"),
        ("drop: 0.1", "drop: 0.2"),
        (
            "method: kd, settings: {temperature: 2}",
            "method: kd+at, settings: {kd: {temperature: 2}}",
        ),
        ("temperature: 2", "temperature: 3"),
        ("temperature: 2", "temperature: 2, ce: 1"),
        ("seeds: [3, 1]", "seeds: [3, 2]"),
        ("  epochs: 10", "  epochs: 11"),
        ("batch_size: 32", "batch_size: 64"),
        ("name: sgd", "name: adamw"),
        ("name: sgd", "name: dot"),
        ("lr: 5e-2", "lr: 6e-2"),
        ("lr: 5e-2", "lr: 5e-2, momentum: 0.8"),
        ("lr: 5e-2", "lr: 5e-2, nesterov: true"),
        ("weight_decay: 5e-4", "weight_decay: 1e-4"),
        ("name: step, milestones: [4, 8]", "name: cosine"),
        ("milestones: [4, 8]", "milestones: [4, 9]"),
        ("milestones: [4, 8]", "milestones: [4, 8], gamma: 0.2"),
        ("warmup_epochs: 1", "warmup_epochs: 2"),
        ("crop_padding: 2", "crop_padding: 4"),
        ("flip: true", "flip: false"),
        ("select: best_val", "select: last"),
        ("flip: true}", "flip: true}\n  precision: bf16"),
        ("flip: true}", "flip: true}\n  precision: fp16"),
        ("flip: true}", "flip: true}\n  ema: 0.999"),
        ("flip: true}", "flip: true}\n  clip_norm: 5"),
        ("flip: true}", "flip: true}\n  clip_value: 5"),
        ("flip: true}", "flip: true}\n  label_smoothing: 0.1"),
        ("flip: true}", "flip: true}\n  accumulate: 2"),
        ("flip: true}", "flip: true}\n  max_hours: 2"),
        ("flip: true}", "flip: true}\n  teacher_cache: 2"),
        ("name: step, milestones: [4, 8]", "name: polynomial"),
        ("name: step, milestones: [4, 8], warmup_epochs: 1", "name: onecycle"),
        ("train_samples: 300", "train_samples: 300, test_samples: 100"),
        ("temperature: 2}", "temperature: 2}, recipe: {epochs: 11}"),
    ],
)
def test_an_identity_changes_with_everything_that_decides_a_number(file, old, new):
    before = load_text(file)
    after = load_text(file, changed(old, new))
    assert identity_of(warm_cell(after)) != identity_of(warm_cell(before))


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("polynomial", "{name: polynomial, power: 1.0}"),
        (
            "onecycle",
            "{name: onecycle, pct_start: 0.3, div_factor: 25, final_div_factor: 10000}",
        ),
    ],
)
def test_the_defaults_of_a_schedule_are_written_out(file, short, long):
    old = "{name: step, milestones: [4, 8], warmup_epochs: 1}"
    cells = [warm_cell(load_text(file, changed(old, new))) for new in (short, long)]
    first, second = map(identity_of, cells)
    assert first == second
    assert cells[0].recipe.identity["schedule"] == cells[1].recipe.identity["schedule"]


def test_a_composition_has_one_identity_however_it_is_spaced(file):
    spaced = load_text(file, changed("method: kd+at", "method: kd + at"))
    assert spaced == load_text(file)


def test_an_identity_changes_with_the_data_the_teachers_weights_and_the_rules(file, monkeypatch):
    cell = warm_cell(load_text(file))
    identities = {
        identity_of(cell),
        identity_of(cell, data="other"),
        identity_of(cell, teacher="other"),
    }
    monkeypatch.setattr(study_module, "RULES", study_module.RULES + 1)
    assert len(identities | {identity_of(cell)}) == 4


def test_all_cells_of_a_study_have_different_identities(file):
    cells = load_text(file).cells()
    assert len(cells) == 12
    assert len({identity_of(cell) for cell in cells}) == 12


def test_an_identity_is_the_same_as_in_earlier_versions(file):
    assert identity_of(warm_cell(load_text(file))) == "abf8716750eb"


def test_a_study_cannot_be_changed_after_it_is_loaded(file):
    study = load_text(file)
    with pytest.raises(ValueError, match="frozen"):
        study.recipe.epochs = 1
