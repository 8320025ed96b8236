"""Loads a package's Triton repository, unchanged, with a real Triton Inference Server, and asks it.

    uv run python benchmarks/triton_repository.py PACKAGE --wheel FOLDER

FOLDER is the unpacked wheel of nvidia-pytriton (`pip download --no-deps nvidia-pytriton`, unzip),
which brings a tritonserver with the Python backend alone. Its ONNX Runtime backend is in no package
registry, so a backend of that name is written here: Triton's interface for backends in Python, and
ONNX Runtime behind it. Real are the server, its reading and checking of config.pbtxt, shapes,
types, batching, labels and both protocols; not real is NVIDIA's own backend library.

Needs the interpreter's libpython as a shared library. Prints what was compared.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

_PORT = 18431
_START_S = 60
_IMAGES = 3
_TYPES = {np.dtype(np.float32): "FP32", np.dtype(np.uint8): "UINT8"}
BACKEND = """
import json, os, sys
sys.path[:0] = {packages!r}
import numpy as np
import onnxruntime
import triton_python_backend_utils as pb


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        folder = os.path.join(args["model_repository"], args["model_version"])
        path = os.path.join(folder, "model.onnx")
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.input, self.output = config["input"][0]["name"], config["output"][0]["name"]

    def execute(self, requests):
        # By DLPack: the wheel's own conversion predates numpy 2.
        batches = [
            np.from_dlpack(pb.get_input_tensor_by_name(request, self.input)) for request in requests
        ]
        (logits,) = self.session.run([self.output], {{self.input: np.concatenate(batches)}})
        ends = np.cumsum([len(batch) for batch in batches])[:-1]
        return [
            pb.InferenceResponse([pb.Tensor.from_dlpack(self.output, part.copy())])
            for part in np.split(logits, ends)
        ]
"""


def start(package: Path, wheel: Path, scratch: Path) -> "subprocess.Popen[bytes]":
    """Start the server on a copy of the package's repository."""
    shutil.copytree(package / "triton", scratch / "repository")
    server, version = wheel / "pytriton" / "tritonserver", ".".join(map(str, sys.version_info[:2]))
    backends = scratch / "backends"
    shutil.copytree(server / "backends" / "python", backends / "python")
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy(stub, backends / "python")
    for program in (backends / "python" / stub.name, server / "bin" / "tritonserver"):
        program.chmod(0o755)
    (backends / "onnxruntime").mkdir()
    packages = [sysconfig.get_path("purelib"), str(Path(np.__file__).parents[1])]
    text = BACKEND.format(packages=packages)
    (backends / "onnxruntime" / "model.py").write_text(text, encoding="utf-8")
    libraries = [str(wheel / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR"))]
    command = [
        str(server / "bin" / "tritonserver"), f"--model-repository={scratch / 'repository'}",
        f"--backend-directory={backends}", "--http-address=127.0.0.1", f"--http-port={_PORT}",
        "--grpc-address=127.0.0.1", f"--grpc-port={_PORT + 1}", "--allow-metrics=false",
    ]  # fmt: skip
    environment = os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(libraries)}
    with (scratch / "log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def ask(path: str, body: Any = None) -> Any:
    """Return the answer of the server, or None where it does not answer yet."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{_PORT}/v2{path}", data)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
            return json.loads(response.read() or b"true")
    except urllib.error.HTTPError as error:
        raise SystemExit(error.read().decode()) from error
    except OSError:
        return None


def compare(package: Path) -> None:
    """Send random images and compare logits and labels with ONNX Runtime's and labels.txt."""
    manifest = json.loads((package / "manifest.json").read_text(encoding="utf-8"))
    labels = (package / "labels.txt").read_text(encoding="utf-8").splitlines()
    (folder,) = (package / "triton").iterdir()
    session = onnxruntime.InferenceSession(
        package / manifest["engine"], providers=["CPUExecutionProvider"]
    )
    signature = manifest["signature"]
    rng = np.random.default_rng(0)
    channels, height, width = signature["shape"]
    images = rng.integers(0, 256, (_IMAGES, height, width, channels), np.uint8)
    if signature["input_type"] != "UINT8":
        images = (images.transpose(0, 3, 1, 2) / 255).astype(np.float32)
    (expected_BK,) = session.run([signature["output"]], {signature["input"]: images})
    tensor = {"name": signature["input"], "shape": images.shape, "datatype": _TYPES[images.dtype]}
    body = {"inputs": [tensor | {"data": images.ravel().tolist()}]}
    (output,) = ask(f"/models/{folder.name}/infer", body)["outputs"]
    logits_BK = np.array(output["data"], np.float32).reshape(output["shape"])
    parameters = {"classification": 1}
    outputs = [{"name": signature["output"], "parameters": parameters}]
    (best,) = ask(f"/models/{folder.name}/infer", body | {"outputs": outputs})["outputs"]
    named = [entry.split(":")[2] for entry in best["data"]]
    difference = float(np.abs(logits_BK - expected_BK).max())
    print(f"logits {output['shape']}: largest difference {difference:.2g}, n = {_IMAGES} images")
    print(f"classes by labels.txt: {named == [labels[k] for k in expected_BK.argmax(axis=1)]}")


def main() -> None:
    """Start the server, compare, stop it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("package", type=Path, help="a folder that madpipe package wrote")
    parser.add_argument("--wheel", type=Path, required=True, help="the unpacked wheel")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        process = start(options.package.resolve(), options.wheel.resolve(), Path(name))
        try:
            until_s = time.monotonic() + _START_S
            while (server := ask("")) is None and process.poll() is None:
                if time.monotonic() > until_s:
                    break
                time.sleep(0.2)
            if server is None:
                raise SystemExit(Path(name, "log").read_text(encoding="utf-8"))
            print(f"Triton Inference Server {server['version']}")
            compare(options.package)
        finally:
            process.terminate()
            process.wait(40)


if __name__ == "__main__":
    main()
