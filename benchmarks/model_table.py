"""Networks of torchvision and timm with random weights: export, build, and engines against torch.

    uv run --with timm python -m benchmarks.model_table ROWS.jsonl [--out TABLE.md] [--only TEXT]
        [--backend onnxruntime --backend openvino --backend tensorrt-rtx] [--limit-s 300]

Networks of more than 60 million parameters are left out; MOST_PARAMETERS=1e9 takes them in.

A network is taken through in a process of its own with a time limit: built for 10 classes,
exported as the export stage does it, built in fp32 by each backend, and the engine's logits
compared with torch's by the means of the export stage. TensorRT-RTX builds for sm89, which is
elsewhere, so nothing is compared. Rows that are in ROWS.jsonl already are not measured again.
timm is no dependency of madpipe's.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from pipeline import machine
from pipeline.errors import MadpipeError
from pipeline.settings import Build, Export
from stages.build import stage as build_stage
from stages.engines.base import BACKENDS, MANIFEST_FILE
from stages.engines.open_engine import open_engine
from stages.export.compare import Reference, compare
from stages.export.stage import export
from stages.networks import factory
from stages.networks.card import Card

IMAGES = 8
SIZES = (64, 224, 240, 256, 299)
"""The first that a network takes."""
MOST_PARAMETERS = float(os.environ.get("MOST_PARAMETERS", "60e6"))
TARGETED = "tensorrt-rtx"
TIMM = """
    resnet18d resnetv2_50x1_bit resnext50_32x4d seresnet18 skresnet18 ecaresnet26t
    res2net50_26w_4s resnest14d convnext_atto convnextv2_atto efficientnet_lite0
    tf_efficientnetv2_b0 mixnet_s mobilenetv2_050 mobilenetv3_small_050
    mobilenetv4_conv_small_050 mobileone_s0 repvgg_a0 repvit_m0_9 repghostnet_050 fastvit_t8
    ghostnet_050 ghostnetv2_100 lcnet_050 tinynet_e mnasnet_small regnetx_002 regnety_002
    rexnet_100 hrnet_w18_small dla46_c densenet121 vgg11_bn cspresnet50 darknet17 dpn48b
    edgenext_xx_small efficientformer_l1 efficientformerv2_s0 efficientvit_b0 efficientvit_m0
    hgnetv2_b0 starnet_s1 fasternet_t0 shvit_s1 mambaout_femto inception_v3 inception_next_atto
    xception41 selecsls42 nf_regnet_b0 botnet26t_256 halonet26t lambda_resnet26t mobilevit_xxs
    mobilevitv2_050 poolformer_s12 pvt_v2_b0 convmixer_768_32 levit_128s deit_tiny_patch16_224
    deit_tiny_distilled_patch16_224 vit_tiny_patch16_224 beit_base_patch16_224 cait_xxs24_224
    coat_tiny crossvit_tiny_240 gmlp_s16_224 mixer_s32_224 resmlp_12_224 pit_ti_224
    swin_tiny_patch4_window7_224 swinv2_cr_tiny_ns_224 tnt_s_patch16_224 twins_svt_small
    visformer_tiny xcit_nano_12_p16_224 nest_tiny mvitv2_tiny maxvit_tiny_tf_224
    coatnet_nano_rw_224 davit_tiny focalnet_tiny_srf gcvit_xxtiny hiera_tiny_224
    eva02_tiny_patch14_224 volo_d1_224 swiftformer_xs sequencer2d_s
"""
"""The smallest of a family, or nearly."""


def main() -> None:
    """Measure what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--backend", action="append")
    parser.add_argument("--limit-s", type=float, default=300.0)
    parser.add_argument("--network", help="measure this one here, and print its row")
    options = parser.parse_args()
    backends = options.backend or ["onnxruntime", "openvino"]
    if options.network:
        print(json.dumps(row(options.network, backends)))
        return
    done = {line["network"] for line in read(options.rows)}
    for name in names():
        if name not in done and options.only in name:
            line = measured(name, backends, options.limit_s)
            with options.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(name, line.get("error", "ok"), file=sys.stderr, flush=True)
    if options.out:
        options.out.write_text(table(read(options.rows), backends), encoding="utf-8")


def names() -> list[str]:
    """Return the networks, those of the two libraries in turns."""
    vision = [f"torchvision:{name}" for name in torchvision.models.list_models(torchvision.models)]
    others = [f"timm:{name}" for name in TIMM.split()]
    pairs = [name for pair in zip(others, vision, strict=False) for name in pair]
    return list(dict.fromkeys([*pairs, *others, *vision]))


def read(rows: Path) -> list[dict[str, Any]]:
    """Return the rows of a file, none where there is no file."""
    if not rows.exists():
        return []
    return [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]


