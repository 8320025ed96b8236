"""Rules that tie several settings together, checked once every field is right by itself."""

import os.path
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.cache import urls
from pipeline.config import gate_rules
from pipeline.config.gate_rules import Fault
from pipeline.image_size import MOST_CHANNELS, setting_text, sides_px
from pipeline.paths import with_variables
from pipeline.preprocessing import LARGEST_MEAN, LARGEST_STD
from pipeline.settings import Cache, Distill, Settings, Track
from pipeline.weight_names import FORMS, hub_of

_COMPILING_DEVICES = ("cuda-tensorrt", "cuda-tensorrt-rtx")
_TRACKED_NAME = re.compile(r"[A-Za-z\d][A-Za-z\d ._-]{0,99}")


def broken_rules(settings: Settings) -> Iterator[Fault]:
    """Yield every rule that `settings` breaks."""
    yield from _paths(settings)
    yield from _downloads(settings)
    yield from _cache(settings.cache)
    yield from _distill(settings.distill)
    yield from _images(settings)
    yield from _unlabelled(settings)
    yield from _build(settings)
    yield from _track(settings.track)
    yield from gate_rules.broken_rules(settings)


def _downloads(settings: Settings) -> Iterator[Fault]:
    for name, table in (("teacher", settings.teacher), ("student", settings.student)):
        if table.download and hub_of(table.weights) is None:
            wrong = f"is for weights by name, and {name}.weights names none ({table.weights})"
            yield Fault((name, "download"), wrong, FORMS)


def _cache(cache: Cache) -> Iterator[Fault]:
    """Yield what is wrong with the place of the cache that machines share."""
    if cache.remote is None:
        if cache.push:
            wrong = "is for a shared cache, and cache.remote names none (true)"
            yield Fault(("cache", "push"), wrong, "name a URL or a folder in cache.remote")
        return
    url = with_variables(cache.remote)
    if not urls.is_url(url):
        return
    if fault := urls.fault_of(url):
        yield Fault(("cache", "remote"), *fault)
    elif cache.push and (scheme := url.partition("://")[0].lower()) in urls.READ_ONLY:
        wrong = f"is for a place that can be written, and {scheme} is for pulling alone (true)"
        yield Fault(("cache", "push"), wrong, "remove it, or name another place in cache.remote")


def _paths(settings: Settings) -> Iterator[Fault]:
    for table, name in (
        ("data", "root"),
        ("teacher", "arch"),
        ("teacher", "weights"),
        ("student", "arch"),
        ("student", "weights"),
        ("distill", "images"),
        ("track", "folder"),
        ("cache", "remote"),
    ):
        path = getattr(getattr(settings, table), name)
        if path is None:
            continue
        if not path.strip():
            yield Fault((table, name), f"is empty ({path!r})", "name it, or leave the setting out")
        if not path.isprintable():
            wrong = f"a backslash in double quotes made another character of it ({path!r})"
            yield Fault((table, name), wrong, "write it with slashes, or in 'single quotes'")


def _distill(distill: Distill) -> Iterator[Fault]:
    if distill.lambda0 == 0 and distill.lambda1 == 0:
        wrong = "lambda0 and lambda1 are both 0, so the student learns nothing (0)"
        yield Fault(("distill", "lambda1"), wrong, "set at least one of them above 0")
    if distill.method in ("abm", "dfad", "dfq") and distill.lambda0 == 0:
        name = distill.method
        wrong = f'method "{name}" has no EMA generator, so lambda0 is all it learns from (0)'
        yield Fault(("distill", "lambda0"), wrong, "set lambda0 above 0")
    if distill.delta is not None and distill.generator == "uncond":
        wrong = f'bounds class embeddings, and generator "uncond" has none ({distill.delta:g})'
        remedy = 'set distill.generator = "sum" or "cat", or remove delta'
        yield Fault(("distill", "delta"), wrong, remedy)
    parts = distill.accumulation_steps * distill.processes
    if distill.batch_size % parts or distill.batch_size < 2 * parts:
        yield Fault(
            ("distill", "batch_size"),
            f"does not divide into {parts} parts of at least 2 images, one for each "
            f"process and accumulation step ({distill.batch_size})",
            f"use a multiple of {parts}",
        )
    if distill.compile == "cuda-graphs" and distill.accumulation_steps > 1:
        wrong = (
            "the replay of a CUDA graph writes over the gradients that accumulation_steps add up "
            f"({distill.accumulation_steps})"
        )
        yield Fault(("distill", "compile"), wrong, 'set compile = "on", or accumulation_steps = 1')
    if distill.compile == "cuda-graphs" and distill.processes > 1:
        wrong = f"messages between processes have no place in a CUDA graph ({distill.processes})"
        yield Fault(("distill", "compile"), wrong, 'set compile = "on", or processes = 1')
    if distill.method in ("dfkd-mem", "madpipe") and distill.processes > 1:
        wrong = f'method "{distill.method}" keeps its memory in one process ({distill.processes})'
        remedy = 'set distill.processes = 1, or another distill.method such as "mad"'
        yield Fault(("distill", "processes"), wrong, remedy)
    yield from _replay(distill)
    yield from _small_rounds(distill)


