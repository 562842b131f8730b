"""Loading a study: mistakes are reported with position, key and remedy, `"*"` is written out."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

import methods
from benchmark.errors import InputError
from benchmark.plugins.kinds import AUGMENTATIONS
from benchmark.study import yamlfile
from benchmark.study.schema import Tracking
from benchmark.study.study import Study
from tests.support.studyfile import GOOD, changed, load_text, refused


@pytest.fixture
def file(tmp_path):
    return tmp_path / "study.yaml"


def test_a_good_study_survives_a_round_trip_through_yaml(file):
    study = load_text(file)
    again = load_text(file, yamlfile.dump(study.model_dump()))

    assert again == study
    assert [pair.name for pair in study.pairs] == ["resnet14-resnet8", "same"]
    assert [(row.name, row.method) for row in study.methods] == [
        ("student", "student"),
        ("warm", "kd"),
        ("kd+at", "kd+at"),
    ]
    assert study.recipe.optimizer.weight_decay == 5e-4
    assert study.pairs[0].teacher.recipe.epochs == 4


def test_an_experiment_is_named_after_the_study_unless_the_study_names_it(file):
    study = load_text(file)
    assert study.experiment == "mine"
    assert study.model_copy(update={"tracking": Tracking()}).experiment == "kd/first"


NAME_RULE = (
    "use at most 80 letters, digits, spaces or . _ + ( ) -, without '..', starting with a "
    "letter or digit"
)

UNKNOWN_KEYS = [
    ("select: best_val", "selct: best_val", "20:1: selct: unknown key; did you mean 'select'?"),
    ("  batch_size", "  batchsize", "16:3: recipe.batchsize: unknown key; did you mean 'batch_"),
    ("lr: 5e-2", "rate: 5e-2", "17:26: recipe.optimizer.rate: unknown key; choose from delta, "),
    (
        "recipe: {epochs: 4}",
        "recipe: {epoch: 4, epochs: 4}",
        "6:41: pairs[0].teacher.recipe.epoch: unknown key; did you mean 'epochs'?",
    ),
    ("val: 0.2, ", "vall: 0.2, ", "4:9: split.vall: unknown key; did you mean 'val'?"),
    ("name: warm, ", "nam: warm, ", "11:6: methods[1].nam: unknown key; did you mean 'name'?"),
    (
        "dataset: digits",
        "dataset: {name: digits, lading: resident}",
        "3:25: dataset.lading: unknown key; did you mean 'loading'?",
    ),
    (
        "dataset: digits",
        "dataset: {name: hfds/mine, input: image}",
        "3:28: dataset.input: unknown key; did you mean 'input_key'?",
    ),
    (
        "dataset: digits",
        "dataset: {name: digits, image_size: 8}",
        "3:25: dataset.image_size: has no effect here; remove it",
    ),
    (
        "dataset: digits",
        "dataset: {name: folder/mine, target_key: label}",
        "3:30: dataset.target_key: has no effect here; remove it",
    ),
    (
        "settings: {temperature: 2}}",
        "found: {same: {setings: {}}}}",
        "11:45: methods[1].found.same.setings: unknown key; did you mean 'settings'?",
    ),
]

MISSING_KEYS = [
    ("dataset: digits\n", "", "1:1: dataset: missing; this key is required"),
    ("  epochs: 10\n", "", "14:1: recipe.epochs: missing; this key is required"),
    ("    student: resnet8\n", "", "6:5: pairs[0].student: missing; this key is required"),
    ("method: kd, ", "", "11:5: methods[1].method: missing; this key is required"),
]

WRONG_TYPES = [
    ("[3, 1]", "[3, true]", "13:12: seeds[1]: is True; it must be a valid integer"),
    ("[3, 1]", "[3, yes]", "13:12: 'yes' means different things in YAML 1.1 and YAML 1.2; "),
    ("[3, 1]", "[3, 1.0]", "13:12: seeds[1]: is 1.0; it must be a valid integer"),
    ("[3, 1]", "[3, -1]", "13:12: seeds[1]: is -1; it must be greater than or equal to 0"),
    ("[3, 1]", "3", "13:1: seeds: is 3; it must be a list: [3]"),
    ("[3, 1]", "[]", "13:1: seeds: is []; list should have at least 1 item"),
    ("lr: 5e-2", "lr: '5e-2'", "17:26: recipe.optimizer.lr: is '5e-2'; it must be a valid number"),
    (
        "lr: 5e-2",
        "lr: '0,05'",
        "17:26: recipe.optimizer.lr: is '0,05'; write a decimal point: 0.05",
    ),
    (
        "lr: 5e-2",
        "lr: 0,05",
        "17:32: a key must be text; put it in quotes, or write a decimal poin",
    ),
    ("lr: 5e-2", "lr: .inf", "17:26: recipe.optimizer.lr: is inf; it must be a finite number"),
    ("lr: 5e-2", "lr: .nan", "17:26: recipe.optimizer.lr: is nan; it must be "),
    ("lr: 5e-2", "lr: 0", "17:26: recipe.optimizer.lr: is 0; it must be greater than 0"),
    ("flip: true", "flip: 1", "19:35: recipe.augmentation.flip: is 1; it must be a valid boolean"),
    (
        "name: sgd",
        "name: sdg",
        "17:3: recipe.optimizer: no optimizer 'sdg'; did you mean 'sgd'?",
    ),
    (
        "epochs: 10",
        f"epochs: {'x' * 500}",
        f"15:3: recipe.epochs: is '{'x' * 79}...; it must be a valid integer",
    ),
    ("val: 0.2", "val: .inf", "4:9: split.val: is inf; it must be a finite number"),
    ("split: {val: 0.2", "split: legcy #", "4:1: split: is 'legcy'; it must be a valid "),
    ("dataset: digits", "dataset: 3", "3:1: dataset: is 3; write a name, or a mapping with the ke"),
    ("dataset: digits", "dataset: {root: x}", "3:1: dataset: name is None; it must be text such "),
    (
        "dataset: digits",
        "dataset: {name: digits, loading: streamed}",
        "3:25: dataset.loading: is 'streamed'; it must be 'resident'",
    ),
]

UNKNOWN_NAMES = [
    ("dataset: digits", "dataset: digit", "3:1: dataset: no data set 'digit'; did you mean 'digi"),
    ("method: kd,", "method: fitnt,", "11:5: methods[1]: unknown method 'fitnt'; did you mean 'fi"),
    ("temperature: 2", "temprature: 2", "11:5: methods[1]: kd: no setting 'temprature'; did you "),
    ("temperature: 2", "name: 2", "11:5: methods[1]: kd: no setting 'name'; it has "),
]

WRONG_VALUES = [
    (
        "min_accuracy: 90",
        "min_accuracy: 0.9",
        "6:62: pairs[0].teacher.min_accuracy: is 0.9, but accuracies are in percent; for 90%, ",
    ),
    (
        "min_accuracy: 90",
        "min_accuracy: 1",
        "6:62: pairs[0].teacher.min_accuracy: is 1, but accuracies are in percent; for 100%, wri",
    ),
    ("[3, 1]", "[3, 1, 3]", "13:1: seeds: 3 occurs twice; make every entry unique"),
    ("name: same", "name: resnet14-resnet8", "5:1: pairs: 'resnet14-resnet8' occurs twice; "),
    ("name: warm", "name: student", "9:1: methods: 'student' occurs twice; "),
    (
        "milestones: [4, 8]",
        "milestones: [8, 4]",
        "18:3: recipe.schedule: milestones must be in increasing order",
    ),
    (
        "milestones: [4, 8]",
        "milestones: [4, 10]",
        "14:1: recipe: schedule.milestones contains 10, and epochs is 10; every milestone must be ",
    ),
    (
        "name: step, milestones: [4, 8]",
        "gamma: 0.2",
        "18:3: recipe.schedule: gamma applies only to schedule 'step'; remove it",
    ),
    ("name: step, ", "", "18:3: recipe.schedule: milestones apply only to schedule 'step'; "),
    ("milestones: [4, 8], ", "", "18:3: recipe.schedule: schedule 'step' requires milestones"),
    (
        "warmup_epochs: 1",
        "warmup_epochs: 10",
        "14:1: recipe: schedule.warmup_epochs is 10, and epochs is 10; warm up for fewer epochs",
    ),
    (
        "name: sgd",
        "name: adamw, nesterov: true",
        "17:3: recipe.optimizer: optimizer 'adamw' has no momentum and no nesterov; remove them",
    ),
    (
        "name: sgd",
        "name: dot, nesterov: true",
        "17:3: recipe.optimizer: nesterov applies only to optimizer 'sgd'; remove it",
    ),
    (
        "name: sgd",
        "name: sgd, delta: 0.05",
        "17:3: recipe.optimizer: delta applies only to optimizer 'dot'; remove it",
    ),
    (
        "name: sgd",
        "name: dot, delta: 0.2",
        "17:3: recipe.optimizer: delta is 0.2 and momentum is 0.9; momentum - delta and ",
    ),
    (
        "name: sgd",
        "momentum: 0.0, nesterov: true",
        "17:3: recipe.optimizer: nesterov requires a momentum above 0",
    ),
    (
        "experiment: mine",
        "uri: 'http://user:secret@host'",
        "21:12: tracking.uri: contains a user name or password, and studies are copied into their "
        "results; set MLFLOW_TRACKING_URI instead",
    ),
    (
        "experiment: mine",
        "uri: 'http://host/x?token=secret'",
        "21:12: tracking.uri: contains a query, which may hold a token, and studies are copied "
        "into their results; set MLFLOW_TRACKING_URI instead",
    ),
    (
        "experiment: mine",
        '"experi\\e[2Kment": mine',
        r"21:12: this text contains the control character '\x1b'; remove it",
    ),
    (
        "experiment: mine",
        'experiment: "mine\\rkdbench: all is well"',
        r"21:24: this text contains the control character '\r'; remove it",
    ),
    ("val: 0.2", "val: 1.5", "4:9: split.val: is 1.5; give a share below 1 or a whole number of"),
    (
        "drop: 0.1",
        "drop: .nan",
        "8:62: pairs[1].student.kwargs: must be plain data with finite numbers",
    ),
    (
        "temperature: 2",
        "temperature: 0",
        "11:5: methods[1]: kd: temperature is 0.0; it must be > 0",
    ),
    ("beta: 500", "beta: true", "12:5: methods[2]: at: beta is True; it must be of type float"),
    (
        "model: resnet14, recipe: {epochs: 4}",
        "model: resnet14, weights: abcdef12",
        "6:5: pairs[0].teacher: seed has no effect on stored weights; remove it",
    ),
    (
        "{model: resnet8, ",
        "{model: resnet8, mean: [0.5], ",
        "8:36: pairs[1].student: mean and std must be set together; set both or neither",
    ),
    (
        "{model: resnet8, ",
        "{model: resnet8, mean: [0.5], std: [0.0], ",
        "8:36: pairs[1].student: std is [0.0]; all values must be above 0",
    ),
    (
        "split: {val: 0.2, train_samples: 300, seed: 1}",
        "split: legacy",
        "1:1: select is 'best_val', but split 'legacy' has no validation images; use 'last'",
    ),
    (
        "{crop_padding: 2, flip: true}",
        "{resized_crop: 0.5}",
        "19:18: recipe.augmentation.resized_crop: applies only to streamed images; use "
        "crop_padding",
    ),
    (
        "dataset: digits",
        "dataset: {name: folder/mine, image_size: 8, loading: streamed}",
        "19:18: recipe.augmentation.crop_padding: applies only to resident images; use "
        "resized_crop",
    ),
    (
        "dataset: digits",
        "dataset: {name: folder/mine, loading: streamed}",
        "3:1: dataset: loading 'streamed' requires image_size",
    ),
]

WRONG_OPTIONS = [
    ("ema: 1", "20:3: recipe.ema: is 1; it must be less than 1"),
    ("ema: 0", "20:3: recipe.ema: is 0; it must be greater than 0"),
    ("clip_norm: 0", "20:3: recipe.clip_norm: is 0; it must be greater than 0"),
    ("clip_value: -1", "20:3: recipe.clip_value: is -1; it must be greater than 0"),
    ("label_smoothing: 1", "20:3: recipe.label_smoothing: is 1; it must be less than 1"),
    ("accumulate: 1", "20:3: recipe.accumulate: is 1; it must be greater than or equal to 2"),
    ("accumulate: 2.5", "20:3: recipe.accumulate: is 2.5; it must be a valid integer"),
    ("max_hours: 0", "20:3: recipe.max_hours: is 0; it must be greater than 0"),
    ("teacher_cache: 0", "20:3: recipe.teacher_cache: is 0; it must be greater than or equal to 1"),
    ("teacher_cache: 1.5", "20:3: recipe.teacher_cache: is 1.5; it must be a valid integer"),
    (
        "precision: fp8",
        "20:3: recipe.precision: is 'fp8'; it must be 'fp32', 'tf32', 'bf16' or 'fp16'",
    ),
    ("emma: 0.9", "20:3: recipe.emma: unknown key; did you mean 'ema'?"),
]

WRONG_SCHEDULES = [
    (
        "poly",
        "no schedule 'poly'; choose from constant, cosine, onecycle, polynomial, step",
    ),
    ("{name: polynomial, power: 0}", "power: is 0; it must be greater than 0"),
    ("{name: cosine, power: 2}", "power applies only to schedule 'polynomial'; remove it"),
    ("{name: onecycle, pct_start: 1}", "pct_start: is 1; it must be less than 1"),
    ("{name: onecycle, div_factor: 0.5}", "div_factor: is 0.5; it must be greater than or equal"),
    ("{pct_start: 0.3}", "pct_start applies only to schedule 'onecycle'; remove it"),
    (
        "{name: onecycle, warmup_epochs: 1}",
        "schedule 'onecycle' rises by itself; remove warmup_epochs",
    ),
    ("{name: onecycle, gamma: 0.5}", "gamma applies only to schedule 'step'; remove it"),
]

WRONG_SEARCHES = [
    ("{seeds: [3, 4]}", "1:1: search.seeds and seeds both contain 3; compare methods on seeds "),
    ("{seeds: [5, 5]}", "20:1: search: seeds has duplicates: [5, 5]"),
    ("{lr: [0.2, 0.1]}", "20:1: search: lr is [0.2, 0.1]; give the lowest value, then the highest"),
    ("{weight_decay: [1, 1]}", "20:1: search: weight_decay is [1.0, 1.0]; give the lowest value, "),
    ("{lr: [0.1]}", "20:10: search.lr: is [0.1]; list should have at least 2 items"),
    ("{sampler: gp, pruner: median}", "20:1: search: sampler 'gp' cannot learn from pruned trials"),
    (
        "{trials: {kd: 20, at: 5}}",
        "20:10: search.trials: gives methods different numbers of trials (5, 20); a fair ",
    ),
]

WRONG_NAMES = [
    ("name: first", "name: ../x", f"1:1: name: is '../x'; {NAME_RULE}"),
    ("name: first", "name: /etc", f"1:1: name: is '/etc'; {NAME_RULE}"),
    ("name: first", "name: a..b", f"1:1: name: is 'a..b'; {NAME_RULE}"),
    ("name: first", "name: .hidden", f"1:1: name: is '.hidden'; {NAME_RULE}"),
    ("name: first", 'name: ""', f"1:1: name: is ''; {NAME_RULE}"),
    (
        "name: first",
        'name: "a\\0b"',
        r"1:7: this text contains the control character '\x00'; remove it",
    ),
    (
        "name: first",
        "name: mlflow.db",
        "1:1: name: is 'mlflow.db'; the workspace has a file or folder of this name; choose",
    ),
    ("name: first", "name: my.yaml", "1:1: name: is 'my.yaml'; commands take this name for a"),
    ("name: first", 'name: "a\\n"', f"1:1: name: is 'a\\n'; {NAME_RULE}"),
    ("name: first", f"name: {'n' * 300}", f"1:1: name: is '{'n' * 79}...; {NAME_RULE}"),
    ("name: first", "name: 3", "1:1: name: is 3; it must be a valid string"),
    ("name: same", "name: a/b", f"8:6: pairs[1].name: is 'a/b'; {NAME_RULE}"),
    ("name: warm", "name: ../../x", f"11:6: methods[1].name: is '../../x'; {NAME_RULE}"),
]

WRONG = [
    *UNKNOWN_KEYS,
    *MISSING_KEYS,
    *WRONG_TYPES,
    *UNKNOWN_NAMES,
    *WRONG_VALUES,
    *(
        ("select: best_val", f"  {option}\nselect: best_val", message)
        for option, message in WRONG_OPTIONS
    ),
    (
        "val: 0.2",
        "val: 0.2, test_samples: 1.5",
        "4:19: split.test_samples: is 1.5; give a share below 1 or a whole number of images",
    ),
    *(("select: best_val", f"search: {search}", message) for search, message in WRONG_SEARCHES),
    *WRONG_NAMES,
]


@pytest.mark.parametrize(
    ("old", "new", "message"), WRONG, ids=[f"{n}-{w[1][:30]}" for n, w in enumerate(WRONG)]
)
def test_a_mistake_is_reported_in_one_line_with_position_key_value_and_remedy(
    file, old, new, message
):
    lines = refused(file, changed(old, new))
    assert len(lines) == 1
    assert lines[0][: len(message)] == message


@pytest.mark.parametrize(("schedule", "message"), WRONG_SCHEDULES)
def test_a_key_of_another_schedule_is_refused(file, schedule, message):
    text = changed("{name: step, milestones: [4, 8], warmup_epochs: 1}", schedule)
    (line,) = refused(file, text)
    assert line.startswith("18:")
    assert message in line


def test_fp16_with_dot_is_refused_with_a_remedy(file):
    text = changed("name: sgd", "name: dot").replace("select:", "  precision: fp16\nselect:")
    assert refused(file, text) == [
        "14:1: recipe: optimizer 'dot' has two gradients, and precision 'fp16' can scale only one; "
        "use 'bf16' or 'fp32'"
    ]


def noise(images, generator):
    return images


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "flip: true}",
            "flip: true}\n  teacher_cache: 2\n  mixup: 0.2",
            "14:1: recipe: teacher_cache needs images that are the same in many epochs, and mixup "
            "mixes them anew; remove one of the two",
        ),
        (
            "flip: true}",
            "flip: true}\n  teacher_cache: 2\n  max_hours: 1.0",
            "14:1: recipe: teacher_cache and max_hours: the time of a training would depend on "
            "which outputs are stored; remove one of the two",
        ),
        (
            "temperature: 2}",
            "temperature: 2}, recipe: {teacher_cache: 2, cutmix: 1.0}",
            "11:58: methods[1].recipe: teacher_cache needs images that are the same in many "
            "epochs, and cutmix mixes them anew; remove one of the two (row 'warm')",
        ),
        (
            "{crop_padding: 2, flip: true}",
            "{flip: true, own: [noise]}\n  teacher_cache: 2",
            "14:1: recipe: teacher_cache needs augmentations of single images, and those of "
            "plug-ins augment batches; remove one",
        ),
        (
            "{crop_padding: 2, flip: true}",
            "{flip: true}\n  teacher_cache: 2",
            "20:3: recipe.teacher_cache: applies only to resident images; remove it",
        ),
        (
            "recipe: {epochs: 4}",
            "recipe: {epochs: 4, teacher_cache: 2}",
            "6:52: pairs[0].teacher.recipe.teacher_cache: a teacher has no teacher of its own; "
            "remove it",
        ),
    ],
    ids=[
        "mixup",
        "a limit of time",
        "a row's cutmix",
        "an augmentation of a plug-in",
        "streamed",
        "a teacher",
    ],
)
def test_a_teacher_cache_is_refused_where_no_view_can_be_fixed(file, old, new, message):
    text = changed(old, new)
    if "resident" in message:
        text = text.replace(
            "dataset: digits", "dataset: {name: folder/mine, image_size: 8, loading: streamed}"
        )
    AUGMENTATIONS.add("noise", noise, noise)
    try:
        assert refused(file, text) == [message]
    finally:
        AUGMENTATIONS.remove_origin(__name__)


def test_every_mistake_has_a_line_of_its_own(file):
    old = "dataset: digits\nsplit: {val: 0.2"
    lines = refused(file, changed(old, "dataset: 3\nsplit: {val: -1"))

    assert len(lines) == 2
    assert lines[0].startswith("3:1: dataset: is 3; ")
    assert lines[1] == "4:9: split.val: is -1; it must be greater than or equal to 0"


@pytest.mark.parametrize(
    "name", ["a", "A+b (c) - 1_2.3", "n" * 80, "2020-01-01"], ids=["a", "all", "long", "date"]
)
def test_every_allowed_name_is_one_folder_below_its_parent(file, tmp_path, name):
    study = load_text(file, changed("name: first", f"name: {name}"))
    folder = tmp_path / "runs" / study.name

    assert folder.resolve().parent == (tmp_path / "runs").resolve()
    folder.mkdir(parents=True)


def test_a_pair_is_named_after_its_models_without_characters_that_no_folder_can_have(file):
    study = load_text(file, changed("model: resnet14,", "model: 'hf_hub:timm/resnet14',"))
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
def test_a_star_is_every_method_that_the_list_does_not_name(file, rows, names):
    study = load_text(file, changed(ROWS, rows))
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
def test_a_mistake_beside_a_star_is_reported_where_it_is_written(file, rows, message):
    lines = refused(file, changed(ROWS, f"methods:\n{rows}"))
    assert lines[-1].startswith(message)


@pytest.mark.broad
def test_a_study_with_one_wrong_character_is_loaded_or_refused_and_never_crashes(file):
    draw = random.Random(0)
    alphabet = "aZ0 9.-:,*&!'\"[]{}#|>%@`\t\n\\~?<=é\0\x1b"
    outcomes, lines = set(), []

    for _ in range(300):
        index, edit = draw.randrange(len(GOOD)), draw.choice(("insert", "replace", "delete"))
        character = "" if edit == "delete" else draw.choice(alphabet)
        rest = index + (edit != "insert")
        try:
            study = load_text(file, GOOD[:index] + character + GOOD[rest:])
            outcomes.add(type(study))
        except InputError as error:
            outcomes.add(InputError)
            lines += str(error).splitlines()

    assert all(line.startswith(f"{file}:") for line in lines)
    assert outcomes == {Study, InputError}


def test_reading_studies_imports_neither_torch_nor_mlflow_nor_optuna():
    code = (
        "import sys\n"
        "import benchmark.study.plan, benchmark.study.schema, benchmark.study.study\n"
        "print(sorted({'torch', 'mlflow', 'optuna', 'pandas'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_required_key_that_is_misspelt_is_one_mistake(file):
    assert refused(file, changed("  epochs: 10\n", "  epoch: 10\n")) == [
        "15:3: recipe.epoch: unknown key; did you mean 'epochs'?"
    ]


def test_an_unknown_key_does_not_hide_another_key_that_is_missing(file):
    missing, unknown = refused(file, changed("  epochs: 10\n", "  nonsense: 10\n"))
    assert missing == "14:1: recipe.epochs: missing; this key is required"
    assert unknown.startswith("15:3: recipe.nonsense: unknown key; choose from ")


@pytest.mark.parametrize("value", [0, 1.5, 72, 100])
def test_a_minimum_accuracy_in_percent_is_accepted(file, value):
    study = load_text(file, changed("min_accuracy: 90", f"min_accuracy: {value}"))
    assert study.pairs[0].teacher.min_accuracy == value