def measured(name: str, backends: list[str], limit_s: float) -> dict[str, Any]:
    """Return the row that a process of its own measures, or why there is none."""
    command = [sys.executable, "-m", "benchmarks.model_table", "-", "--network", name]
    command += [part for backend in backends for part in ("--backend", backend)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=limit_s, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return {"network": name, "error": f"took longer than {limit_s:g} s"}
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        return {"network": name, "error": f"exit {result.returncode}: {last}"}
    line: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return line


def row(name: str, backends: list[str]) -> dict[str, Any]:
    """Return what came of a network, `error` where it was refused."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    error: MadpipeError | None = None
    for size in SIZES:
        card = Card(
            arch=name,
            channels=3,
            image_size_px=size,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            classes=tuple(str(number) for number in range(10)),
        )
        try:
            network = factory.build(card, code=None, place=name).eval()
            break
        except MadpipeError as refusal:
            error = error or refusal
    else:
        return {"network": name, "error": str(error)}
    params = factory.parameter_count(network)
    line: dict[str, Any] = {"network": name, "px": size, "params": params}
    if params > MOST_PARAMETERS:
        return line | {"error": f"left out: more than {MOST_PARAMETERS:.0g} parameters"}
    images_NCHW = np.random.default_rng(0).random((IMAGES, 3, size, size), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        try:
            return line | _through(network, card, images_NCHW, Path(folder), backends)
        except MadpipeError as refusal:
            return line | {"error": str(refusal)}


def _through(
    network: Any, card: Card, images_NCHW: Any, folder: Path, backends: list[str]
) -> dict[str, Any]:
    """Export, build and compare; return the figures."""
    onnx = folder / "m.onnx"
    begin_s = time.perf_counter()
    opset = min(BACKENDS[name].opset for name in backends)
    comparison = export(
        network,
        card,
        onnx,
        options=Export(),
        opset=opset,
        images_NCHW=images_NCHW,
        student_sha256="0" * 64,
    )
    reference = Reference(network, images_NCHW)
    line: dict[str, Any] = {
        "export_s": round(time.perf_counter() - begin_s, 1),
        "relative": comparison.relative_difference,
        "spread": reference.spread,
        "notes": list(comparison.notes),
        "engines": {},
    }
    for backend in backends:
        place = folder / backend
        place.mkdir()
        targets = ("sm89",) if backend == TARGETED else ()
        device = "cuda" if targets else "cpu"
        options = Build(backend=backend, device=device, precision="fp32", targets=targets)  # type: ignore[arg-type]
        engine = place / BACKENDS[backend].engine_file
        try:
            manifest, _ = build_stage.build(onnx, engine, place / MANIFEST_FILE, options)
            if targets:
                line["engines"][backend] = "built"
                continue
            session = open_engine(manifest, engine, threads=1)
            line["engines"][backend] = compare(
                reference, session.infer, Export()
            ).relative_difference
        except MadpipeError as refusal:
            line["engines"][backend] = str(refusal)
    line["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return line


def table(rows: list[dict[str, Any]], backends: list[str]) -> str:
    """Return the Markdown of all rows with what they were measured on."""
    facts = machine.environment(Path(__file__).parent.parent)
    wanted = ("cpu", "cores", "python", "torch", "torchvision", "onnxruntime-gpu", "git")
    facts_here = [f"{name} {facts[name]}" for name in wanted if name in facts]
    others = ("timm", "onnxscript", "openvino", "tensorrt-rtx")
    facts_here += [f"{name} {version}" for name in others if (version := machine.version(name))]
    passed = [line for line in rows if is_through(line)]
    left_out = sum(1 for line in rows if str(line.get("error")).startswith("left out"))
    total = len(rows) - left_out
    lines = [
        "# Networks of torchvision and timm, taken through",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}; {', '.join(facts_here)}.",
        "",
        f"Random weights, 10 classes, fp32, {IMAGES} images of noise, batches of 1 to 64, one run:",
        f"`python -m benchmarks.model_table`. **{len(passed)} of {total}** went all the way;",
        f"{left_out} more were left out for their size. Figures are the largest difference of a",
        "logit to torch, as a share of the spread of the logits over the images.",
        "",
        f"| network | px | M parameters | export s | ONNX | {' | '.join(backends)} | what else |",
        "| --- | --- | --- | --- | --- | " + "--- | " * len(backends) + "--- |",
    ]
    for line in sorted(rows, key=lambda line: (is_through(line), line["network"])):
        engines = line.get("engines", {})
        cells = [
            line["network"],
            line.get("px", ""),
            f"{line['params'] / 1e6:.1f}" if "params" in line else "",
            line.get("export_s", ""),
            _share(line.get("relative")),
            *(_share(engines.get(backend)) for backend in backends),
            "; ".join([*([line["error"]] if "error" in line else []), *line.get("notes", [])]),
        ]
        lines.append("| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def is_through(line: dict[str, Any]) -> bool:
    """Return whether a network was exported and all its engines agree, or were built elsewhere."""
    engines = line.get("engines", {}).values()
    return "error" not in line and all(not isinstance(e, str) or e == "built" for e in engines)


def _share(value: object) -> str:
    return f"{value:.1e}" if isinstance(value, float) else str(value or "")


if __name__ == "__main__":
    main()