def _small_rounds(distill: Distill) -> Iterator[Fault]:
    """Yield the rule of rounds in which images are as small as they are made."""
    if distill.small_rounds and distill.enlarge == 1:
        wrong = f"images are made as large as the teacher takes them ({distill.small_rounds:g})"
        yield Fault(("distill", "small_rounds"), wrong, "set distill.enlarge = 2, 4 or so, too")


def _replay(distill: Distill) -> Iterator[Fault]:
    """Yield the rules of the memory from which madpipe's student learns."""
    size = distill.student_batch_size
    if distill.method != "madpipe":
        if size is not None:
            wrong = f'method "{distill.method}" learns from all images that it draws ({size})'
            yield Fault(("distill", "student_batch_size"), wrong, "remove it, or set batch_size")
        return
    for name in ("lambda0", "lambda1"):
        weight = getattr(distill, name)
        if weight not in (0, 1):
            wrong = f'method "madpipe" takes its images from one memory, unweighted ({weight:g})'
            yield Fault(("distill", name), wrong, 'set 0 or 1, or distill.method = "mad"')
    if not distill.joint_batch:
        wrong = 'method "madpipe" takes both kinds of image from one memory (joint_batch = false)'
        remedy = 'remove it, or set distill.method = "mad"'
        yield Fault(("distill", "joint_batch"), wrong, remedy)
    parts = distill.accumulation_steps
    if size is not None and (size % parts or size < 2 * parts):
        wrong = f"does not divide into {parts} parts of at least 2 images ({size})"
        yield Fault(("distill", "student_batch_size"), wrong, f"use a multiple of {parts}")


def _images(settings: Settings) -> Iterator[Fault]:
    data = settings.data
    if len(data.mean) != len(data.std):
        wrong = f"mean and std differ in length ({len(data.mean)} and {len(data.std)})"
        yield Fault(("data", "std"), wrong, "give one number for each channel in both")
    for name, numbers, most in (
        ("mean", data.mean, LARGEST_MEAN),
        ("std", data.std, LARGEST_STD),
    ):
        if max(numbers, default=0) > most:
            wrong = f"is of no images in [0, 1] ({list(numbers)})"
            yield Fault(("data", name), wrong, "divide it by 255 where it is of bytes")
    if len(data.mean) > MOST_CHANNELS:
        wrong = f"has more numbers than images may have channels ({len(data.mean)})"
        yield Fault(("data", "mean"), wrong, f"name {MOST_CHANNELS} at most, one for each channel")
    size = data.image_size_px
    if data.resize_px and size and data.resize_px < min(sides_px(size)):
        cut = f"image_size_px {setting_text(size)}"
        wrong = f"is less than is cut out ({data.resize_px}; {cut})"
        yield Fault(("data", "resize_px"), wrong, "exchange them, or drop it")
    # Weights by name bring the size that they take.
    is_named = hub_of(settings.teacher.weights) is not None
    if data.source == "folder" and size is None and not is_named:
        wrong = 'source "folder" has no image size of its own (image_size_px is absent)'
        remedy = "set data.image_size_px to the height and width that the teacher takes"
        yield Fault(("data", "source"), wrong, remedy)
    if data.held_out_fraction == 1 and settings.teacher.weights is None:
        wrong = "holds all images out, so no teacher can be trained (1.0)"
        yield Fault(("data", "held_out_fraction"), wrong, "name its file in teacher.weights")
    if settings.validate.images == "bank" and settings.teacher.weights is None:
        wrong = 'without labelled images no teacher can be trained ("bank")'
        yield Fault(("validate", "images"), wrong, "name the teacher's file in teacher.weights")


