"""What is recorded of weights that are named: what they are of, what they take, where they lie.

Light: the library that knows a name is imported once, and its answer kept as one of these records.
"""

from typing import TypeVar

import msgspec
from msgspec import Struct

from pipeline.errors import SettingsFault
from pipeline.preprocessing import Interpolation, Origin, Preprocessing

VALUE = "named_weights"
"""The name under which a stage gets the record."""
_REASON = "the hub's record of the weights"
_FIELDS = ("image_size_px", "mean", "std", "resize_px", "interpolation", "classes")
_P = TypeVar("_P", bound=Preprocessing)


class NamedWeights(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a hub says of weights: defaults that settings override.

    Without the name, so that two names of the same weights make the same record.
    """

    arch: str
    """As `models.registry` names it."""
    num_classes: int
    channels: int
    image_size_px: int
    """Height that is cut out, and width where `width_px` says no other."""
    mean: tuple[float, ...]
    """Of each channel, of images in [0, 1]."""
    std: tuple[float, ...]
    width_px: int | None = None
    resize_px: int | None = None
    """What the shorter side is scaled to; None: as much as is cut out."""
    interpolation: Interpolation = "bilinear"
    classes: tuple[str, ...] = ()
    """In the order of the outputs; empty: the hub does not name them."""
    remarks: tuple[str, ...] = ()
    """What the record says that is done in another way here."""

    def with_origins(self, card: _P) -> _P:
        """Return a card on which the hub is the origin of every value that is the hub's."""
        same = [name for name in _FIELDS if getattr(card, name) == getattr(self, name)]
        origins = {name: Origin(kind="hub", reason=_REASON) for name in same}
        return msgspec.structs.replace(card, origins={**card.origins, **origins})

    def note(self, card: Preprocessing) -> str:
        """Return which values of a card are the hub's, for the user."""
        hubs = [name for name, origin in card.origins.items() if origin.kind == "hub"]
        texts = [f"{name} {_text(getattr(card, name))}" for name in hubs]
        if self.classes and "classes" not in hubs:
            texts.append(f"{len(self.classes)} names of classes, which are not those of the data")
        return f"{_REASON} says {', '.join(texts) or 'nothing that is used'}; [data] says otherwise"


def _text(value: object) -> str:
    """Return a value of a card in a few words."""
    if not isinstance(value, tuple):
        return "none" if value is None else str(value)
    if any(isinstance(entry, str) for entry in value):
        return f"{value[0]}, ... ({len(value)})"
    return f"[{', '.join(f'{entry:.4g}' for entry in value)}]"


class UrlFile(Struct, frozen=True, tag="url"):
    """A file that torch.hub downloads and caches by the last part of its address."""

    url: str

    @property
    def name(self) -> str:
        """Return its name in the cache."""
        return self.url.partition("?")[0].rpartition("/")[2]


class RepoFile(Struct, frozen=True, tag="repo"):
    """A file of a repository of the Hugging Face hub."""

    repo: str
    """OWNER/NAME."""
    name: str
    revision: str = "main"
    """A branch, a tag or a commit."""


HubFile = UrlFile | RepoFile


class Located(Struct, frozen=True):
    """Weights that a name stands for."""

    weights: NamedWeights
    files: tuple[HubFile, ...]
    """Files that may hold them; the first one that is there is taken."""
    config: RepoFile | None = None
    """The file by which the network is built, where its name alone does not tell."""


def checked_statistics(weights: NamedWeights, name: str, setting: str, remedy: str) -> NamedWeights:
    """Return a record whose mean and std are of its channels.

    Raises:
        SettingsFault: They are of others; `name` is that of the weights, which `setting` holds.
    """
    if not len(weights.mean) == len(weights.std) == weights.channels:
        counts = f"{len(weights.mean)} and {len(weights.std)} numbers, {weights.channels} channels"
        raise fault(setting, f"has a mean and std for other images ({name}: {counts})", remedy)
    return weights


def fault(setting: str, wrong: str, remedy: str) -> SettingsFault:
    """Return the error for a dotted setting that names weights."""
    return SettingsFault([(tuple(setting.split(".")), wrong, remedy)])
