"""The data of a study: one model per kind of source, and the split into training and validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    model_validator,
)

from benchmark.errors import suggest
from benchmark.plugins.kinds import DATA_SOURCES
from benchmark.study.schema.base import Seed, Strict, check_plain, short_repr

TORCHVISION = (
    "cifar10",
    "cifar100",
    "mnist",
    "kmnist",
    "fashion_mnist",
    "imagenet",
    "places365",
)
"""The torchvision data sets that a study can use."""


class _DatasetBase(Strict):
    @property
    def identity(self) -> dict[str, Any]:
        """All options but `root` and `workers`, which do not affect the inputs."""
        return self.model_dump(exclude={"root", "workers"}, exclude_none=True)


class Digits(_DatasetBase):
    """The digits of scikit-learn: 1,797 grayscale images, read as 32x32 RGB images. Needs no files.

    A quarter of the images form the test set.
    """

    name: Literal["digits"]
    """Always `digits`."""

    loading: Literal["resident"] = "resident"
    """All images are kept on the device."""

    image_size: ClassVar[None] = None


class _InFiles(_DatasetBase):
    """Images in files: the keys that all these data sets share."""

    name: str
    """The kind of source, and the name of the data set."""

    root: str = "data"
    """Folder in which relative names are looked up, and into which data sets are downloaded."""

    train_split: str | None = None
    """Name of the split with the training images. The default is `train`."""

    test_split: str | None = None
    """Name of the split with the test images. The default is the first of `test`, `validation` and
    `val` that exists."""

    image_size: Annotated[int, Field(ge=8)] | None = None
    """Height and width of all images after resizing the shorter side and cropping. By default,
    images keep their size, which must be the same for all."""

    loading: Literal["resident", "streamed"] = "resident"
    """`resident` decodes all images once and keeps them on the device. `streamed` decodes an image
    whenever it is needed, and requires `image_size`."""

    workers: Annotated[int, Field(ge=0)] = 2
    """Number of processes that decode streamed images."""

    @model_validator(mode="after")
    def _check_loading(self) -> Self:
        if self.loading == "streamed" and self.image_size is None:
            raise ValueError("loading 'streamed' requires image_size")
        return self


class Torchvision(_InFiles):
    """A torchvision data set, downloaded if it is not in `root`."""

    name: Annotated[str, Field(json_schema_extra={"enum": [f"torch/{n}" for n in TORCHVISION]})]
    """`torch/` and the name of the data set."""


class HuggingFace(_InFiles):
    """A data set from the Hugging Face hub, or a local copy of one.

    Labels are integers. If the files name the classes, labels are matched by name, whatever the
    order; otherwise, each label of a training image is a class.
    """

    name: Annotated[str, Field(json_schema_extra={"pattern": "^hfds/."})]
    """`hfds/` followed by a folder or by a name on the hub: `hfds/mine` is the folder `mine` in
    `root` or, without such a folder, in the current folder; `hfds//data/mine` is the folder
    `/data/mine`. If there is no such folder, `hfds/owner/name` is taken from the hub."""

    config: str | None = None
    """Name of the configuration, for data sets that have several."""

    input_key: str | None = None
    """Name of the image column. The default is `image`."""

    target_key: str | None = None
    """Name of the label column. The default is `label`."""


class ClassFolders(_InFiles):
    """Image files in one folder per class, inside one folder per part (`train`, `test`).

    Hidden files and folders are left out.
    """

    name: Annotated[str, Field(json_schema_extra={"pattern": "^folder/."})]
    """`folder/` and the path of the folder, relative to `root` or to the current folder:
    `folder/mine`. An absolute path keeps its slash: `folder//data/mine`."""


class OtherFiles(_InFiles):
    """A data set that is read by a file of your own in `benchmark/data/sources/`."""

    name: Annotated[
        str,
        Field(json_schema_extra={"pattern": "^(?!(torch|hfds|folder)/)[A-Za-z_][A-Za-z0-9_]*/."}),
    ]
    """The name of the kind, a slash, and the name of the data set."""


class OwnData(_DatasetBase):
    """A data set that a plug-in provides (`plugins`). Its images are kept on the device."""

    name: Annotated[
        str, Field(json_schema_extra={"pattern": "^(?!digits$)[A-Za-z_][A-Za-z0-9_]*$"})
    ]
    """The name under which the plug-in registered it."""

    settings: Annotated[dict[str, Any], AfterValidator(check_plain)] = {}
    """Keyword arguments for the function of the plug-in."""

    image_size: Annotated[int, Field(ge=8)] | None = None
    """Height and width of all images after resizing the shorter side and cropping. By default,
    images keep their size, which must be the same for all."""

    loading: Literal["resident"] = "resident"
    """All images are kept on the device."""


FileDataset: TypeAlias = Torchvision | HuggingFace | ClassFolders | OtherFiles
"""A data set that is read from files."""

_KINDS: dict[str, type[Digits | FileDataset]] = {
    "digits": Digits,
    "torch": Torchvision,
    "hfds": HuggingFace,
    "folder": ClassFolders,
}

_KNOWN = ("digits", *(f"torch/{name}" for name in TORCHVISION), "hfds/<name>", "folder/<path>")


def _model(name: str) -> type[Digits | FileDataset | OwnData]:
    """Return the model of a data set, chosen by the first part of its name."""
    kind, slash, _ = name.partition("/")
    return _KINDS.get(kind, OtherFiles if slash else OwnData)


def _tag(value: Any) -> str:
    """Return the tag of the union's member for a value that `_check_form` has accepted."""
    model = _model(value["name"]) if isinstance(value, Mapping) else type(value)
    return model.__name__


