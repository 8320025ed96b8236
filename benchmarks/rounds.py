"""Where the time of a distillation round goes, on the device that is here; prints Markdown.

    python -m benchmarks.rounds                       ResNet-34 to ResNet-18, 32 pixels
    python -m benchmarks.rounds --teacher resnet20 --student resnet8 --batch 128 --repeats 5

Three tables: the phases of a round with their share of the device's measured bf16 peak; what
each way of running it gains, in turns; and the same against the plain loop. Weights are random:
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
    device = devices.select("auto").device
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
    counting, running = pair.trainer(plain), pair.trainer(options)
    draws = -(-options.student_steps // options.draw_every)
    times = {"generator step": options.generator_steps, "draw": draws}
    times["student step"] = options.student_steps

    def calls(trainer: DistillTrainer) -> dict[str, Callable[[], object]]:
        batches = [trainer.sample_batch()]
        return {
            "generator step": trainer.generator_step,
            "draw": trainer.sample_batch,
            "student step": lambda: trainer.student_step(0, batches),
        }

    for _ in range(_WARM_ROUNDS):
        running.train_round()
    timed, operations = calls(running), calls(counting)
    print("| phase | times a round | ms | share of the round | TFLOP/s | of the bf16 peak |")
    print("| --- | --- | --- | --- | --- | --- |")
    seconds, flops = {}, {}
    for name, call in timed.items():
        seconds[name] = statistics.median(waited(call) for _ in range(repeats))
        flops[name] = counted(operations[name])
    round_s = sum(times[name] * call_s for name, call_s in seconds.items())
    for name, call_s in seconds.items():
        rate = flops[name] / call_s
        print(
            f"| {name} | {times[name]} | {1000 * call_s:.2f} "
            f"| {times[name] * call_s / round_s:.0%} "
            f"| {rate / 1e12:.2f} | {rate / peak:.0%} |"
        )
    print(flush=True)
    return float(sum(times[name] * count for name, count in flops.items()))


def variants(options: Distill) -> dict[str, Distill]:
    """Return ways to run the same training rounds, by what they change."""
    change = msgspec.structs.replace
    wide = 2 * options.batch_size
    ways = {
        "as it is": options,
        "fp32": change(options, precision="fp32"),
        "twice the batch": change(options, batch_size=wide),
        "one draw a round": change(options, draw_every=options.student_steps),
    }
    if torch.cuda.is_available():
        ways |= {
            "not compiled": change(options, compile="off"),
            "CUDA graphs": change(options, compile="cuda-graphs"),
            "CUDA graphs, one draw, twice the batch": change(
                options, compile="cuda-graphs", batch_size=wide, draw_every=options.student_steps
            ),
        }
    return ways


def compare(pair: Pair, options: Distill, repeats: int, *, flops: float, peak: float) -> None:
    """Time rounds of every way and of the plain loop in turns."""
    ways = variants(options)
    loops: dict[str, DistillTrainer | PlainLoop] = {"plain loop": pair.plain(options)}
    loops |= {name: pair.trainer(changed) for name, changed in ways.items()}
    for loop in loops.values():
        for _ in range(_WARM_ROUNDS):
            loop.train_round()
    times: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(repeats):
        order = list(loops.items())
        for name, loop in order if number % 2 == 0 else reversed(order):
            times[name].append(waited(loop.train_round))
    print("| way | samples/s | against the plain loop | against the first | of the bf16 peak |")
    print("| --- | --- | --- | --- | --- |")
    rates = {}
    for name, seconds in times.items():
        batch = ways.get(name, options).batch_size
        rates[name] = 2 * batch * options.student_steps / statistics.median(seconds)
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
    arguments = parser.parse_args()
    options = PRESETS["cifar10"].distill
    changes = {"batch_size": arguments.batch, "generator_width": arguments.width}
    options = msgspec.structs.replace(options, **{k: v for k, v in changes.items() if v})
    pair = Pair(arguments.teacher, arguments.student)
    heading(f"A round of {pair.teacher} to {pair.student}, {pair.image_size_px} pixels")
    peak = peak_flops()
    print(
        f"Batch {options.batch_size} from each generator, {options.student_steps} student steps; "
        f"bf16 peak by a matrix product of {peak / 1e12:.1f} TFLOP/s.\n"
    )
    flops = phases(pair, options, arguments.repeats, peak)
    compare(pair, options, arguments.repeats, flops=flops, peak=peak)
    if torch.cuda.is_available():
        print(f"Peak memory of all of them together: {torch.cuda.max_memory_allocated() >> 20} MiB")


if __name__ == "__main__":
    main()
