"""Stored teachers are found by their cards, and cards of older versions are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import InputError
from benchmark.execution.teacher_store import TeacherCard, TeacherStore
from benchmark.records.layout import Workspace

pytestmark = pytest.mark.trains

DATASET = {
    "image_size": None,
    "input_key": None,
    "loading": "resident",
    "name": "digits",
    "root": "data",
    "target_key": None,
    "test_split": None,
    "train_split": None,
    "workers": 2,
}

IMPORTED: dict[str, Any] = {
    "classes": 10,
    "dataset": DATASET,
    "fingerprint": "d6f57effa93d",
    "key": "371ca66aaed3",
    "network": {
        "kwargs": {"channels": [4, 8, 8, 16], "drop_path_rate": None},
        "mean": [0.305317759513855, 0.305317759513855, 0.305317759513855],
        "model": "resnet18",
        "pretrained": False,
        "std": [0.32388952374458313, 0.32388952374458313, 0.32388952374458313],
    },
    "sha256": "3d59185cd2e8dc5ea200ad8456fbcbfcc0614769707b4764dfc289a0355279d0",
    "source": "theirs.pth",
    "test/acc1": 10.022271714922049,
}
"""A card as version 0.1.0 wrote it for an imported teacher."""

TRAINED = {
    **IMPORTED,
    "key": "471ca66aaed3",
    "sha256": "3d60185cd2e8dc5ea200ad8456fbcbfcc0614769707b4764dfc289a0355279d0",
    "source": "trained",
    "recipe": {"batch_size": 16, "epochs": 1, "optimizer": {"lr": 0.05, "name": "sgd"}},
    "seed": 0,
    "val/acc1": 12.5,
}
"""A card as version 0.1.0 wrote it for a teacher that was trained here."""


@pytest.fixture
def filled(workspace: Path) -> TeacherStore:
    """A store with both teachers."""
    store = TeacherStore(Workspace(workspace))
    for content in (IMPORTED, TRAINED):
        path = store.files(content["key"]).card
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
    return store


@pytest.mark.parametrize("content", [IMPORTED, TRAINED])
def test_the_card_of_an_older_version_is_read_and_written_as_it_was(
    content: dict[str, Any],
) -> None:
    card = TeacherCard.model_validate(content)
    written = card.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert written.pop("dataset") == {"name": "digits", "loading": "resident"}
    assert written == {key: value for key, value in content.items() if key != "dataset"}


def test_the_best_known_accuracy_is_on_the_validation_images_if_there_were_some(
    filled: TeacherStore,
) -> None:
    imported, trained = filled.cards()[0]
    assert imported.best_known == (10.022271714922049, "test")
    assert trained.best_known == (12.5, "validation")


def test_a_teacher_is_named_by_the_first_digits_of_its_weights(filled: TeacherStore) -> None:
    assert filled.find("3d59185c", "here").key == IMPORTED["key"]
    assert filled.find(TRAINED["sha256"], "here").key == TRAINED["key"]


def test_digits_that_match_several_teachers_or_none_are_refused(filled: TeacherStore) -> None:
    message = (
        r"^here: 3d matches several teachers \(371ca66aaed3, 471ca66aaed3\); give more digits$"
    )
    with pytest.raises(InputError, match=message):
        filled.find("3d", "here")
    with pytest.raises(InputError, match=r"^here: no teacher in .* matches 00; list them with "):
        filled.find("00", "here")


def test_damaged_cards_are_listed_beside_the_others_and_unfinished_folders_are_not(
    filled: TeacherStore,
) -> None:
    filled.files(IMPORTED["key"]).card.write_text("{")
    partial = filled.files(".471ca66aaed3.part").card
    partial.parent.mkdir()
    partial.write_text(json.dumps(TRAINED))
    filled.lock("371ca66aaed3").touch()

    cards, messages = filled.cards()
    assert [card.key for card in cards] == [TRAINED["key"]]
    (message,) = messages
    assert message.startswith(f"{filled.files(IMPORTED['key']).card}: damaged (")


def test_an_empty_workspace_has_no_teachers(workspace: Path) -> None:
    store = TeacherStore(Workspace(workspace))
    assert store.cards() == ([], [])
    assert store.card("371ca66aaed3") is None
