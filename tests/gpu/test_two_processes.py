"""Several processes with a GPU each, on hollow CUDA."""

from tests.gpu.hollow.process import HollowCuda


def test_two_processes_train_on_a_gpu_each(hollow_cuda: HollowCuda) -> None:
    """Compiled they take a minute longer: `scripts/hollow_cuda.py --gpus 2` with `auto`."""
    printed = hollow_cuda.run("tests.gpu.two_processes", "off", gpus=2)
    assert "nccl off True" in printed.splitlines()


def test_a_process_lost_under_nccl_is_told(hollow_cuda: HollowCuda) -> None:
    printed = hollow_cuda.run("tests.gpu.two_processes", "off", "lost", gpus=2)
    assert printed.startswith("distill.processes: process 1 of 2 was lost (killed by SIGKILL)")


def test_two_processes_on_one_gpu_are_refused(hollow_cuda: HollowCuda) -> None:
    printed = hollow_cuda.run("tests.gpu.two_processes", "off", gpus=1)
    assert "2 processes of this machine want a GPU each (1 visible)" in printed
