"""Image classifiers of transformers: built by their `config.json`, and the names of their weights.

Of a repository nothing is run: its own code (`auto_map`) is left out.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from models.registry import UnknownArchitecture
from pipeline.errors import error_summary
from pipeline.image_size import ImageSize, compact


def from_config(
    path: Path | None,
    arch: str,
    *,
    in_channels: int,
    num_classes: int,
    image_size_px: ImageSize | None = None,
) -> nn.Module:
    """Build an image classifier with random weights, which returns its logits alone.

    Args:
        path: Its `config.json`.
        arch: `transformers:MODEL_TYPE`, for messages.
        in_channels: Channels of its images.
        num_classes: Size of its output.
        image_size_px: Height and width of its images, for networks that are made for one size.

    Raises:
        UnknownArchitecture: There is no such file, transformers is not installed, or refuses.
    """
    if path is None:
        wrong = f"is built by its config.json, which no name has ({arch})"
        raise UnknownArchitecture(wrong, 'name the weights, as weights = "hf:OWNER/REPO"')
    try:
        transformers: Any = importlib.import_module("transformers")
    except ImportError as error:
        wrong = f"transformers is not installed ({arch})"
        raise UnknownArchitecture(wrong, "run pip install transformers") from error
    try:
        config = transformers.AutoConfig.from_pretrained(
            str(path), trust_remote_code=False, local_files_only=True
        )
        config.num_channels, config.num_labels = in_channels, num_classes
        if image_size_px is not None and hasattr(config, "image_size"):
            config.image_size = compact(image_size_px)
        network = transformers.AutoModelForImageClassification.from_config(
            config, trust_remote_code=False
        )
    except Exception as error:  # a configuration may hold anything
        raise UnknownArchitecture(
            f"transformers does not build it: {error_summary(error)} ({arch})",
            "see the list of transformers' image classifiers",
        ) from error
    kind = type(network)

    def forward(self: nn.Module, x_BCHW: Tensor) -> Any:
        return kind.forward(self, pixel_values=x_BCHW).logits

    # A class of its own, so that the names of the layers stay those of the library.
    network.__class__ = type(kind.__name__, (kind,), {"forward": forward})
    assert isinstance(network, nn.Module)
    return network


def under_own_names(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a file's tensors under the names that the layers of a network have.

    Files keep the names that the library once gave; its loader knows what they are called now.
    Those of another network than one of transformers stay as they are, as do those of other shapes.
    """
    kind = next(
        (k for k in type(network).__mro__ if k.__module__.startswith("transformers.")), None
    )
    if kind is None or network.state_dict().keys() <= tensors.keys():
        return dict(tensors)
    logging: Any = importlib.import_module("transformers.utils.logging")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    loader: Any = kind
    loaded, report = loader.from_pretrained(
        None,
        config=network.config,
        state_dict=dict(tensors),
        output_loading_info=True,
        local_files_only=True,
        ignore_mismatched_sizes=True,
    )
    absent = {*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])}
    own = {name: tensor for name, tensor in loaded.state_dict().items() if name not in absent}
    others = {name: tensors[name] for name in tensors if name in absent - own.keys()}
    others |= {name: tensors[name] for name in report["unexpected_keys"] if name in tensors}
    return own | others
