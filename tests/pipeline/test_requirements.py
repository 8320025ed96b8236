"""What the machine lacks is reported with the setting that needs it."""

import pytest

from pipeline import machine
from pipeline.errors import UnavailableError
from pipeline.requirements import NeedsGpu, NeedsModule, Unsupported


def test_installed_module_is_enough() -> None:
    NeedsModule(setting="build.backend", module="msgspec", install="pip install msgspec").check()


def test_missing_module_is_reported_with_its_remedy() -> None:
    needs = NeedsModule(setting="build.backend", module="no_such", install="pip install no-such")
    with pytest.raises(UnavailableError) as caught:
        needs.check()
    assert caught.value.exit_code == 5
    assert str(caught.value) == (
        "build.backend: needs a package that is not installed (no_such); run pip install no-such"
    )


def test_machine_without_a_driver_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", tuple)
    with pytest.raises(UnavailableError, match=r"^build.device: asks for an NVIDIA GPU and none"):
        NeedsGpu(setting="build.device").check()


def test_what_no_machine_can_do_is_reported() -> None:
    with pytest.raises(UnavailableError, match=r"^a: b; c$"):
        Unsupported(setting="a", wrong="b", remedy="c").check()
