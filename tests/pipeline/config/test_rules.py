"""A rule between settings that does not hold blames its key."""

import pytest

from pipeline.config.rules import broken_rules
from pipeline.settings import (
    Build,
    Cache,
    CompareGate,
    Data,
    Distill,
    Gate,
    Settings,
    Teacher,
    TensorRT,
    Validate,
)

BROKEN = [
    (Settings(cache=Cache(push=True)), [("cache", "push")]),
    (Settings(cache=Cache(remote="s4://bucket")), [("cache", "remote")]),
    (Settings(cache=Cache(remote="https://host/a", push=True)), [("cache", "push")]),
    (Settings(cache=Cache(remote=" ")), [("cache", "remote")]),
    (Settings(distill=Distill(lambda0=0, lambda1=0)), [("distill", "lambda1")]),
    (Settings(distill=Distill(method="abm", lambda0=0)), [("distill", "lambda0")]),
    (
        Settings(distill=Distill(method="abm", lambda0=0, lambda1=0)),
        [("distill", "lambda1"), ("distill", "lambda0")],
    ),
    (Settings(distill=Distill(method="dfq", lambda0=0)), [("distill", "lambda0")]),
    (Settings(distill=Distill(delta=1.0)), [("distill", "delta")]),
    (
        Settings(distill=Distill(method="mad", batch_size=9, processes=2)),
        [("distill", "batch_size")],
    ),
    (
        Settings(distill=Distill(method="mad", batch_size=4, processes=2, accumulation_steps=2)),
        [("distill", "batch_size")],
    ),
    (
        Settings(distill=Distill(compile="cuda-graphs", accumulation_steps=2)),
        [("distill", "compile")],
    ),
    (
        Settings(distill=Distill(method="mad", compile="cuda-graphs", processes=2)),
        [("distill", "compile")],
    ),
    (Settings(distill=Distill(method="madpipe", processes=2)), [("distill", "processes")]),
    (Settings(distill=Distill(lambda0=0.5)), [("distill", "lambda0")]),
    (Settings(distill=Distill(joint_batch=False)), [("distill", "joint_batch")]),
    (
        Settings(distill=Distill(student_batch_size=7, accumulation_steps=4)),
        [("distill", "student_batch_size")],
    ),
    (
        Settings(distill=Distill(method="mad", student_batch_size=64)),
        [("distill", "student_batch_size")],
    ),
    (Settings(distill=Distill(method="dfkd-mem", processes=2)), [("distill", "processes")]),
    (Settings(distill=Distill(lambda2=0.5)), [("distill", "lambda2")]),
    (Settings(distill=Distill(small_rounds=0.5)), [("distill", "small_rounds")]),
    (Settings(distill=Distill(images=" ")), [("distill", "images")]),
    *(
        (
            Settings(
                data=Data(source="cifar10", root=root), distill=Distill(images=images, lambda2=0)
            ),
            [("distill", "images")],
        )
        for root, images in (
            ("data", "data"),
            ("data", "./data/unlabelled/"),
            ("all/data", "all"),
            ("data", "."),
            ("/all/data", "/all/data/../data/x"),
        )
    ),
    (Settings(data=Data(mean=(0.5,))), [("data", "std")]),
    (Settings(data=Data(source="folder")), [("data", "source")]),
    (Settings(data=Data(mean=(123.7,), std=(0.5,))), [("data", "mean")]),
    (Settings(data=Data(mean=(0.0,), std=(255.0,))), [("data", "std")]),
    (Settings(data=Data(mean=(0.5,) * 17, std=(0.5,) * 17)), [("data", "mean")]),
    (Settings(data=Data(image_size_px=32, resize_px=28)), [("data", "resize_px")]),
    (Settings(data=Data(image_size_px=(32, 40), resize_px=31)), [("data", "resize_px")]),
    (Settings(build=Build(targets=("sm89",))), [("build", "targets")]),
    (Settings(build=Build(int8="trained", precision="fp32")), [("build", "int8")]),
    (
        Settings(build=Build(tensorrt=TensorRT(opt_batch=300))),
        [("build", "tensorrt", "opt_batch")],
    ),
    (
        Settings(build=Build(backend="tensorrt"), validate=Validate(batch_sizes=(1, 512))),
        [("validate", "batch_sizes")],
    ),
    (Settings(gates={"nope": Gate(max=1)}), [("gates", "nope")]),
    (Settings(gates={"speedup": Gate()}), [("gates", "speedup")]),
    (Settings(gates={"speedup": Gate(min=2, max=1)}), [("gates", "speedup", "min")]),
    (Settings(gates={"speedup": Gate(margin=1)}), [("gates", "speedup", "margin")]),
    (
        Settings(gates={"engine_top1_drop": Gate(margin=0.1, max=0.1)}),
        [("gates", "engine_top1_drop", "margin")],
    ),
    (Settings(gates={"engine_top1_drop": Gate(max=0)}), [("gates", "engine_top1_drop", "max")]),
    (
        Settings(compare={"engine_top1_drop": CompareGate(margin=0)}),
        [("compare", "engine_top1_drop", "margin")],
    ),
    (Settings(compare={"speedup": CompareGate(min=1)}), [("compare", "speedup", "min")]),
    (
        Settings(compare={"latency_ratio": CompareGate(max=1.1, worse_relative=0.1)}),
        [("compare", "latency_ratio", "worse_relative")],
    ),
    (Settings(compare={"nope": CompareGate(max=1)}), [("compare", "nope")]),
    (Settings(compare={"speedup": CompareGate()}), [("compare", "speedup")]),
    (
        Settings(compare={"student_top1": CompareGate(worse_absolute=0)}),
        [("compare", "student_top1", "worse_absolute")],
    ),
    (
        Settings(compare={"student_top1": CompareGate(worse_absolute=2)}),
        [("compare", "student_top1", "worse_absolute")],
    ),
    (
        Settings(compare={"student_top1": CompareGate(worse_relative=5)}),
        [("compare", "student_top1", "worse_relative")],
    ),
    (
        Settings(compare={"engine_bytes": CompareGate(worse_relative=-1, direction="no-change")}),
        [("compare", "engine_bytes", "worse_relative")],
    ),
    (
        Settings(compare={"speedup": CompareGate(worse_relative=0.1, confidence=0.999)}),
        [("compare", "speedup", "confidence")],
    ),
    (
        Settings(gates={"engine_p50_ms": Gate(max=1, confidence=0.999)}),
        [("gates", "engine_p50_ms", "confidence")],
    ),
    (Settings(validate=Validate(images="bank")), [("validate", "images")]),
    (Settings(data=Data(held_out_fraction=1.0)), [("data", "held_out_fraction")]),
]

