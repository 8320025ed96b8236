"""What a generator's images should be like where the teacher has no BatchNorm moments to match.

Terms of the images alone (total variation, squared norm, statistics of colour channels), and the
moments of the teacher's features, compared with those on images of structured noise.

Shape legend: B batch, N batch and places together, C channel, H W space, K classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor, nn

from models.classifier import Classifier
from pipeline.settings import Distill
from stages.distill import methods
from stages.distill.batch_norm import BNStatsLoss, batch_moments, statistics_layers
from stages.distill.distributed.group import Group
from stages.distill.noise_images import MIDDLE, SPREAD, NoiseImages, has_statistics

_NORMALISERS = (nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d)
_NOISE_IMAGES = 512
NOISE_BATCHES = 4
"""Batches of noise in a draw where there is no moment to match."""
_LEAST = 1e-12


class PriorWeights(NamedTuple):
    """The weight of each prior in the generator's loss; one of weight 0 is not computed."""

    total_variation: float
    l2: float
    colour: float
    features: float


def prior_weights(options: Distill) -> PriorWeights:
    """Return what the settings say of the priors."""
    return PriorWeights(
        total_variation=options.total_variation_weight,
        l2=options.l2_weight,
        colour=options.colour_weight,
        features=options.feature_weight,
    )


def with_defaults(options: Distill, teacher: nn.Module) -> Distill:
    """Return the settings with those of them filled in that stand in for missing moments.

    Nothing changes where the teacher has moments to match, or the method does not match any.
    """
    if statistics_layers(teacher) or not methods.loss_terms(options).batch_norm:
        return options
    return msgspec.structs.replace(
        options,
        noise_batches=NOISE_BATCHES if options.noise_batches is None else options.noise_batches,
    )


def why_no_moments(options: Distill, bn_stats: BNStatsLoss) -> str | None:
    """Return why no moments are matched and what is assumed instead, None where they are.

    Args:
        options: The settings, with the defaults that `with_defaults` filled in.
        bn_stats: The teacher with the layers that have moments.
    """
    if bn_stats.layers or not methods.loss_terms(options).batch_norm:
        return None
    reason = "the teacher has no BatchNorm2d layers with running statistics to match"
    if options.noise_batches:
        assert isinstance(bn_stats.network, Classifier)
        statistics = "the teacher's mean and std say"
        if not has_statistics(bn_stats.network):
            statistics = f"images usually are ({MIDDLE} and {SPREAD}), since it says no mean"
        reason += (
            ": instead the student also learns from images of structured noise, as bright on "
            f"average and as varied as {statistics} (distill.noise_batches = "
            f"{options.noise_batches})"
        )
    names = ("total_variation", "l2", "colour", "feature")
    weights = [f"{name}_weight" for name in names if getattr(options, f"{name}_weight")]
    if weights:
        reason += f"; its generator has {', '.join(weights)}"
    if not options.noise_batches and not weights:
        reason += ", and nothing is assumed instead (distill.noise_batches = 0)"
    return reason


