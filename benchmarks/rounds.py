"""Where the time of a distillation round goes, on the device that is here; prints Markdown.

    python -m benchmarks.rounds                       ResNet-34 to ResNet-18, 32 pixels
    python -m benchmarks.rounds --teacher resnet20 --student resnet8 --batch 128 --repeats 5

Three tables: the phases of a round with their share of the device's measured bf16 peak; what
each way of playing it gains, in turns; and the same against the plain loop. Weights are random:
speed does not depend on them.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import msgspec
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.distill import heading
from benchmarks.pairs import Pair
from benchmarks.plain_loop import PlainLoop
from pipeline.config.presets import PRESETS
from pipeline.settings import Distill
from stages.distill.trainer import DistillTrainer
from stages.training import device as devices

_MATRIX = {"cuda": 8192, "cpu": 1024}
_WARM_ROUNDS = 3


def waited(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes until the device is done."""
    _wait()
    begin_s = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - begin_s


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_flops() -> float:
    """Return what a large bf16 matrix product reaches here, the best of ten, in FLOP/s."""
    device = devices.choose("auto").device
    n = _MATRIX[device.type]
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    return float(2 * n**3 / min(waited(lambda: a @ b) for _ in range(10)))


def counted(call: Callable[[], object]) -> int:
    """Return the floating-point operations of a call."""
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def phases(pair: Pair, options: Distill, repeats: int, peak: float) -> float:
    """Print the phases of a round, uncompiled for the count; return the operations of a round."""
    plain = msgspec.structs.replace(options, compile="off")
    counting, playing = pair.game(plain), pair.game(options)
    draws = -(-options.student_steps // options.draw_every)
    times = {"generator step": options.generator_steps, "draw": draws}
    times["student step"] = options.student_steps

    def calls(game: DistillTrainer) -> dict[str, Callable[[], object]]:
        draw = [game._drawn()]
        return {
            "generator step": game._generator_step,
            "draw": game._drawn,
            "student step": lambda: game._student_step(0, draw),
        }

    for _ in range(_WARM_ROUNDS):
        playing.train_round()
    timed, operations = calls(playing), calls(counting)
    print("| phase | times a round | ms | share of the round | TFLOP/s | of the bf16 peak |")
    print("| --- | --- | --- | --- | --- | --- |")
    seconds, flops = {}, {}
    for name, call in timed.items():
        seconds[name] = statistics.median(waited(call) for _ in range(repeats))
        flops[name] = counted(operations[name])
    whole_s = sum(times[name] * each for name, each in seconds.items())
    for name, each in seconds.items():
        rate = flops[name] / each
        print(
            f"| {name} | {times[name]} | {1000 * each:.2f} | {times[name] * each / whole_s:.0%} "
            f"| {rate / 1e12:.2f} | {rate / peak:.0%} |"
        )
    print(flush=True)
    return float(sum(times[name] * each for name, each in flops.items()))


def variants(options: Distill) -> dict[str, Distill]:
    """Return ways to play the same rounds, by what they change."""
    change = msgspec.structs.replace
    wide = 2 * options.batch_size
    found = {
        "as it is": options,
        "fp32": change(options, precision="fp32"),
        "twice the batch": change(options, batch_size=wide),
        "one draw a round": change(options, draw_every=options.student_steps),
    }
    if torch.cuda.is_available():
        found |= {
            "not compiled": change(options, compile="off"),
            "CUDA graphs": change(options, compile="cuda-graphs"),
            "CUDA graphs, one draw, twice the batch": change(
                options, compile="cuda-graphs", batch_size=wide, draw_every=options.student_steps
            ),
        }
    return found


def compare(pair: Pair, options: Distill, repeats: int, *, flops: float, peak: float) -> None:
    """Time rounds of every way and of the plain loop in turns."""
    ways = variants(options)
    sides: dict[str, DistillTrainer | PlainLoop] = {"plain loop": pair.plain(options)}
    sides |= {name: pair.game(each) for name, each in ways.items()}
    for side in sides.values():
        for _ in range(_WARM_ROUNDS):
            side.train_round()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repeats):
        order = list(sides.items())
        for name, side in order if number % 2 == 0 else reversed(order):
            times[name].append(waited(side.train_round))
    print("| way | samples/s | against the plain loop | against the first | of the bf16 peak |")
    print("| --- | --- | --- | --- | --- |")
    rates = {}
    for name, each in times.items():
        batch = ways.get(name, options).batch_size
        rates[name] = 2 * batch * options.student_steps / statistics.median(each)
    for name, rate in rates.items():
        # Operations a sample are the same where draws are; a share of others would mislead.
        is_same = name in {"as it is", "fp32", "twice the batch", "not compiled", "CUDA graphs"}
        per_sample = flops / (2 * options.batch_size * options.student_steps)
        share = f"{rate * per_sample / peak:.0%}" if is_same else ""
        print(
            f"| {name} | {rate:,.0f} | {rate / rates['plain loop']:.2f} "
            f"| {rate / rates['as it is']:.2f} | {share} |"
        )
    print(f"\nn = {repeats} rounds of each, in turns, medians.\n", flush=True)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", default="resnet34")
    parser.add_argument("--student", default="resnet18")
    parser.add_argument("--batch", type=int, help="absent: the cifar10 preset's")
    parser.add_argument("--width", type=int, help="of the generator; absent: the preset's")
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    options = PRESETS["cifar10"].distill
    changes = {"batch_size": given.batch, "generator_width": given.width}
    options = msgspec.structs.replace(options, **{k: v for k, v in changes.items() if v})
    pair = Pair(given.teacher, given.student)
    heading(f"A round of {pair.teacher} to {pair.student}, {pair.image_size_px} pixels")
    peak = peak_flops()
    print(
        f"Batch {options.batch_size} from each generator, {options.student_steps} student steps; "
        f"bf16 peak by a matrix product of {peak / 1e12:.1f} TFLOP/s.\n"
    )
    flops = phases(pair, options, given.repeats, peak)
    compare(pair, options, given.repeats, flops=flops, peak=peak)
    if torch.cuda.is_available():
        print(f"Peak memory of all of them together: {torch.cuda.max_memory_allocated() >> 20} MiB")


if __name__ == "__main__":
    main()
