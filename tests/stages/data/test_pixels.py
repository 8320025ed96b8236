"""Scaling and cropping, to the bit as torchvision's transforms for its own networks."""

import numpy as np
import pytest
from PIL import Image
from torchvision.models import get_model_weights
from torchvision.transforms import functional

from pipeline.image_size import sides_px
from stages.data import pixels
from stages.networks.conventions import convention


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "mobilenet_v2", "inception_v3"])
@pytest.mark.parametrize("size", [(500, 375), (300, 411), (224, 224), (90, 641)])
def test_images_are_prepared_as_torchvision_does_for_its_weights(
    name: str, size: tuple[int, int]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    usual = convention(f"torchvision:{name}", 3)
    assert usual.image_size_px is not None
    x_HWC = pixels.prepared(
        image,
        3,
        sides_px(usual.image_size_px),
        usual.resize_px,
        usual.interpolation,
    )
    transforms = get_model_weights(name).DEFAULT.transforms()
    resized = functional.resize(image, transforms.resize_size, transforms.interpolation)
    wanted = np.asarray(functional.center_crop(resized, transforms.crop_size))
    np.testing.assert_array_equal(x_HWC, wanted)
    assert (usual.mean, usual.std) == (tuple(transforms.mean), tuple(transforms.std))