KEPT = [
    Settings(build=Build(int8="trained")),
    Settings(build=Build(int8="trained", precision="int8")),
    Settings(build=Build(int8="trained", precision="int4")),
    Settings(),
    Settings(validate=Validate(batch_sizes=(1, 512))),
    Settings(
        build=Build(backend="tensorrt", tensorrt=TensorRT(max_batch=512)),
        validate=Validate(batch_sizes=(1, 512)),
    ),
    Settings(distill=Distill(lambda0=0)),
    Settings(distill=Distill(generator="cat", delta=1.0)),
    Settings(distill=Distill(method="mad", batch_size=8, processes=2, accumulation_steps=2)),
    Settings(distill=Distill(student_batch_size=64, accumulation_steps=4)),
    Settings(distill=Distill(lambda1=0)),
    Settings(distill=Distill(small_rounds=0.5, enlarge=2)),
    Settings(distill=Distill(method="abm", lambda1=0)),
    Settings(data=Data(source="folder", image_size_px=32)),
    Settings(data=Data(source="folder", image_size_px=(32, 40), resize_px=32)),
    Settings(data=Data(mean=(0.5,), std=(0.5,))),
    Settings(build=Build(backend="tensorrt-rtx", targets=("sm89",))),
    Settings(gates={}),
    Settings(gates={"engine_top1_drop": Gate(max=-0.001, confidence=0.999)}),
    Settings(validate=Validate(images="bank"), teacher=Teacher(weights="t.pth")),
    Settings(gates={"speedup": Gate(min=2, max=2)}),
    Settings(compare={"engine_p50_ms": CompareGate(worse_absolute=5, worse_relative=2)}),
    Settings(compare={"engine_bytes": CompareGate(worse_relative=0, direction="no-change")}),
    Settings(data=Data(root="."), distill=Distill(images="images")),
    Settings(data=Data(source="cifar10"), distill=Distill(images="data2", lambda2=0.3)),
    Settings(data=Data(source="cifar10", root="a/b"), distill=Distill(images="a/c")),
    Settings(data=Data(source="cifar10", root="../a"), distill=Distill(images=".")),
    Settings(data=Data(source="cifar10", root="data"), distill=Distill(images="/data")),
    Settings(
        data=Data(source="folder", root=".", image_size_px=32),
        distill=Distill(images="images"),
        validate=Validate(images="bank"),
        teacher=Teacher(weights="t.pth"),
    ),
]


