"""Which stages a change can reach: written down from what each stage does, not from declarations.

The longest name that a changed setting or package begins with counts. A stage whose key changes
although it is not named here would run without need; one that is named and whose key stays would
be a wrong hit.
"""

from collections.abc import Mapping

TEACHER, DISTILL, EXPORT, BUILD, VALIDATE = "teacher", "distill", "export", "build", "validate"
ALL = frozenset((TEACHER, DISTILL, EXPORT, BUILD, VALIDATE))
NONE = frozenset[str]()
LABELLED = frozenset((TEACHER, VALIDATE))
"""Those that read labelled images."""
ENGINES = frozenset((BUILD, VALIDATE))
"""Those that run engines."""
NETWORKS = frozenset((TEACHER, DISTILL, EXPORT, VALIDATE))
"""Those that build a network in torch."""

_Stages = Mapping[str, frozenset[str]]

_JUDGED_AND_SHOWN = {"gates": NONE, "compare": NONE, "run": NONE, "cache": NONE, "track": NONE}
_BUILT = {
    "export": frozenset({EXPORT}),
    # The teacher is measured as an engine too, of a graph of the same operators.
    "export.opset": frozenset({EXPORT, VALIDATE}),
    "build": frozenset({BUILD}),
    # Another runtime takes another graph, and measures otherwise.
    "build.backend": frozenset({EXPORT, BUILD, VALIDATE}),
    # For another machine: validate judges by the graph, and keeps it among what it reads.
    "build.targets": frozenset({BUILD, VALIDATE}),
    "validate": frozenset({VALIDATE}),
    # Candidates are measured with so many threads as well.
    "validate.threads": frozenset({BUILD, VALIDATE}),
}
_TRAINED: _Stages = {
    **_JUDGED_AND_SHOWN,
    **_BUILT,
    "seed": frozenset({TEACHER, DISTILL}),
    "data": LABELLED,
    "data.root": NONE,  # the digits lie in no folder
    "data.download": NONE,
    "teacher": frozenset({TEACHER}),
    "teacher.download": NONE,
    "student": frozenset({DISTILL}),
    "student.download": NONE,
    "distill": frozenset({DISTILL}),
    # Held back images calibrate and check, so what build and validate read is more.
    "distill.images": frozenset({DISTILL, BUILD, VALIDATE}),
    # Synthetic images are drawn again wherever they are used.
    "bank.keep": frozenset({DISTILL, EXPORT, BUILD}),
    # Agreement takes the place of accuracy, which rules allow of a teacher from a file alone.
    "validate.images": frozenset({VALIDATE}),
}
_FROM_FILE: _Stages = {
    **_TRAINED,
    # int8 may be trained, from the run's seed and with the run's generators.
    "seed": frozenset({DISTILL, BUILD}),
    **{f"teacher.{name}": NONE for name in (
        "epochs", "batch_size", "learning_rate", "schedule", "weight_decay", "augment",
        "label_smoothing", "weight_average",
    )},
    # No image is read: of [data] only how the teacher takes images counts.
    "data": NONE,
    **{f"data.{name}": frozenset({TEACHER}) for name in (
        "source", "classes", "image_size_px", "resize_px", "interpolation", "mean", "std",
    )},
    "bank.keep": frozenset({DISTILL, EXPORT, BUILD, VALIDATE}),
    # Labelled images check the teacher too.
    "validate.images": frozenset({TEACHER, VALIDATE}),
}  # fmt: skip
SETTINGS: Mapping[str, _Stages] = {"digits": _TRAINED, "bank": _FROM_FILE}
"""By project: a teacher that is trained, and one from a file without any labelled image."""

WITHOUT_NEED: Mapping[str, frozenset[str]] = {
    "data.labels": LABELLED,
    "data.held_out_fraction": LABELLED,
}
"""Settings that the digits have no use for, and that count all the same: their table is one."""

