"""timm's weights by name. Heavy: it imports timm, once for a name."""

import re
from typing import Any

from pipeline import collector
from pipeline.errors import UnavailableError, did_you_mean
from stages.hubs import advice
from stages.hubs.configs import of_pretrained_cfg
from stages.hubs.records import HubFile, Located, RepoFile, UrlFile, fault

_FILES = ("model.safetensors", "pytorch_model.bin")
_IMAGENET = re.compile(r"(?:^|_)in\d+k(?:$|_)")
"""In a tag: trained or tuned on a part of ImageNet, whose classes timm lists by their number."""


def look_up(name: str, setting: str) -> Located:
    """Return what timm records of weights, named ARCH.TAG or ARCH for its default ones.

    Raises:
        SettingsFault: There is no such network or tag, or it is no classifier.
        UnavailableError: timm is not installed.
    """
    try:
        with collector.paused():
            import timm  # noqa: PLC0415  (optional, and seconds to import)
    except ImportError as error:
        wrong = f"needs a package that is not installed (timm, for timm:{name})"
        raise UnavailableError(setting, wrong, f"run {advice.INSTALL}") from error
    arch, _, tag = name.partition(".")
    if not timm.is_model(arch):
        wrong = f"timm has no such network{did_you_mean(arch, timm.list_models())} ({arch})"
        raise fault(setting, wrong, "see timm.list_models()")
    tags = [text.partition(".")[2] for text in timm.list_pretrained(f"{arch}.*")]
    tags += [""] if arch in timm.list_pretrained(arch) else []
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:
        config = None
    if config is None or not (config.hf_hub_id or config.url):
        wrong = f"{arch} has no such weights{did_you_mean(tag, tags)} ({tag or 'no default ones'})"
        raise fault(setting, wrong, f"name one of {', '.join(sorted(tags)) or 'none'}")
    if config.custom_load or config.label_offset:
        wrong = f"is no file of weights under timm's own names (timm:{name})"
        raise fault(setting, wrong, "save timm's network as a torch checkpoint, and name that file")
    fields: dict[str, Any] = dict(vars(config))
    if not config.label_names and _IMAGENET.search(config.tag or ""):
        fields["label_names"] = _imagenet_classes(config)
    weights = of_pretrained_cfg(arch, fields, f"timm:{name}", setting)
    return Located(weights, tuple(_files(config)))


def _imagenet_classes(config: Any) -> list[str] | None:
    """Return the WordNet numbers of the classes of a part of ImageNet, None where timm has none."""
    from timm.data import imagenet_info  # noqa: PLC0415  (see above)

    subset = imagenet_info.infer_imagenet_subset({"num_classes": config.num_classes})
    info: Any = imagenet_info.ImageNetInfo(subset) if subset else None
    return list(info.label_names()) if info else None


def _files(config: Any) -> list[HubFile]:
    """Return where timm looks for the weights, the hub first, as its own loader does."""
    files: list[HubFile] = []
    if config.hf_hub_id:
        repo, _, revision = config.hf_hub_id.partition("@")
        names = (config.hf_hub_filename,) if config.hf_hub_filename else _FILES
        files += [RepoFile(repo, name, revision or "main") for name in names]
    if config.url:
        files.append(UrlFile(config.url))
    return files
