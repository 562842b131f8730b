"""What is known of a study before its data are decoded and its networks are built."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.data.cache import Facts
from benchmark.data.known import known_facts
from benchmark.errors import InputError
from benchmark.execution.identities import identify_all
from benchmark.execution.required_teachers import RequiredTeacher, required_teachers
from benchmark.execution.teacher_store import TeacherStore
from benchmark.records.layout import StudyFolder, Workspace
from benchmark.study.study import Cell, Study


@dataclass(frozen=True)
class Outline:
    """A study and what the workspace knows of its data and teachers.

    Attributes:
        study: The study.
        data: Facts of the study's data set.
        teachers: The required teachers, in the order of the pairs.
        hashes: SHA-256 of the weights of each stored teacher, by key.
    """

    study: Study
    data: Facts
    teachers: list[RequiredTeacher]
    hashes: dict[str, str]

    @property
    def cells(self) -> list[Cell]:
        """All cells of the study, including those that cannot run."""
        return self.study.cells()

    def teacher_of(self, pair: str) -> RequiredTeacher:
        """Return the teacher of a pair.

        Args:
            pair: Name of the pair.
        """
        return next(teacher for teacher in self.teachers if pair in teacher.pairs)

    def identities(self, folder: StudyFolder) -> dict[str, str]:
        """Return identities by cell name, for the cells whose teacher is in the store.

        Args:
            folder: Folder of the study.
        """
        cells = identify_all(self, self.hashes, folder)
        return {name: cell.id for name, cell in cells.items()}


def outline(study: Study, workspace: Workspace) -> Outline:
    """Return what the workspace knows of a study's data and teachers.

    Raises:
        InputError: The data set has not been read yet, or the store lacks weights that the study
            names.
    """
    facts = known_facts(study.dataset, workspace.data)
    if facts is None:
        raise InputError(f"the data set {study.dataset.name} has not been read yet")

    store = TeacherStore(workspace)
    teachers = required_teachers(study, facts, store)
    cards = [store.card(teacher.key) for teacher in teachers]
    return Outline(
        study=study,
        data=facts,
        teachers=teachers,
        hashes={card.key: card.sha256 for card in cards if card is not None},
    )