def _unlabelled(settings: Settings) -> Iterator[Fault]:
    """Yield the rules of the images without labels that distill may use."""
    distill, data = settings.distill, settings.data
    if distill.images is None:
        if distill.lambda2 is not None:
            wrong = f"weighs unlabelled images, and there are none ({distill.lambda2:g})"
            yield Fault(("distill", "lambda2"), wrong, "name their folder in distill.images")
        return
    # The digits need no folder, and with the bank alone there are no labelled images.
    if data.source == "digits" or settings.validate.images == "bank":
        return
    ours, theirs = (os.path.normpath(path) for path in (distill.images, data.root))
    if Path(ours).is_absolute() == Path(theirs).is_absolute() and _overlap(ours, theirs):
        wrong = f"is data.root, inside it or around it ({distill.images}; data.root {data.root})"
        remedy = "name a folder with no image of the training set or of those held out"
        yield Fault(("distill", "images"), wrong, remedy)


def _overlap(first: str, second: str) -> bool:
    """Return whether one of two normal paths lies in the other; both absolute or both relative."""
    common = os.path.commonpath([first, second])
    # Of two relative paths only "." has all in it that does not lead out.
    holds_all = "." in (first, second) and ".." not in (first[:2], second[:2])
    return common in (first, second) or holds_all


def _build(settings: Settings) -> Iterator[Fault]:
    build = settings.build
    if build.targets and build.backend != "tensorrt-rtx":
        wrong = f'only backend "tensorrt-rtx" builds for other machines ({list(build.targets)})'
        remedy = 'set build.backend = "tensorrt-rtx" or empty the list'
        yield Fault(("build", "targets"), wrong, remedy)
    if build.int8 == "trained" and build.precision not in ("auto", "int8", "int4"):
        wrong = f'only int8 and int4 are trained, and precision is another ("{build.precision}")'
        yield Fault(("build", "int8"), wrong, 'remove it, or set build.precision = "int8"')
    if build.ep_context and build.device not in _COMPILING_DEVICES:
        wrong = f'only execution providers that compile have one (device "{build.device}")'
        remedy = f"remove it, or set build.device to one of {', '.join(_COMPILING_DEVICES)}"
        yield Fault(("build", "ep_context"), wrong, remedy)
    trt = build.tensorrt
    batches = [trt.min_batch, trt.opt_batch, trt.max_batch]
    if batches != sorted(batches):
        wrong = f"min_batch, opt_batch and max_batch do not rise ({', '.join(map(str, batches))})"
        remedy = "set opt_batch between the other two"
        yield Fault(("build", "tensorrt", "opt_batch"), wrong, remedy)
    low, high = trt.min_batch, trt.max_batch
    outside = [size for size in settings.validate.batch_sizes if not low <= size <= high]
    is_ranged = build.backend in {"tensorrt", "tensorrt-rtx"} or build.device in _COMPILING_DEVICES
    if is_ranged and outside:
        wrong = f"the engine takes batches of {low} to {high} only ({outside[0]})"
        remedy = "set build.tensorrt.max_batch and min_batch to hold them"
        yield Fault(("validate", "batch_sizes"), wrong, remedy)


def _track(track: Track) -> Iterator[Fault]:
    """Yield the rules of names that trackers make folders, tables and addresses of."""
    if doubled := next((name for name in track.to if track.to.count(name) > 1), None):
        yield Fault(("track", "to"), f"names a tracker twice ({doubled})", "name it once")
    for key in ("project", "run"):
        name = getattr(track, key)
        if name is not None and not _TRACKED_NAME.fullmatch(name):
            wrong = f"is no name that every tracker takes ({name!r})"
            remedy = "begin with a letter or digit, go on with these, spaces or . _ -, 100 at most"
            yield Fault(("track", key), wrong, remedy)
