"""Learning rates that rise once and fall once, as pure functions of the step."""

import math

_START = 1 / 25
_END = 1e-4


def one_cycle(step: int, steps: int, peak: float, warmup: float) -> float:
    """Return the learning rate of a step, from 0 to `steps` - 1.

    It rises from 1/25 of `peak` over the share `warmup` of the steps and falls to 1e-4 of it,
    both along a cosine (Smith & Topin 2017, with the cosine of common practice).
    """
    rising = max(1.0, warmup * steps)
    if step < rising:
        low, high, share = peak * _START, peak, step / rising
    else:
        low, high, share = peak, peak * _END, (step - rising) / max(1.0, steps - rising)
    return high + (low - high) * (1 + math.cos(math.pi * share)) / 2


def triangle(step: int, steps: int, peak: float, warmup: float) -> float:
    """Return the learning rate of a step, from 0 to `steps` - 1, along two straight lines.

    It rises from 1/25 of `peak` over the share `warmup` of the steps and falls to 1e-4 of it
    (the triangle of Page 2018, "How to train your ResNet", and of cifar10-airbench).
    """
    rising = max(1.0, warmup * steps)
    if step < rising:
        return peak * (_START + (1 - _START) * step / rising)
    return peak * (1 - (1 - _END) * (step - rising) / max(1.0, steps - rising))
