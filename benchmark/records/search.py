"""The record of a search, from which its MLflow runs are made: one JSON file per row and pair."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.errors import InputError
from benchmark.files import write_json


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True)


class TrialRecord(_Plain):
    """One trial.

    Attributes:
        number: Number of the trial, from 0; trial 0 has the published settings.
        state: Optuna's state: RUNNING, COMPLETE, PRUNED or FAIL.
        value: Mean objective over the seeds; None unless the trial is complete.
        values: The objective by seed.
        params: Settings by flat name.
        source: `published` or `search`.
        cells: Folder of each cell that has started, by seed, relative to the search's folder.
        compute_tmac: Compute used so far, in 10^12 multiply-accumulates.
    """

    number: int
    state: str
    value: float | None
    values: dict[str, float]
    params: dict[str, Any]
    source: str
    cells: dict[str, str]
    compute_tmac: float


class SearchRecord(_Plain):
    """The search for one row's settings on one pair.

    Attributes:
        key: Its identity, the hash of its configuration.
        optuna_study: Name of the study in Optuna's storage.
        experiment: Name of its experiment in MLflow.
        maximise: Whether a higher objective is better.
        budget: Number of trials that the study requests.
        published: Settings of trial 0 by flat name.
        space: Description of the search space of each setting, by flat name.
        best: Number of the best complete trial, if there is one.
        figures: Paths of its figures, relative to the search's folder.
        gained: The result in a sentence.
        definition: Hash of everything that determines the search, except code.
        code: Digests of the code that the trials are trained with; None in records of versions that
            did not record it.
    """

    key: str
    optuna_study: str = ""
    study: str
    experiment: str
    pair: str
    row: str
    method: str
    teacher: str
    student: str
    dataset: str
    objective: str
    maximise: bool
    seeds: list[int]
    budget: int
    sampler: str
    published: Mapping[str, Any]
    space: Mapping[str, str]
    trials: list[TrialRecord]
    best: int | None
    figures: list[str]
    gained: str
    definition: str = ""
    code: dict[str, str] | None = None


def write_search(path: Path, record: SearchRecord) -> None:
    """Write the record atomically.

    Raises:
        InputError: The file cannot be written.
    """
    unknown = {"definition", "code"} if record.code is None else set()
    write_json(path, record.model_dump(mode="json", exclude=unknown))


def read_search(path: Path) -> SearchRecord:
    """Read a record.

    Raises:
        InputError: The file cannot be read, or is not a record of a search.
    """
    try:
        return SearchRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        remedy = "check its permissions"
        if isinstance(error, FileNotFoundError):
            remedy = "`kdbench tune` writes it again"
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except ValidationError:
        raise InputError(
            f"{path}: damaged; delete it, and `kdbench tune` writes it again"
        ) from None
