"""Ready-made settings for `madpipe init --preset`."""

from collections.abc import Mapping
from types import MappingProxyType

from pipeline.settings import Data, Settings

PRESETS: Mapping[str, Settings] = MappingProxyType(
    {
        "digits": Settings(),
        "folder": Settings(data=Data(source="folder", root="images", image_size_px=32)),
    }
)
