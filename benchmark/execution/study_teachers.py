"""Loads the teachers of a study, and sets those pairs aside whose teacher cannot be trained."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmark.errors import DamageError, InputError
from benchmark.execution import teachers
from benchmark.execution.damaged import repair
from benchmark.execution.plan_file import write_plan
from benchmark.execution.prepare import Prepared, errors_in
from benchmark.execution.session import Session
from benchmark.execution.teacher_training import UntrainedTeacherError
from benchmark.files import write_atomically, write_json
from benchmark.locks import locked
from benchmark.records.layout import StudyFolder
from benchmark.training.teacher import Teacher


@dataclass(frozen=True)
class StudyTeachers:
    """The teachers of a study.

    Attributes:
        loaded: The teachers by key.
        failed: Why each of the others could not be trained, by key.
    """

    loaded: dict[str, Teacher]
    failed: dict[str, str]

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the weights of the loaded teachers, by key."""
        return {key: teacher.sha256 for key, teacher in self.loaded.items()}

    def taught(self, prepared: Prepared) -> Prepared:
        """Return the part of a study whose teachers are loaded."""
        return replace(
            prepared,
            teachers=[teacher for teacher in prepared.teachers if teacher.key in self.loaded],
            cells=[
                cell
                for cell in prepared.cells
                if prepared.teacher_of(cell.pair.name).key in self.loaded
            ],
        )

    def untaught(self, prepared: Prepared) -> dict[str, str]:
        """Return why each cell without a teacher cannot be trained, by cell name."""
        keys = {str(cell): prepared.teacher_of(cell.pair.name).key for cell in prepared.cells}
        return {name: self.failed[key] for name, key in keys.items() if key in self.failed}


def obtain_teachers(prepared: Prepared, session: Session) -> None:
    """Train or fetch those teachers of a study that the store lacks, but train no student.

    Args:
        prepared: The study.
        session: The session.

    Raises:
        InputError: Another process is training the study, or a teacher could not be trained; see
            `load_teachers` for other causes.
    """
    folder = session.workspace.study(prepared.study.name)
    with locked(folder.path):
        repair(folder, session.progress.warn)
        loaded = load_teachers(prepared, session, folder)

    if loaded.failed:
        raise InputError(*(f"{session.source}: {reason}" for reason in loaded.failed.values()))


def load_teachers(prepared: Prepared, session: Session, folder: StudyFolder) -> StudyTeachers:
    """Load every teacher of a study, training or fetching it if needed.

    First, the context of the journals is written to the folder: a copy of the study's file, the
    split, and a plan without cells. A teacher that cannot be trained is left out, unless there is
    no other.

    Args:
        prepared: The study.
        session: The session.
        folder: Folder of the study, or of its searches.

    Raises:
        InputError: A teacher is below its gate, none can be trained, or a file cannot be read or
            written.
    """
    data = prepared.data
    split = {"dataset": data.name, "fingerprint": data.fingerprint, **data.split_record()}
    write_atomically(folder.study_file, prepared.text.encode())
    write_json(folder.split, split)
    write_plan(prepared, folder, {}, {})

    result = StudyTeachers({}, {})
    with errors_in(session.source):
        for required in prepared.teachers:
            record = folder.teacher(required.key)
            try:
                teacher = teachers.obtain(required, record, prepared, session)
                result.loaded[required.key] = teacher
            except (UntrainedTeacherError, DamageError) as error:
                result.failed[required.key] = str(error)

        if not result.loaded:
            raise InputError(*result.failed.values())

    for reason in result.failed.values():
        session.progress.warn(f"{reason}; no student of this teacher is trained")
    return result
