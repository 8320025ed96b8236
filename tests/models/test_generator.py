"""The generator and the sizes that it can make."""

import hashlib
import json

import pytest
import torch
from torch.nn import functional

from models.generator import Generator, UpsampleConv2d


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 1), (32, 3), (64, 3)])
def test_noise_becomes_images_from_0_to_1(size: int, channels: int) -> None:
    generator = Generator(noise_dim=6, image_size_px=size, channels=channels, width=4)
    x_BCHW = generator(torch.randn(3, 6))
    assert x_BCHW.shape == (3, channels, size, size)
    assert x_BCHW.dtype == torch.float32
    assert x_BCHW.min() >= 0
    assert x_BCHW.max() <= 1


def test_different_noise_gives_different_images() -> None:
    x_BCHW = Generator(noise_dim=6, image_size_px=8, channels=1, width=4)(torch.randn(2, 6))
    assert not torch.equal(x_BCHW[0], x_BCHW[1])


def test_the_metadata_builds_the_same_generator_again() -> None:
    generator = Generator(noise_dim=6, image_size_px=16, channels=3, width=4)
    (text,) = generator.metadata().values()
    again = Generator(**json.loads(text))
    again.load_state_dict(generator.state_dict())
    z_BZ = torch.randn(2, 6)
    assert torch.equal(generator.eval()(z_BZ), again.eval()(z_BZ))


@pytest.mark.parametrize(("enlarge", "native_px"), [(1, 15), (2, 8), (4, 4)])
def test_images_may_be_made_smaller_and_enlarged(enlarge: int, native_px: int) -> None:
    torch.manual_seed(0)
    generator = Generator(
        noise_dim=6, image_size_px=15, channels=3, width=4, enlarge=enlarge
    ).eval()
    z_BZ = torch.randn(2, 6)
    x_BCHW = generator(z_BZ)
    assert x_BCHW.shape == (2, 3, 15, 15)
    (text,) = generator.metadata().values()
    again = Generator(**json.loads(text)).eval()
    again.load_state_dict(generator.state_dict())
    assert torch.equal(again(z_BZ), x_BCHW)
    generator.gives_native = True
    native_BCHW = generator(z_BZ)
    assert native_BCHW.shape == (2, 3, native_px, native_px)
    wanted_BCHW = functional.interpolate(native_BCHW, size=15, mode="bilinear")
    assert torch.equal(wanted_BCHW, x_BCHW)


def test_the_upsampling_convolution_is_upsampling_and_a_3x3_convolution() -> None:
    torch.manual_seed(0)
    layer = UpsampleConv2d(3, 5).double()
    x_BCHW = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    doubled_BCHW = functional.interpolate(x_BCHW, scale_factor=2, mode="nearest")
    wanted_BCHW = functional.conv2d(doubled_BCHW, layer.weight, padding=1)
    out_BCHW = layer(x_BCHW)
    torch.testing.assert_close(out_BCHW, wanted_BCHW, rtol=1e-12, atol=1e-12)
    slope_BCHW = torch.randn_like(wanted_BCHW)
    wanted = torch.autograd.grad(wanted_BCHW, (x_BCHW, layer.weight), slope_BCHW)
    gradients = torch.autograd.grad(out_BCHW, (x_BCHW, layer.weight), slope_BCHW)
    torch.testing.assert_close(gradients, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("kind", "in_features"), [("sum", 6), ("cat", 12)])
def test_a_conditional_generator_takes_labels_by_their_embedding(
    kind: str, in_features: int
) -> None:
    torch.manual_seed(0)
    generator = Generator(
        noise_dim=6, image_size_px=8, channels=1, width=4, kind=kind, num_classes=3
    ).eval()
    assert generator.project.in_features == in_features
    z_BZ = torch.randn(1, 6).expand(2, 6)
    x_BCHW = generator(z_BZ, torch.tensor([0, 2]))
    assert not torch.equal(x_BCHW[0], x_BCHW[1])
    (text,) = generator.metadata().values()
    again = Generator(**json.loads(text)).eval()
    again.load_state_dict(generator.state_dict())
    assert torch.equal(again(z_BZ, torch.tensor([0, 2])), x_BCHW)


def test_the_sum_kind_is_the_unconditional_one_on_noise_plus_embedding() -> None:
    torch.manual_seed(0)
    conditional = Generator(
        noise_dim=6, image_size_px=8, channels=1, width=4, kind="sum", num_classes=3
    ).eval()
    plain = Generator(noise_dim=6, image_size_px=8, channels=1, width=4).eval()
    plain.load_state_dict(conditional.state_dict(), strict=False)
    assert conditional.embedding is not None
    z_BZ, y_B = torch.randn(4, 6), torch.tensor([0, 1, 2, 1])
    assert torch.equal(conditional(z_BZ, y_B), plain(z_BZ + conditional.embedding(y_B)))


def test_a_size_that_no_doubling_gives_is_cut_from_a_larger_image() -> None:
    generator = Generator(noise_dim=4, image_size_px=30, channels=3, width=8)
    assert generator(torch.randn(2, 4)).shape == (2, 3, 30, 30)


@pytest.mark.parametrize("size", [(8, 15), (9, 17), (24, 40), (100, 60), (1024, 8), (13, 13)])
def test_height_and_width_are_apart(size: tuple[int, int]) -> None:
    generator = Generator(noise_dim=4, image_size_px=size, channels=2, width=4)
    x_BCHW = generator(torch.randn(2, 4))
    assert x_BCHW.shape == (2, 2, *size)
    (text,) = generator.metadata().values()
    assert Generator(**json.loads(text)).size_px == size


def test_sixteen_channels_are_made_like_one() -> None:
    generator = Generator(noise_dim=4, image_size_px=(8, 12), channels=16, width=4)
    assert generator(torch.randn(2, 4)).shape == (2, 16, 8, 12)


@pytest.mark.parametrize(
    ("size", "features", "weights"),
    [
        (8, 32, "71c076d0774b"),
        (15, 128, "23f16463bb13"),
        (28, 392, "84679fd4dd14"),
        (30, 512, "7506c71f233c"),
        (32, 512, "7506c71f233c"),
        (224, 392, "2ed0bb5daf0b"),
    ],
)
def test_square_generators_are_what_they_were_before_sides_were_apart(
    size: int, features: int, weights: str
) -> None:
    torch.manual_seed(0)
    generator = Generator(noise_dim=4, image_size_px=size, channels=3, width=8)
    assert generator.project.out_features == features
    digest = hashlib.sha256()
    for name, tensor in generator.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
    assert digest.hexdigest()[:12] == weights
    assert json.loads(generator.metadata()["madpipe.generator"])["image_size_px"] == size
    # The image is the middle of what the layers make.
    z_BZ = torch.randn(2, 4)
    start = round((features // 8) ** 0.5)
    h_BCHW = generator.eval().norm(generator.project(z_BZ).view(2, 8, start, start))
    whole_BCHW = torch.sigmoid(generator.to_image(generator.upsample(h_BCHW)))
    first = (whole_BCHW.shape[2] - size) // 2
    cut_BCHW = whole_BCHW[:, :, first : first + size, first : first + size]
    torch.testing.assert_close(generator(z_BZ), cut_BCHW)
