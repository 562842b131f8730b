"""The data sets of a run, as MLflow's inputs. They name the data and contain none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.tracking.client import Client

_CONTEXT = "mlflow.data.context"
"""Tag of an input: what the run used the data for."""

_SOURCE_TYPE = "kdbench"

_DIGEST_LENGTH = 12
"""Number of digits of a hash; MLflow allows 36."""


@dataclass(frozen=True)
class UsedData:
    """A part of a data set that a run used.

    Attributes:
        name: Name of the data set and of the part, such as `digits test`.
        digest: First digits of a hash of the data set's fingerprint, which covers all parts, and
            of what selects the part's samples.
        context: What the part was used for: `train`, `val` or `test`.
        source: Section `dataset` of the study, as JSON.
        profile: The whole fingerprint and what selects the part's samples, as JSON.
    """

    name: str
    digest: str
    context: str
    source: str
    profile: str


def used_data(configuration: Mapping[str, Any]) -> list[UsedData]:
    """Return the data that a cell or teacher uses, the test data last.

    Args:
        configuration: Its configuration. A network that was only measured has no recipe, and uses
            only test data. Without data in the configuration, the result is empty.
    """
    data = configuration.get("data")
    if data is None:
        return []

    contexts = ["test"]
    if "recipe" in configuration:
        validated = data["split"].get("val", 0) > 0
        contexts = ["train", "val", "test"] if validated else ["train", "test"]

    return [_part(data, context) for context in contexts]


def _part(data: Mapping[str, Any], context: str) -> UsedData:
    """Return a part of the data of a configuration."""
    split = data["split"]
    # The test data do not depend on how the others are split.
    keys = ("test_samples",) if context == "test" else tuple(split)
    selection = {key: split[key] for key in keys if key in split}
    profile = json.dumps({"fingerprint": data["fingerprint"], **selection}, sort_keys=True)

    return UsedData(
        name=f"{data['source']['name']} {context}",
        digest=hashlib.sha256(f"{context} {profile}".encode()).hexdigest()[:_DIGEST_LENGTH],
        context=context,
        source=json.dumps(data["source"], sort_keys=True),
        profile=profile,
    )


def write_inputs(client: Client, run: Any, used: list[UsedData]) -> bool:
    """Write the data sets that a run lacks, in one request; return whether it lacked any.

    Args:
        client: Client of the store.
        run: MLflow's run.
        used: The data sets.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = getattr(run.inputs, "dataset_inputs", None) or []
    known = {(entry.dataset.name, entry.dataset.digest) for entry in inputs}
    new = [data for data in used if (data.name, data.digest) not in known]
    if not new:
        return False

    client.log_inputs(
        run.info.run_id,
        datasets=[
            DatasetInput(
                Dataset(data.name, data.digest, _SOURCE_TYPE, data.source, profile=data.profile),
                [InputTag(_CONTEXT, data.context)],
            )
            for data in new
        ],
    )
    return True
