"""Where the runs of a study are recorded."""

from __future__ import annotations

from pydantic import field_validator

from benchmark.redact import has_secrets
from benchmark.study.schema.base import Strict


class Tracking(Strict):
    """Where runs are recorded in MLflow."""

    experiment: str | None = None
    """Name of the experiment. The default is `kd/` and the name of the study."""

    uri: str | None = None
    """Address of an MLflow store or server. The default is a store in the workspace."""

    @field_validator("uri")
    @classmethod
    def _check_no_password(cls, uri: str | None) -> str | None:
        if uri is not None and has_secrets(uri):
            part = "user name or password" if "@" in uri else "query, which may hold a token"
            problem = f"contains a {part}, and studies are copied into their results"
            raise ValueError(f"{problem}; set MLFLOW_TRACKING_URI instead")
        return uri