@pytest.mark.parametrize(("settings", "keys"), BROKEN)
def test_broken_rule_blames_its_key(settings: Settings, keys: list[tuple[str, ...]]) -> None:
    assert [fault.key for fault in broken_rules(settings)] == keys


@pytest.mark.parametrize("settings", KEPT)
def test_settings_that_fit_break_no_rule(settings: Settings) -> None:
    assert list(broken_rules(settings)) == []


def test_a_path_of_nothing_is_refused() -> None:
    (fault,) = broken_rules(Settings(data=Data(root=" ")))
    assert (fault.key, fault.wrong) == (("data", "root"), "is empty (' ')")


def test_bounds_the_wrong_way_round_are_reported_with_both() -> None:
    (fault,) = broken_rules(Settings(gates={"speedup": Gate(min=2, max=1.5)}))
    assert fault.wrong == "min is above max (2 > 1.5), so nothing passes"
    assert fault.remedy == "exchange them"


def test_a_margin_of_zero_is_refused_with_what_to_do() -> None:
    (fault,) = broken_rules(Settings(gates={"engine_top1_drop": Gate(max=0)}))
    assert fault.wrong == "no sample can show that nothing at all is lost (0)"
    assert fault.remedy.startswith("set the loss that you accept, such as 0.005")


@pytest.mark.parametrize(
    ("name", "gate"),
    [
        ("engine_top1", Gate(min=98)),
        ("student_top1_drop", Gate(max=90)),
        ("engine_top5_drop", Gate(margin=1.5)),
        ("student_agreement", Gate(min=95)),
    ],
)
def test_a_percentage_as_the_bound_of_a_share_is_refused(name: str, gate: Gate) -> None:
    (fault,) = broken_rules(Settings(gates={name: gate}))
    assert fault.wrong.startswith("is a share of images, 1 at most (")
    assert fault.remedy == "divide a percentage by 100"


def test_only_a_provider_that_compiles_keeps_what_it_compiled() -> None:
    for device, count in (("cuda", 1), ("cuda-tensorrt", 0)):
        build = Build(device=device, ep_context=True)  # type: ignore[arg-type]
        faults = [f for f in broken_rules(Settings(build=build)) if f.key[-1] == "ep_context"]
        assert len(faults) == count


@pytest.mark.parametrize("name", ["engine_first_ms", "engine_bytes", "speedup", "engine_top1"])
def test_a_bound_below_0_of_what_is_never_so_is_refused(name: str) -> None:
    for gate in (Gate(max=-1), Gate(min=-0.5)):
        (fault,) = broken_rules(Settings(gates={name: gate}))
        assert fault.wrong.startswith("is never below 0 (")
        assert fault.remedy == "set a bound of 0 or more"