class Priors(nn.Module):
    """A teacher with all terms that make images look like data, out of one forward pass."""

    def __init__(
        self,
        bn_stats: BNStatsLoss,
        options: Distill,
        size_px: tuple[int, int],
        group: Group | None = None,
    ) -> None:
        """Watch the features of the classifier in `bn_stats` where they have a weight.

        Their moments on images of noise, of so many rows and columns, are the same in every
        process.
        """
        super().__init__()
        assert isinstance(bn_stats.network, Classifier)
        self.bn_stats = bn_stats
        self.weights = weights = prior_weights(options)
        self._classifier = [bn_stats.network]  # in a list, so that it is no second child
        self._group = group or Group()
        self._moments: list[tuple[Tensor, Tensor]] | None = None
        self._under_noise: list[tuple[Tensor, Tensor]] = []
        self.layers = feature_layers(bn_stats.network) if weights.features else []
        for layer in self.layers:
            layer.register_forward_hook(self._add_moments)
        if self.layers:
            self._record(size_px)

    @torch.no_grad()
    def _record(self, size_px: tuple[int, int]) -> None:
        teacher = self._classifier[0]
        rng = torch.Generator(device=teacher.mean_1C11.device).manual_seed(0)
        x_BCHW = NoiseImages(rng, teacher, size_px).sample(_NOISE_IMAGES)
        group, self._group = self._group, Group()
        self._moments = self._under_noise = []
        teacher(x_BCHW)
        self._moments, self._group = None, group

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """Return the teacher's logits, its BatchNorm terms, and the weighted sum of the priors.

        The last is None where no prior has a weight.
        """
        if not any(self.weights):
            return *self.bn_stats(x_BCHW), None
        moments: list[tuple[Tensor, Tensor]] = []
        self._moments = moments
        logits_BK, bn_stats_terms = self.bn_stats(x_BCHW)
        self._moments = None
        loss = self._of_images(x_BCHW.float())
        if moments:
            pairs = zip(moments, self._under_noise, strict=True)
            terms = [moment_distance(seen, wanted) for seen, wanted in pairs]
            loss = loss + self.weights.features * torch.stack(terms).mean()
        return logits_BK, bn_stats_terms, loss

    def _of_images(self, x_BCHW: Tensor) -> Tensor:
        weights, teacher = self.weights, self._classifier[0]
        loss = x_BCHW.new_zeros(())
        if weights.total_variation:
            loss = loss + weights.total_variation * total_variation(x_BCHW)
        normalised_BCHW = (x_BCHW - teacher.mean_1C11) / teacher.std_1C11
        if weights.l2:
            loss = loss + weights.l2 * squared_norm(normalised_BCHW)
        if weights.colour:
            loss = loss + weights.colour * colour_statistics(normalised_BCHW, self._group)
        return loss

    def _add_moments(self, layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self._moments is not None:
            self._moments.append(batch_moments(_as_map(layer, output.float()), self._group))


def feature_layers(network: nn.Module) -> Sequence[nn.Module]:
    """Return the layers whose outputs are features: normalisers, or else what has weights.

    Without normalisers those are the convolutions, or the linear layers but the last, which
    gives logits.
    """
    modules = list(network.modules())
    if normalisers := [module for module in modules if isinstance(module, _NORMALISERS)]:
        return normalisers
    if convolutions := [module for module in modules if isinstance(module, nn.Conv2d)]:
        return convolutions
    return [module for module in modules if isinstance(module, nn.Linear)][:-1]


def _as_map(layer: nn.Module, h: Tensor) -> Tensor:
    """Return a layer's features as a map of shape BCHW: a map itself, or tokens with C last."""
    # What is derived from LayerNorm is one of maps in torchvision and timm (ConvNeXt).
    if h.ndim == 4 and type(layer) is not nn.LayerNorm:  # noqa: PLR2004  (BCHW)
        return h
    return h.reshape(-1, h.shape[-1], 1, 1)


def total_variation(x_BCHW: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbours in a column plus that in a row.

    The anisotropic total variation (Rudin, Osher & Fatemi 1992), which DeepInversion (Yin et al.
    2020, equation 3) has from Mahendran & Vedaldi 2015; a mean, so that it depends on no size.
    """
    columns = (x_BCHW[:, :, 1:] - x_BCHW[:, :, :-1]).abs().mean()
    return columns + (x_BCHW[:, :, :, 1:] - x_BCHW[:, :, :, :-1]).abs().mean()


def squared_norm(normalised_BCHW: Tensor) -> Tensor:
    """Return the mean square of normalised pixels (DeepInversion's l2 term, as a mean)."""
    return normalised_BCHW.square().mean()


def colour_statistics(normalised_BCHW: Tensor, group: Group) -> Tensor:
    """Return ||mean||_2 + ||var - 1||_2 of the channels of normalised images over the batch.

    A teacher's mean and std are those of its training images wherever it was trained as usual, so
    this is the BatchNorm term of DeepInversion (equation 4) at the network's input.
    """
    mean_C, var_C = batch_moments(normalised_BCHW, group)
    distance: Tensor = mean_C.norm() + (var_C - 1).norm()
    return distance


def moment_distance(seen: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]) -> Tensor:
    """Return ||mean - mean'||_2 / ||std'||_2 + ||var - var'||_2 / ||var'||_2.

    DeepInversion's equation 4, relative to what is wanted, since layers without running statistics
    differ in scale by orders of magnitude.
    """
    mean_C, var_C = seen
    wanted_mean_C, wanted_var_C = wanted
    of_mean = (mean_C - wanted_mean_C).norm() / wanted_var_C.sqrt().norm().clamp(min=_LEAST)
    of_var = (var_C - wanted_var_C).norm() / wanted_var_C.norm().clamp(min=_LEAST)
    distance: Tensor = of_mean + of_var
    return distance
