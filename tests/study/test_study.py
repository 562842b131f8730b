"""Studies: what is refused and how it is said, what `"*"` means, and what makes a cell's identity."""

from __future__ import annotations

import json
import random

import pytest
import yaml

import methods
from benchmark.errors import InputError
from benchmark.hashing import canonical, identity
from benchmark.study import study as study_study
from benchmark.study.schema import Tracking
from benchmark.study.study import Study, load

GOOD = """\
name: first
question: Which one?
dataset: digits
split: {val: 0.2, train_samples: 300, seed: 1}
pairs:
  - teacher: {model: resnet14, recipe: {epochs: 4}, seed: 2, min_accuracy: 90}
    student: resnet8
  - {name: same, teacher: resnet8, student: {model: resnet8, kwargs: {drop: 0.1}}}
methods:
  - student
  - {name: warm, method: kd, settings: {temperature: 2}}
  - {method: kd+at, settings: {at: {beta: 500}}}
seeds: [3, 1]
recipe:
  epochs: 10
  batch_size: 32
  optimizer: {name: sgd, lr: 5e-2, weight_decay: 5e-4}
  schedule: {name: step, milestones: [4, 8], warmup_epochs: 1}
  augmentation: {crop_padding: 2, flip: true}
select: best_val
tracking: {experiment: mine}
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "study.yaml"


def loaded(file, text=GOOD):
    file.write_text(text)
    return load(file)


def changed(old, new):
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def refused(file, text):
    file.write_text(text)
    with pytest.raises(InputError) as error:
        load(file)
    return str(error.value).replace(f"{file}:", "").splitlines()


def test_a_good_study_survives_a_round_trip_through_yaml(file):
    study = loaded(file)
    again = loaded(file, yaml.safe_dump(study.model_dump(), sort_keys=False))
    assert again == study
    assert [pair.name for pair in study.pairs] == ["resnet14-resnet8", "same"]
    assert [(row.name, row.method) for row in study.methods] == [
        ("student", "student"),
        ("warm", "kd"),
        ("kd+at", "kd+at"),
    ]
    assert (study.recipe.optimizer.weight_decay, study.pairs[0].teacher.recipe.epochs) == (5e-4, 4)
    assert (study.experiment, study.model_copy(update={"tracking": Tracking()}).experiment) == (
        "mine",
        "kd/first",
    )


NAME_RULE = (
    "a name has at most 80 letters, digits, spaces or . _ + ( ) - and starts with a letter or digit"
)

WRONG = [
    ("select: best_val", "selct: best_val", ["20:1: selct: unknown key; did you mean 'select'?"]),
    (
        "  batch_size",
        "  batchsize",
        ["16:3: recipe.batchsize: unknown key; did you mean 'batch_size'?"],
    ),
    ("lr: 5e-2", "rate: 5e-2", ["17:26: recipe.optimizer.rate: unknown key; known keys are "]),
    (
        "recipe: {epochs: 4}",
        "recipe: {epoch: 4, epochs: 4}",
        ["6:41: pairs[0].teacher.recipe.epoch: unknown key; "],
    ),
    ("val: 0.2, ", "vall: 0.2, ", ["4:9: split.vall: unknown key; did you mean 'val'?"]),
    ("name: warm, ", "nam: warm, ", ["11:6: methods[1].nam: unknown key; did you mean 'name'?"]),
    ("dataset: digits\n", "", ["1:1: dataset: missing; this key is required"]),
    ("  epochs: 10\n", "", ["14:1: recipe.epochs: missing; this key is required"]),
    ("    student: resnet8\n", "", ["6:5: pairs[0].student: missing; this key is required"]),
    ("method: kd, ", "", ["11:5: methods[1].method: missing; this key is required"]),
    (
        "seeds: [3, 1]",
        "seeds: [3, true]",
        ["13:12: seeds[1]: is True; input should be a valid integer"],
    ),
    (
        "seeds: [3, 1]",
        "seeds: [3, 1.0]",
        ["13:12: seeds[1]: is 1.0; input should be a valid integer"],
    ),
    (
        "seeds: [3, 1]",
        "seeds: [3, -1]",
        ["13:12: seeds[1]: is -1; input should be greater than or equal to 0"],
    ),
    ("seeds: [3, 1]", "seeds: [3, yes]", ["13:12: 'yes' means different things in YAML 1.1 "]),
    ("seeds: [3, 1]", "seeds: 3", ["13:1: seeds: is 3; input should be a valid list"]),
    ("seeds: [3, 1]", "seeds: []", ["13:1: seeds: is []; list should have at least 1 item"]),
    (
        "seeds: [3, 1]",
        "seeds: [3, 1, 3]",
        ["13:1: seeds: 3 stands twice; give each a name of its own"],
    ),
    ("name: same", "name: resnet14-resnet8", ["5:1: pairs: 'resnet14-resnet8' stands twice; "]),
    ("name: warm", "name: student", ["9:1: methods: 'student' stands twice; "]),
    (
        "lr: 5e-2",
        "lr: '5e-2'",
        ["17:26: recipe.optimizer.lr: is '5e-2'; input should be a valid number"],
    ),
    (
        "lr: 5e-2",
        "lr: .inf",
        ["17:26: recipe.optimizer.lr: is inf; input should be a finite number"],
    ),
    ("lr: 5e-2", "lr: .nan", ["17:26: recipe.optimizer.lr: is nan; input should be "]),
    ("lr: 5e-2", "lr: 0", ["17:26: recipe.optimizer.lr: is 0; input should be greater than 0"]),
    (
        "flip: true",
        "flip: 1",
        ["19:35: recipe.augmentation.flip: is 1; input should be a valid boolean"],
    ),
    (
        "name: sgd",
        "name: sdg",
        ["17:15: recipe.optimizer.name: is 'sdg'; input should be 'sgd', 'adamw' or 'dot'"],
    ),
    (
        "epochs: 10",
        f"epochs: {'x' * 500}",
        [f"15:3: recipe.epochs: is '{'x' * 79}...; input should be a valid integer"],
    ),
    ("milestones: [4, 8]", "milestones: [8, 4]", ["18:3: recipe.schedule: milestones must rise"]),
    (
        "milestones: [4, 8]",
        "milestones: [4, 10]",
        ["14:1: recipe: schedule.milestones holds 10, which 10 epochs never reach"],
    ),
    (
        "name: step, milestones: [4, 8]",
        "gamma: 0.2",
        ["18:3: recipe.schedule: gamma belongs to the schedule 'step'"],
    ),
    (
        "name: sgd",
        "name: adamw, nesterov: true",
        [
            "17:3: recipe.optimizer: momentum and nesterov belong to the optimizer 'sgd'; 'adamw' has none"
        ],
    ),
    (
        "name: sgd",
        "momentum: 0.0, nesterov: true",
        ["17:3: recipe.optimizer: nesterov needs a momentum above 0"],
    ),
    (
        "experiment: mine",
        "uri: 'http://user:secret@host'",
        [
            "21:12: tracking.uri: holds a name or a password, and studies are copied beside their runs; use MLFLOW_TRA"
        ],
    ),
    (
        "milestones: [4, 8], ",
        "",
        ["18:3: recipe.schedule: milestones belong to the schedule 'step'"],
    ),
    (
        "warmup_epochs: 1",
        "warmup_epochs: 10",
        ["14:1: recipe: schedule.warmup_epochs is 10 of 10 epochs"],
    ),
    (
        "val: 0.2",
        "val: 1.5",
        ["4:9: split.val: is 1.5; give a share below 1 or a whole number of images"],
    ),
    ("val: 0.2", "val: .inf", ["4:9: split.val: is inf; input should be a finite number"]),
    (
        "drop: 0.1",
        "drop: .nan",
        ["8:62: pairs[1].student.kwargs: only plain data with finite numbers"],
    ),
    (
        "method: kd,",
        "method: fitnt,",
        ["11:5: methods[1]: unknown method 'fitnt'; did you mean 'fitnet'?"],
    ),
    (
        "temperature: 2",
        "temprature: 2",
        ["11:5: methods[1]: kd: no setting 'temprature'; did you mean 'temperature'?"],
    ),
    (
        "temperature: 2",
        "temperature: 0",
        ["11:5: methods[1]: kd: temperature is 0.0; it must be > 0"],
    ),
    ("temperature: 2", "name: 2", ["11:5: methods[1]: kd: no setting 'name'; it has "]),
    ("beta: 500", "beta: true", ["12:5: methods[2]: at: beta is True; it must be of type float"]),
    ("name: first", "name: ../x", [f"1:1: name: is '../x'; {NAME_RULE}"]),
    ("name: first", "name: /etc", [f"1:1: name: is '/etc'; {NAME_RULE}"]),
    ("name: first", "name: a..b", [f"1:1: name: is 'a..b'; {NAME_RULE}"]),
    ("name: first", "name: .hidden", [f"1:1: name: is '.hidden'; {NAME_RULE}"]),
    ("name: first", 'name: ""', [f"1:1: name: is ''; {NAME_RULE}"]),
    ("name: first", 'name: "a\\0b"', [f"1:1: name: is 'a\\x00b'; {NAME_RULE}"]),
    ("name: first", 'name: "a\\n"', [f"1:1: name: is 'a\\n'; {NAME_RULE}"]),
    ("name: first", f"name: {'n' * 300}", [f"1:1: name: is '{'n' * 79}...; {NAME_RULE}"]),
    ("name: first", "name: 3", ["1:1: name: is 3; input should be a valid string"]),
    ("name: same", "name: a/b", [f"8:6: pairs[1].name: is 'a/b'; {NAME_RULE}"]),
    ("name: warm", "name: ../../x", [f"11:6: methods[1].name: is '../../x'; {NAME_RULE}"]),
    (
        "dataset: digits\nsplit: {val: 0.2",
        "dataset: 3\nsplit: {val: -1",
        [
            "3:1: dataset: is 3; ",
            "4:9: split.val: is -1; input should be greater than or equal to 0",
        ],
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "messages"), WRONG, ids=[f"{n}-{w[1][:30]}" for n, w in enumerate(WRONG)]
)
def test_a_mistake_is_one_line_with_place_key_value_and_remedy(file, old, new, messages):
    found = refused(file, changed(old, new))
    assert len(found) == len(messages)
    assert [line[: len(message)] for line, message in zip(found, messages, strict=True)] == messages


def test_every_name_the_rule_allows_is_one_folder_below_the_one_it_is_in(file, tmp_path):
    for name in ("a", "A+b (c) - 1_2.3", "n" * 80, "2020-01-01"):
        made = tmp_path / "runs" / loaded(file, changed("name: first", f"name: {name}")).name
        assert made.resolve().parent == (tmp_path / "runs").resolve()
        made.mkdir(parents=True)


def test_a_models_name_that_no_folder_could_have_gives_the_pair_a_name_that_one_can(file):
    study = loaded(file, changed("model: resnet14,", "model: 'hf_hub:timm/resnet14',"))
    assert study.pairs[0].name == "hf_hub-timm-resnet14-resnet8"


ROWS = GOOD[GOOD.index("methods:") : GOOD.index("seeds:")]


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ("methods: '*'\n", lambda every: every),
        ("methods: ['*']\n", lambda every: every),
        (
            "methods: [student, '*']\n",
            lambda every: ["student", *(name for name in every if name != "student")],
        ),
        (
            "methods: ['*', {name: warm, method: kd, settings: {temperature: 2}}, kd+at]\n",
            lambda every: [*(name for name in every if name != "kd"), "warm", "kd+at"],
        ),
    ],
)
def test_a_star_is_every_method_that_the_list_does_not_name_itself(file, rows, names):
    study = loaded(file, changed(ROWS, rows))
    assert [row.name for row in study.methods] == names(methods.names())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "  - '*'\n  - {method: kd, settings: {weigt: 1}}\n",
            "11:5: methods[1]: kd: no setting 'weigt'; ",
        ),
        (
            "  - '*'\n  - student\n  - {methd: kd, method: kd}\n",
            "12:6: methods[2].methd: unknown key; ",
        ),
        ("  - '*'\n  - [kd]\n", "11:5: methods[1]: is ['kd']; "),
        ("  - '*'\n  - {method: [kd]}\n", "11:6: methods[1].method: is ['kd']; "),
    ],
)
def test_a_mistake_beside_a_star_is_reported_where_it_was_written(file, rows, message):
    found = refused(file, changed(ROWS, f"methods:\n{rows}"))
    assert found[-1].startswith(message)


def test_cells_come_pair_by_pair_and_seed_by_seed(file):
    cells = [(cell.pair.name, cell.seed, cell.row.name) for cell in loaded(file).cells()]
    rows = ("student", "warm", "kd+at")
    assert cells == [
        (pair, seed, row)
        for pair in ("resnet14-resnet8", "same")
        for seed in (3, 1)
        for row in rows
    ]
    assert str(loaded(file).cells()[4]) == "resnet14-resnet8 / warm / seed 1"


def identified(study, index=10, data="fingerprint", teacher="weights"):
    cell = study.cells()[index]
    settings = methods.create(cell.row.method, **cell.row.settings).settings
    return identity(
        cell.configuration(data, {**cell.pair.teacher.identity, "sha256": teacher}, settings)
    )


def test_an_identity_is_twelve_digits_of_the_canonical_text(file):
    cell = loaded(file).cells()[10]
    configuration = cell.configuration("fingerprint", "weights", {"temperature": 2.0})
    backwards = json.loads(
        canonical(configuration), object_pairs_hook=lambda pairs: dict(reversed(pairs))
    )
    assert canonical(backwards) == canonical(configuration)
    assert canonical({"b": [1, 0.1, None], "a": {"d": True, "c": "é"}}) == (
        '{"a":{"c":"\\u00e9","d":true},"b":[1,0.1,null]}'
    )
    assert identity({"a": 1}) == "015abd7f5cc5"
    with pytest.raises(ValueError, match="not JSON compliant"):
        identity({"a": float("nan")})


def test_an_identity_does_not_depend_on_the_order_of_keys(file):
    lines = yaml.safe_load(GOOD)

    def backwards(value):
        if isinstance(value, dict):
            return {key: backwards(value[key]) for key in reversed(value)}
        return [backwards(entry) for entry in value] if isinstance(value, list) else value

    reordered = backwards(lines)
    assert list(reordered) != list(lines)
    assert identified(loaded(file, yaml.safe_dump(reordered, sort_keys=False))) == identified(
        loaded(file)
    )


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
    ],
)
def test_an_identity_does_not_depend_on_names_neighbours_or_what_is_the_default_anyway(
    file, old, new
):
    before = loaded(file)
    study = loaded(file, changed(old, new))
    (index,) = (
        i
        for i, cell in enumerate(study.cells())
        if (cell.pair, cell.row.method, cell.seed) == (study.pairs[1], "kd", 1)
    )
    assert identified(study, index) == identified(before)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dataset: digits", "dataset: cifar100"),
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
        ("method: kd,", "method: kd+at,"),
        ("temperature: 2", "temperature: 3"),
        ("temperature: 2", "temperature: 2, ce: 1"),
        ("seeds: [3, 1]", "seeds: [3, 2]"),
        ("  epochs: 10", "  epochs: 11"),
        ("batch_size: 32", "batch_size: 64"),
        ("name: sgd", "name: adamw"),
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
    ],
)
def test_an_identity_changes_with_everything_that_decides_a_number(file, old, new):
    settings = "settings: {temperature: 2}"
    text = (
        changed(old, new).replace(settings, "settings: {kd: {temperature: 2}}")
        if "kd+at," in new
        else None
    )
    assert identified(loaded(file, text or changed(old, new))) != identified(loaded(file))


def test_a_composition_has_one_identity_however_it_is_spaced(file):
    spaced = loaded(file, changed("method: kd+at", "method: kd + at"))
    assert spaced == loaded(file)


def test_an_identity_changes_with_the_data_the_teachers_weights_and_the_rules(file, monkeypatch):
    study = loaded(file)
    found = {identified(study), identified(study, data="other"), identified(study, teacher="other")}
    monkeypatch.setattr(study_study, "RULES", study_study.RULES + 1)
    assert len(found | {identified(study)}) == 4


def test_all_cells_of_a_study_have_identities_of_their_own(file):
    study = loaded(file)
    assert (
        len({identified(study, index) for index in range(len(study.cells()))})
        == len(study.cells())
        == 12
    )


def test_a_study_cannot_be_changed_after_it_was_read(file):
    study = loaded(file)
    with pytest.raises(ValueError, match="frozen"):
        study.recipe.epochs = 1


def test_a_study_with_one_wrong_character_is_read_or_refused_and_never_crashes(file):
    draw = random.Random(0)
    alphabet = "aZ0 9.-:,*&!'\"[]{}#|>%@`\t\n\\~?<=é\0\x1b"
    outcomes, lines = set(), []
    for _ in range(300):
        place, kind = draw.randrange(len(GOOD)), draw.choice(("insert", "replace", "delete"))
        wrong = "" if kind == "delete" else draw.choice(alphabet)
        file.write_text(GOOD[:place] + wrong + GOOD[place + (kind != "insert") :])
        try:
            outcomes.add(type(load(file)))
        except InputError as error:
            lines += str(error).splitlines()
            outcomes.add(InputError)
    assert all(line.startswith(f"{file}:") for line in lines)
    assert outcomes == {Study, InputError}
