"""The networks of a study's pairs, built to look at their shapes."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark import seeds
from benchmark.data import Data
from benchmark.execution.required_teachers import RequiredTeacher
from benchmark.hashing import identity
from benchmark.models import create
from benchmark.models.tapped import TappedModel
from benchmark.study.schema import Network
from benchmark.study.study import Study


def network_of(data: Data, network: Network, location: str) -> TappedModel:
    """Build a tapped network for the images of a data set.

    Args:
        data: The data set.
        network: The network.
        location: Where the study names the network, for messages.

    Raises:
        InputError: There is no such network, or it cannot process the images.
    """
    return create.tapped(network, location, data.size, data.classes, data.mean, data.std)


class PairNetworks:
    """Builds each distinct network of a study once, and keeps it until its last pair is checked."""

    def __init__(self, study: Study, teachers: Sequence[RequiredTeacher], data: Data):
        self._data = data
        teacher_of = {pair: teacher.network for teacher in teachers for pair in teacher.pairs}
        self._pairs = [(teacher_of[pair.name], pair.student) for pair in study.pairs]
        self._built: dict[str, TappedModel] = {}

    def of_pair(self, index: int) -> tuple[TappedModel, TappedModel]:
        """Return the teacher and the student of a pair, without changing PyTorch's random state."""
        teacher, student = self._pairs[index]
        with seeds.seeded(0, "probe"):
            models = (
                self._get(teacher, f"pairs[{index}].teacher"),
                self._get(student, f"pairs[{index}].student"),
            )

        needed = {_key(network) for pair in self._pairs[index + 1 :] for network in pair}
        self._built = {key: model for key, model in self._built.items() if key in needed}
        return models

    def _get(self, network: Network, location: str) -> TappedModel:
        key = _key(network)
        if key not in self._built:
            self._built[key] = network_of(self._data, network, location)
        return self._built[key]


def _key(network: Network) -> str:
    return identity(network.identity)
