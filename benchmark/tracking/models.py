"""Trained networks as logged models in MLflow, each linked to its run, and students to teachers.

The models are external: MLflow shows their origin and results, but the weights stay in the
workspace, which contains them anyway. Nothing is pickled.

Like runs, models are derived from journals. The last step of writing one marks it as ready, so a
model that is not ready is written again, and no step adds anything twice.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.tracking.client import Client, MissingEndpointError, Point
from benchmark.tracking.run_inputs import UsedData
from benchmark.tracking.tags import (
    KIND,
    MODEL,
    SUPERSEDED,
    TEACHER,
    TEACHER_MODEL,
    TEACHER_WEIGHTS,
    WEIGHTS,
)

_EXTERNAL = "mlflow.model.isExternal"
"""Tag that tells MLflow to load no files of a model."""

_PAGE_SIZE = 1000
"""Maximum number of models per request."""

_TEST_METRICS = "test/"
"""Prefix of the metrics that were measured on the test data."""

_FORBIDDEN = str.maketrans(dict.fromkeys("/:.%\"'", "-"))
"""Characters that MLflow allows in no name of a model."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A network whose results are known.

    Attributes:
        name: Name of its run.
        tags: Tags of the model, among them `KIND` and `WEIGHTS`.
        params: Settings and recipe.
        points: Its results.
        test: The data that it was tested on, if known.
    """

    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: Collection[Point]
    test: UsedData | None


class Models:
    """The models of a study's experiment during one sync.

    A run whose model is complete has the tag `MODEL`. Models are read from the store only if a run
    lacks this tag or was superseded: that takes seconds if there are many.

    Args:
        client: Client of the store.
        experiment_id: MLflow's id of the experiment.
    """

    def __init__(self, client: Client, experiment_id: str):
        self._client = client
        self._experiment_id = experiment_id
        self._teachers: dict[str, str] = {}

    @functools.cached_property
    def _stored(self) -> list[Any] | None:
        """All models that kdbench wrote, oldest first; None if the server has no models."""
        try:
            found = _all_models(self._client, self._experiment_id)
        except MissingEndpointError:  # servers before MLflow 3
            return None

        own = [model for model in found if KIND in model.tags]
        return sorted(own, key=lambda model: (model.creation_timestamp, model.model_id))

    def write(self, run: Any, network: TrainedNetwork) -> bool:
        """Write what the model of a run lacks, or create it; return whether it lacked anything.

        Teachers must be written before their students.

        Args:
            run: MLflow's run.
            network: The network that the run trained or measured.
        """
        tags = self._tags(network)
        digest = hashlib.sha256(repr(sorted(tags.items())).encode()).hexdigest()[:12]
        identity, _, written = run.data.tags.get(MODEL, "").partition(" ")

        lacking = bool(written != digest)
        if lacking:
            if self._stored is None:
                return False
            identity = self._write(run, network, tags)
            self._client.set_tag(run.info.run_id, MODEL, f"{identity} {digest}")

        if tags[KIND] == TEACHER:
            self._teachers[tags[WEIGHTS]] = identity
        return lacking

    def _tags(self, network: TrainedNetwork) -> dict[str, str]:
        tags = {**network.tags, _EXTERNAL: "true"}
        teacher = self._teachers.get(tags.get(TEACHER_WEIGHTS, ""))
        return tags if teacher is None else {**tags, TEACHER_MODEL: teacher}

    def _write(self, run: Any, network: TrainedNetwork, tags: Mapping[str, str]) -> str:
        """Write the model of a run, and return its id."""
        run_id = run.info.run_id
        models = [model for model in self._stored or () if model.source_run_id == run_id]
        model = models[0] if models else self._create(run_id, network, tags)

        self._complete(run, model, network, tags)
        return str(model.model_id)

    def _create(self, run_id: str, network: TrainedNetwork, tags: Mapping[str, str]) -> Any:
        """Create a model, which is not ready yet, with all tags and params in one request."""
        return self._client.create_logged_model(
            self._experiment_id,
            name=network.name.translate(_FORBIDDEN),
            source_run_id=run_id,
            tags=dict(tags),
            params=dict(network.params),
            model_type=tags[KIND],
        )

    def _complete(
        self, run: Any, model: Any, network: TrainedNetwork, tags: Mapping[str, str]
    ) -> None:
        """Write results and links of a model, then mark it as ready."""
        from mlflow.entities import LoggedModelInput, LoggedModelOutput

        identity = model.model_id
        run_id = run.info.run_id
        self._client.log_batch(run_id, metrics=list(_metrics(identity, network)))

        if TEACHER_MODEL in tags:  # MLflow ignores a link that exists
            teacher = LoggedModelInput(tags[TEACHER_MODEL])
            self._client.log_inputs(run_id, models=[teacher])

        outputs = getattr(run.outputs, "model_outputs", None) or []
        if identity not in {output.model_id for output in outputs}:
            step = max((point.step for point in network.points), default=0)
            self._client.log_outputs(run_id, [LoggedModelOutput(identity, step)])

        if not tags.items() <= model.tags.items():
            self._client.set_logged_model_tags(identity, dict(tags))
        if str(model.status) != "READY":
            self._client.finalize_logged_model(identity, "READY")

    def delete_old(self, runs: Iterable[Any]) -> None:
        """Delete the models of superseded runs, and of runs that were deleted.

        Args:
            runs: All runs of the experiment's study, those of other workspaces included.
        """
        runs = list(runs)
        superseded = [run for run in runs if run.data.tags.get(KIND) == SUPERSEDED]
        retired = [run for run in superseded if run.data.tags.get(MODEL)]
        if not (retired or "_stored" in vars(self)):
            return

        gone = {run.info.run_id for run in superseded}
        gone |= set(self._client.deleted(self._experiment_id))
        for model in self._stored or ():
            if model.source_run_id in gone:
                self._client.delete_logged_model(model.model_id)

        for run in retired:
            self._client.set_tag(run.info.run_id, MODEL, "")


def _all_models(client: Client, experiment_id: str) -> list[Any]:
    models: list[Any] = []
    token = None

    while token != "":
        page = client.search_logged_models(
            [experiment_id], max_results=_PAGE_SIZE, page_token=token
        )
        models += page
        token = page.token or ""

    return models


def _metrics(model_id: str, network: TrainedNetwork) -> Iterable[Any]:
    """Yield a model's results; those on test data are linked to them."""
    from mlflow.entities import Metric

    for point in network.points:
        on_test = network.test is not None and point.key.startswith(_TEST_METRICS)
        test = network.test if on_test else None
        yield Metric(
            *point,
            model_id=model_id,
            dataset_name=test.name if test else None,
            dataset_digest=test.digest if test else None,
        )
