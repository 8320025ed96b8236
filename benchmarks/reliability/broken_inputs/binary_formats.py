"""The formats of bytes and how many cases each has: weights, graphs, engines, banks and images."""

from benchmarks.reliability.broken_inputs import (
    engine_folders,
    image_banks,
    image_files,
    onnx_files,
    programs,
    safetensors_files,
    torch_checkpoints,
)
from benchmarks.reliability.broken_inputs.harness import Share, piece

SHARES = (
    Share(torch_checkpoints.ARCHIVES, 500),
    Share(torch_checkpoints.LEGACY, 200),
    Share(safetensors_files.SAFETENSORS, 400),
    Share(onnx_files.ONNX, 800),
    Share(programs.PROGRAMS, 150),
    Share(engine_folders.ENGINES, 100),
    Share(image_banks.BANKS, 250),
    Share(image_files.IMAGES, 300),
)
PIECE = piece(
    "broken-binaries",
    "broken weights, ONNX files, programs, engines, banks and images end with a message, within "
    "2 GiB and 20 s, and run no code",
    SHARES,
)
