"""Where the time of a distillation round goes, on the device that is here; prints Markdown.

    python -m benchmarks.rounds                       ResNet-34 to ResNet-18, 32 pixels
    python -m benchmarks.rounds --teacher resnet20 --student resnet8 --batch 128 --repeats 5
    python -m benchmarks.rounds --pair digits --batch 128 --steps 5 --width 64

Tables of the phases of a round, for each way to compile it, with their share of the device's
measured bf16 peak; the kernels that take the most time, on a CPU the operators of each phase; and
what each way of running a round gains over the plain loop. Each way is measured alone and printed
at once, so that torch.compile and the memory begin anew, and an early end loses only what is left.
On a GPU the times of phases are between CUDA events around calls in a row; beside them stand those
in which the CPU issued them. Weights are random: speed does not depend on them.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.distill import heading
from benchmarks.pairs import PAIRS, Pair
from benchmarks.plain_loop import PlainLoop
from pipeline.config.presets import PRESETS
from pipeline.settings import Distill
from stages.distill import methods
from stages.distill.trainer import DistillTrainer
from stages.training import device as devices

_MATRIX = {"cuda": 8192, "cpu": 1024}
_WARM_ROUNDS = 3
_KERNELS = 12
_OPERATORS, _PROFILED_CALLS = 6, 10
_COMPARED = ("plain loop", "as it is")


def waited(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes until the device is done."""
    _wait()
    begin_s = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - begin_s


def _has_gpu() -> bool:
    return torch.cuda.is_available()


def _wait() -> None:
    if _has_gpu():
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


