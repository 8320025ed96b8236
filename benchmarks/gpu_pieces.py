"""What `gpu.py` can be asked to do: stages of madpipe, and scripts that need a GPU, by name."""

MADPIPE_RECIPE = (
    "distill.method=madpipe",
    "distill.student_steps=20",
    "distill.batch_size=128",
    "distill.student_batch_size=64",
    "distill.student_learning_rate=0.3",
    "distill.generator_learning_rate=0.002",
    "distill.augment=shift-flip",
    "distill.colour_jitter=0.4",
)
"""The default method, with what was best for CIFAR-10 on a CPU: 2026-11-27-fixed-time.md."""
TEACHER_START = (
    "distill.batch_size=128",
    "distill.student_start=teacher",
    "distill.student_weight_decay=1e-4",
    "distill.augment=shift-flip",
    "distill.colour_jitter=0.4",
)
"""What that method has that MAD can have too."""
STAGES = {
    "teacher": ("teacher",),
    "mad": ("distill", "distill.method=mad"),
    "mad-start": ("distill", "distill.method=mad", *TEACHER_START),
    "madpipe": ("distill", *MADPIPE_RECIPE),
    "abm": ("distill", "distill.method=abm"),
    "all": ("all", "distill.method=mad"),
    "all-start": ("all", "distill.method=mad", *TEACHER_START),
    "all-madpipe": ("all", *MADPIPE_RECIPE),
}
"""Target and settings of a piece that is a stage, or that is all stages after `mad`, `mad-start`
or `madpipe`."""


def _run(settings: tuple[str, ...], *more: str) -> str:
    """Return settings of the distillation as `short_runs` takes them."""
    return "--run " + ",".join(text.removeprefix("distill.") for text in (*settings, *more))


_SHORT = " ".join(
    (
        "benchmarks.short_runs --teacher {teacher} --data {data} --out {home}",
        _run(TEACHER_START, "method=mad"),
        _run(MADPIPE_RECIPE),
        _run(MADPIPE_RECIPE, "student_batch_size=256", "student_steps=10"),
    )
)
SCRIPTS = {
    "tests": "pytest -v -p no:cacheprovider -W default -m gpu --timeout 200 --show-capture stdout "
    "--continue-on-collection-errors",
    "rounds": "benchmarks.rounds",
    "warm": f"{_SHORT} --seconds 1",
    "short": f"{_SHORT} --seconds 45",
    "engines": "benchmarks.engines latency --device cuda --batch 1 --batch 32 --batch 256",
}
"""Module and arguments of a piece that is a script. `warm` plays `short` with random weights, so
that what torch compiles for it is kept on disk while the teacher is still in training."""
TINY = (
    "teacher.arch=resnet8",
    "teacher.epochs=10",
    "teacher.learning_rate=0.1",
    "teacher.batch_size=32",
    "student.arch=resnet8",
    "distill.rounds=30",
    "distill.student_steps=2",
    "distill.batch_size=32",
    "distill.generator_width=16",
    "distill.generator_learning_rate=0.01",
    "distill.bank_size=64",
    "validate.pairs=20",
)
_TINY_RUN = _run(MADPIPE_RECIPE, "batch_size=16", "student_steps=2", "generator_width=16")
_TINY_SHORT = f"{_SHORT.split(' --run')[0]} --student resnet8 {_TINY_RUN}"
TINY_SCRIPTS = {
    "tests": SCRIPTS["tests"],
    "rounds": "benchmarks.rounds --teacher resnet8 --student resnet8 --batch 8 --width 8 "
    "--repeats 1",
    "warm": f"{_TINY_SHORT} --seconds 1",
    "short": f"{_TINY_SHORT} --seconds 2",
    "engines": "benchmarks.engines latency --quick --batch 1",
}
