"""The identity of a workspace, by which its runs are told from those of other workspaces.

A copy of a workspace needs an identity of its own, because both may write to one MLflow server. A
workspace that was only moved keeps its identity.
"""

from __future__ import annotations

import re
import socket
import uuid
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.errors import InputError
from benchmark.files import write_error, write_json
from benchmark.records.layout import Workspace


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True)


class Place(_Plain):
    """A place where a workspace is or was.

    Attributes:
        host: Name of the machine.
        path: Path of the folder, without symbolic links.
        inode: Number of the folder in its file system. A copy has another one.
    """

    host: str
    path: str
    inode: int

    @classmethod
    def of(cls, folder: Path) -> Place:
        """Return the place of a folder."""
        return cls(
            host=socket.gethostname(), path=str(folder.resolve()), inode=folder.stat().st_ino
        )

    def same_folder(self, other: Place) -> bool:
        """Return whether two places are the same folder, possibly moved or mounted elsewhere."""
        return self.inode == other.inode and (self.host == other.host or self.path == other.path)


class WorkspaceId(_Plain):
    """The content of `workspace.json`.

    Attributes:
        id: Unique name of the workspace.
        places: Places where it was used. One file system may be used from several machines.
    """

    id: str
    places: tuple[Place, ...]


def identify(workspace: Workspace) -> str:
    """Return the identity of a workspace; a new workspace or copy first gets one.

    Raises:
        InputError: The file is damaged, or cannot be written.
    """
    try:
        workspace.path.mkdir(parents=True, exist_ok=True)
        place = Place.of(workspace.path)
        known = _read(workspace)
        if known is not None and place in known.places:
            return known.id

        with FileLock(workspace.identity_lock):
            return _update(workspace, place).id
    except OSError as error:
        raise write_error(workspace.identity, error) from error


def recorded_identity(workspace: Workspace) -> str:
    """Return the recorded identity of a workspace, or an empty string if it has none yet.

    Raises:
        InputError: The file is damaged.
    """
    known = _read(workspace)
    return "" if known is None else known.id


def _update(workspace: Workspace, place: Place) -> WorkspaceId:
    """Record the current place of a workspace, which has a new identity if it is new or a copy."""
    known = _read(workspace)
    places = () if known is None else known.places

    identity = _new_id(place.host)
    if known is not None and any(place.same_folder(former) for former in places):
        identity = known.id

    others = tuple(former for former in places if former != place)
    updated = WorkspaceId(id=identity, places=(*others, place))
    write_json(workspace.identity, updated.model_dump())
    return updated


def _new_id(host: str) -> str:
    """Return a unique name that begins with the name of the machine."""
    name = re.sub(r"[^A-Za-z0-9.-]", "-", host)[:40] or "host"
    return f"{name}-{uuid.uuid4().hex[:12]}"


def _read(workspace: Workspace) -> WorkspaceId | None:
    try:
        return WorkspaceId.model_validate_json(workspace.identity.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError:
        remedy = "delete it; the workspace then gets a new identity"
        raise InputError(f"{workspace.identity}: damaged; {remedy}") from None