def timed(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the device's seconds for one call of several in a row, and the CPU's to issue it."""
    # In a row, CUDA graphs are captured anew.
    for _ in range(_WARM_ROUNDS if _has_gpu() else 1):
        call()
    _wait()
    begin_s = time.perf_counter()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if _has_gpu() else []  # type: ignore[no-untyped-call]
    for event in events[:1]:
        event.record()
    for _ in range(repeats):
        call()
    issued_s = time.perf_counter() - begin_s
    for event in events[1:]:
        event.record()
    _wait()
    device_s = events[0].elapsed_time(events[1]) / 1000 if events else issued_s
    return device_s / repeats, issued_s / repeats


@contextmanager
def alone(way: str) -> Iterator[None]:
    """Begin with nothing compiled and no memory held; a failure within is printed as a row.

    Dynamo's limit of recompilations counts all networks of a class: later ones would run eager.
    """
    gc.collect()
    torch._dynamo.reset()
    if _has_gpu():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        yield
    except Exception as error:  # noqa: BLE001  (the other ways are still to be measured)
        fault = f"{type(error).__name__}: {error}".splitlines()[0]
        print(f"| {way} | failed: {fault} |", flush=True)


def calls_of(trainer: DistillTrainer) -> dict[str, Callable[[], object]]:
    """Return calls of the phases of a round."""
    batches = [trainer.sample_batch()]

    @torch.no_grad()
    def teacher() -> None:
        trainer.frozen_teacher(batches[0].x_BCHW)

    return {
        "generator step": trainer.generator_step,
        "draw": trainer.sample_batch,
        "teacher, within the draw": teacher,
        "student step": lambda: trainer.student_step(0, batches),
    }


def operations(pair: Pair, options: Distill) -> dict[str, int]:
    """Return the floating-point operations of each phase, counted where nothing is compiled."""
    trainer = pair.trainer(msgspec.structs.replace(options, compile="off"))
    return {name: counted(call) for name, call in calls_of(trainer).items()}


def times_a_round(options: Distill) -> dict[str, int]:
    """Return how often each phase comes in a round."""
    return {
        "generator step": options.generator_steps,
        "draw": -(-options.student_steps // methods.recipe(options, 1).draw_every),
        "teacher, within the draw": 0,
        "student step": options.student_steps,
    }


def phases(
    pair: Pair, options: Distill, repeats: int, *, flops: dict[str, int], peak: float
) -> None:
    """Print the phases of a round for each way to compile, and where the GPU's time goes."""
    modes = ("off", "on", "cuda-graphs")
    times = times_a_round(options)
    for mode in modes if _has_gpu() else (options.compile,):
        print(f"Compiled: {mode}.\n")
        print("| phase | times a round | ms | ms to issue | of the round | TFLOP/s | of the peak |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        with alone(mode):
            trainer = pair.trainer(msgspec.structs.replace(options, compile=mode))
            warm_s = waited(lambda trainer=trainer: warm(trainer))  # type: ignore[misc]
            measured = {name: timed(call, repeats) for name, call in calls_of(trainer).items()}
            round_s = sum(times[name] * device_s for name, (device_s, _) in measured.items())
            for name, (device_s, issued_s) in measured.items():
                rate = flops[name] / device_s
                print(
                    f"| {name} | {times[name]} | {1000 * device_s:.2f} | {1000 * issued_s:.2f} "
                    f"| {times[name] * device_s / round_s:.0%} "
                    f"| {rate / 1e12:.2f} | {rate / peak:.0%} |"
                )
            print(f"\nThe first {_WARM_ROUNDS} rounds took {warm_s:.1f} s.\n", flush=True)
            if _has_gpu():
                kernels(trainer)
            else:
                for name, call in calls_of(trainer).items():
                    cpu_operators(name, call)
            del trainer


def warm(trainer: DistillTrainer | PlainLoop) -> None:
    """Take rounds in which all is compiled, captured and allocated."""
    for _ in range(_WARM_ROUNDS):
        trainer.train_round()


def kernels(trainer: DistillTrainer) -> None:
    """Print the kernels that take most of a round's time, and how much of it the GPU works."""
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
        round_s = waited(trainer.train_round)
    rows = [row for row in profiler.key_averages() if row.self_device_time_total > 0]
    rows = [row for row in rows if row.device_type.name == "CUDA"]
    rows.sort(key=lambda row: -row.self_device_time_total)
    busy_s = sum(row.self_device_time_total for row in rows) / 1e6
    launches = sum(row.count for row in rows)
    print(
        f"A profiled round: {1000 * round_s:.1f} ms, kernels in {1000 * busy_s:.1f} ms of it, "
        f"{launches} of them.\n\n| kernel | times | ms | of the kernels |"
    )
    print("| --- | ---: | ---: | ---: |")
    for row in rows[:_KERNELS]:
        kernel_s = row.self_device_time_total / 1e6
        name = row.key.replace("|", "/")[:90]
        print(f"| {name} | {row.count} | {1000 * kernel_s:.2f} | {kernel_s / busy_s:.0%} |")
    print(flush=True)


def cpu_operators(phase: str, call: Callable[[], object]) -> None:
    """Print the operators that take most of a phase's time on the CPU."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(_PROFILED_CALLS):
            call()
    rows = [row for row in profiler.key_averages() if row.self_cpu_time_total > 0]
    rows.sort(key=lambda row: -row.self_cpu_time_total)
    total_s = sum(row.self_cpu_time_total for row in rows) / 1e6
    print(f"| operator of the {phase} | times | ms | of it |\n| --- | ---: | ---: | ---: |")
    for row in rows[:_OPERATORS]:
        operator_s = row.self_cpu_time_total / 1e6
        times, ms = row.count / _PROFILED_CALLS, 1000 * operator_s / _PROFILED_CALLS
        print(f"| {row.key} | {times:g} | {ms:.2f} | {operator_s / total_s:.0%} |")
    print(flush=True)


def variants(options: Distill) -> dict[str, Distill]:
    """Return ways to run the same training rounds, by what they change; most wanted first."""
    change = msgspec.structs.replace
    wide = 2 * options.batch_size
    ways = {"as it is": options}
    if _has_gpu():
        ways |= {
            "CUDA graphs": change(options, compile="cuda-graphs"),
            "not compiled": change(options, compile="off"),
        }
    ways |= {
        "twice the batch": change(options, batch_size=wide),
        "one draw a round": change(options, draw_every=options.student_steps),
        "fp32": change(options, precision="fp32"),
    }
    if _has_gpu():
        ways["CUDA graphs, one draw, twice the batch"] = change(
            options, compile="cuda-graphs", batch_size=wide, draw_every=options.student_steps
        )
    return ways


def compare(pair: Pair, options: Distill, repeats: int, *, flops: float, peak: float) -> None:
    """Time rounds of the plain loop and of every way, each alone."""
    print("| way | samples/s | over the plain loop | over the first | of the peak | peak MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    ways = variants(options)
    rates: dict[str, float] = {}
    for name in ("plain loop", *ways):
        with alone(name):
            changed = ways.get(name, options)
            loop = pair.trainer(changed) if name in ways else pair.plain(options)
            warm(loop)
            seconds = [waited(loop.train_round) for _ in range(repeats)]
            del loop
            samples = 2 * changed.batch_size * options.student_steps
            rate = rates[name] = samples / statistics.median(seconds)
            # Operations a sample are the same where draws are; a share of others would mislead.
            per_sample = flops / (2 * options.batch_size * options.student_steps)
            is_same = changed.draw_every == options.draw_every
            share = f"{rate * per_sample / peak:.0%}" if is_same else ""
            gains = [f"{rate / rates[k]:.2f}" if k in rates else "" for k in _COMPARED]
            memory = f"{torch.cuda.max_memory_allocated() >> 20}" if _has_gpu() else ""
            print(
                f"| {name} | {rate:,.0f} | {gains[0]} | {gains[1]} | {share} | {memory} |",
                flush=True,
            )
    print(f"\nn = {repeats} rounds of each, one way after the other, medians.\n", flush=True)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", default="resnet34")
    parser.add_argument("--student", default="resnet18")
    parser.add_argument("--pair", choices=tuple(PAIRS), help="in place of teacher and student")
    parser.add_argument("--steps", type=int, help="student steps; absent: the preset's")
    parser.add_argument("--batch", type=int, help="absent: the cifar10 preset's")
    parser.add_argument("--width", type=int, help="of the generator; absent: the preset's")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--only", choices=("phases", "ways"), help="absent: ways, then phases")
    arguments = parser.parse_args()
    options = PRESETS["cifar10"].distill
    changes = {"batch_size": arguments.batch, "generator_width": arguments.width}
    changes["student_steps"] = arguments.steps
    options = msgspec.structs.replace(options, **{k: v for k, v in changes.items() if v})
    pair = Pair(arguments.teacher, arguments.student)
    if arguments.pair:
        pair = PAIRS[arguments.pair]
    heading(f"A round of {pair.teacher} to {pair.student}, {pair.image_size_px} pixels")
    peak = peak_flops()
    print(
        f"Batch {options.batch_size} from each generator, {options.student_steps} student steps; "
        f"bf16 peak by a matrix product of {peak / 1e12:.1f} TFLOP/s.\n"
    )
    flops = operations(pair, options)
    times = times_a_round(options)
    total = float(sum(times[name] * count for name, count in flops.items()))
    if arguments.only != "phases":
        compare(pair, options, arguments.repeats, flops=total, peak=peak)
    if arguments.only != "ways":
        phases(pair, options, arguments.repeats, flops=flops, peak=peak)


if __name__ == "__main__":
    main()
