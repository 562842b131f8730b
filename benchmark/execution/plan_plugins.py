"""The plug-ins of studies that were run before, as their plans record them."""

from __future__ import annotations

from benchmark.errors import InputError
from benchmark.plugins import loading
from benchmark.plugins.loading import Plugin
from benchmark.records.layout import StudyFolder, Workspace
from benchmark.study.plan import Plan, read_plan


def load_plugins(plan: Plan, study: StudyFolder) -> None:
    """Load the plug-ins of a study.

    Args:
        plan: The plan of the study.
        study: The folder of the study, for messages.

    Raises:
        InputError: A plug-in is missing, or cannot be imported.
    """
    for plugin in plan.plugins:
        if not plugin.folder_path.is_absolute():
            raise InputError(
                f"{study.plan}: plugins: {plugin.reference} has no absolute folder; run the study "
                "again in this workspace"
            )
        loading.load(Plugin(plugin.reference, plugin.folder_path), f"{study.plan}: plugins")


def load_plugins_of_teacher(key: str, workspace: Workspace) -> None:
    """Load the plug-ins of the studies that used a teacher.

    Args:
        key: The key of the teacher.
        workspace: The workspace of the studies.

    Raises:
        InputError: A plug-in is missing, or cannot be imported, or a plan is damaged.
    """
    for name in workspace.studies():
        study = workspace.study(name)
        plan = read_plan(study.plan)
        if any(teacher.id == key for teacher in plan.teachers):
            load_plugins(plan, study)