PACKAGES: Mapping[str, _Stages] = {
    "digits": {
        "torch": NETWORKS,
        "numpy": ALL,
        "scikit-learn": LABELLED,
        "pillow": frozenset({DISTILL, VALIDATE}),
        "onnx": frozenset({EXPORT, BUILD, VALIDATE}),
        "onnxscript": frozenset({EXPORT}),
        "onnx-ir": frozenset({EXPORT}),
        "onnxruntime-gpu": frozenset({EXPORT, BUILD, VALIDATE}),
        "scipy": frozenset({VALIDATE}),
        "openvino": NONE,
        "tensorrt": NONE,
        "torchvision": NONE,
        "timm": NONE,
        "safetensors": NONE,
        "msgspec": NONE,
        "rich": NONE,
        "matplotlib": NONE,
        "jinja2": NONE,
        "fsspec": NONE,
    },
    "folders": {
        "torchvision": LABELLED,
        "pillow": frozenset({TEACHER, DISTILL, VALIDATE}),
        "einops": NETWORKS,
        "scikit-learn": NONE,
        "onnxscript": frozenset({EXPORT, VALIDATE}),
        "onnx-ir": frozenset({EXPORT, VALIDATE}),
    },
    "bank": {
        "torch": ALL,
        "pillow": frozenset({VALIDATE}),
        "scikit-learn": NONE,
        "torchvision": NONE,
    },
    "program": {
        "onnx": ALL,
        "openvino": ENGINES,
        "tensorrt": ENGINES,
        "tensorrt-rtx": ENGINES,
        "torch": ALL,
    },
    "tensorrt": {"tensorrt": ENGINES, "openvino": NONE, "onnxruntime-gpu": ENGINES | {EXPORT}},
}
"""By project and distribution."""

NOT_DECIDING: Mapping[str, str] = {
    "safetensors": "reads and writes numbers of a fixed format",
    "msgspec": "reads and writes records whose form is ours",
    "sympy": "of torch, which checks sizes with it",
    "mpmath": "of sympy",
    "networkx": "of torch, for graphs of compiling",
    "jinja2": "of torch, which fills in templates when it compiles",
    "MarkupSafe": "of jinja2",
    "filelock": "of torch, for downloads",
    "fsspec": "of torch, for checkpoints elsewhere",
    "typing_extensions": "names of types",
    "triton": "of torch, which requires one version of it",
    "setuptools": "of torch, for compilers",
    "packaging": "compares versions",
    "joblib": "of scikit-learn, whose digits are a file",
    "threadpoolctl": "of scikit-learn",
    "narwhals": "of scikit-learn",
    "psutil": "says how busy the machine is",
    "tqdm": "shows progress",
    "protobuf": "reads and writes ONNX files, whose format is fixed",
    "flatbuffers": "of ONNX Runtime",
    "ml_dtypes": "types of numbers with rounding that standards fix",
    "rich": "shows the run",
    "Pygments": "of rich",
    "markdown-it-py": "of rich",
    "colorama": "of torch's and sympy's messages",
    "charset-normalizer": "of downloads",
    "cuda-bindings": "of torch, which requires one version of it",
    "cuda-pathfinder": "of cuda-bindings",
    "google-auth": "only shares the name google with protobuf",
    "googleapis-common-protos": "only shares the name google with protobuf",
    "nvidia-ml-py": "names the GPU, which is a fact of the key",
}
"""Distributions that a stage loads and whose version is in no key, and why it can change nothing
that is stored."""

_OF_PROGRAMS = "imported with what runs teachers as programs, whose stages declare it"
NOT_DECIDING_IN: Mapping[str, Mapping[str, str]] = {
    TEACHER: {
        "onnx": _OF_PROGRAMS,
        "onnxruntime-gpu": _OF_PROGRAMS,
        "pillow": "of scikit-learn, whose digits are arrays",
        "scipy": "of scikit-learn; and words a note on the order of classes",
    },
    DISTILL: {"onnx": _OF_PROGRAMS},
}
"""The same for one stage of the digits' project."""


def stages_of(name: str, table: _Stages) -> frozenset[str] | None:
    """Return what the longest entry that `name` begins with says, None where none does."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if (stages := table.get(".".join(parts[:length]))) is not None:
            return stages
    return None