def _check_form(value: Any) -> Any:
    """Reject a value without a name, before the union chooses a model by the name."""
    if isinstance(value, _DatasetBase):
        return value

    if not isinstance(value, Mapping):
        raise ValueError(f"is {short_repr(value)}; write a name, or a mapping with the key 'name'")

    name = value.get("name")
    if not isinstance(name, str):
        raise ValueError(f"name is {short_repr(name)}; it must be text such as 'digits'")
    return value


def check_dataset(value: Any) -> Any:
    """Reject a section of a study that names no data set; those of plug-ins must be loaded.

    Raises:
        ValueError: There is no such data set.
    """
    _check_form(value)
    if isinstance(value, _DatasetBase):
        return value

    name = value["name"]
    kind, _, rest = name.partition("/")
    if rest and kind.isidentifier() and _model(name) not in (Digits, Torchvision):
        return value  # the source checks whether the data set exists

    known = (*_KNOWN, *DATA_SOURCES.names())
    if name not in known:
        raise ValueError(f"no data set {short_repr(name)}; {suggest(name, known)}")
    return value


Dataset: TypeAlias = Annotated[
    Annotated[Digits, Tag("Digits")]
    | Annotated[Torchvision, Tag("Torchvision")]
    | Annotated[HuggingFace, Tag("HuggingFace")]
    | Annotated[ClassFolders, Tag("ClassFolders")]
    | Annotated[OtherFiles, Tag("OtherFiles")]
    | Annotated[OwnData, Tag("OwnData")],
    Discriminator(_tag),
    BeforeValidator(_check_form),
]
"""A data set of any kind; the first part of its name decides which keys it has."""

_ADAPTER: TypeAdapter[Dataset] = TypeAdapter(Dataset)
_CHECKED: TypeAdapter[Dataset] = TypeAdapter(Annotated[Dataset, BeforeValidator(check_dataset)])


def make_dataset(name: str, **options: Any) -> Dataset:
    """Return the data set with this name, as if read from a study file.

    Raises:
        ValueError: There is no such data set, or it has no such option.
    """
    return _CHECKED.validate_python({"name": name, **options})


def stored_dataset(content: Mapping[str, Any]) -> Dataset:
    """Return the data set in the card of a stored teacher.

    Older cards contain the keys of all kinds of data sets; those of other kinds are ignored.

    Raises:
        ValueError: The content describes no data set.
    """
    keys = _model(content["name"]).model_fields
    options = {key: value for key, value in content.items() if key in keys and value is not None}
    return _ADAPTER.validate_python(options)


def _check_portion(value: float) -> float:
    if value >= 1 and value != int(value):
        raise ValueError(f"is {value}; give a share below 1 or a whole number of images")
    return value


class Split(Strict):
    """How the source's training images are divided, and which of its test images are used.

    `split: legacy` is the protocol of published tables: train on all images and validate on none
    (`{val: 0}`).
    """

    val: Annotated[float, Field(ge=0), AfterValidator(_check_portion)] = 0.1
    """Share (below 1) or number of images held out for validation, stratified by class."""

    train_samples: Annotated[float, Field(gt=0), AfterValidator(_check_portion)] | None = None
    """Share (below 1) or number of the remaining images to train on, stratified by class. The
    default is all."""

    test_samples: Annotated[float, Field(gt=0), AfterValidator(_check_portion)] | None = None
    """Share (below 1) or number of test images to test on, stratified by class, for quick trials of
    a study; the leaderboard says so. The default is all."""

    seed: Seed = 0
    """Seed of the random choice."""

    @property
    def legacy(self) -> bool:
        """Whether no images are held out for validation."""
        return self.val == 0

    @property
    def test_part(self) -> dict[str, Any] | None:
        """The keys that choose the test images; None if all are used."""
        if self.test_samples is None:
            return None
        return {"test_samples": self.test_samples, "seed": self.seed}
