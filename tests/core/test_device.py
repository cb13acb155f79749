"""Devices: chosen among what the model and the machine have, else refused in one line."""

from __future__ import annotations

import pytest

from samovar.device import available_devices, choose_device, why_no_gpu
from samovar.errors import DeviceError


def test_the_cpu_is_always_there_and_comes_last() -> None:
    assert available_devices()[-1] == "cpu"


def test_auto_takes_the_best_device_that_model_and_machine_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samovar.device.available_devices", lambda: ["cuda:0", "cuda:1", "mps", "cpu"])
    assert choose_device("auto", ("cpu", "cuda"), "m") == "cuda:0"
    assert choose_device("auto", ("cpu", "mps"), "m") == "mps"
    assert choose_device("auto", ("cpu",), "m") == "cpu"
    assert choose_device("cuda:1", ("cpu", "cuda"), "m") == "cuda:1"
    assert choose_device("cuda", ("cpu", "cuda"), "m") == "cuda:0"


def test_of_several_gpus_the_current_one_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process of a distributed evaluation has made another one current."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert available_devices() == ["cuda:1", "cuda:0", "cuda:2", "cpu"]
    assert choose_device("auto", ("cpu", "cuda"), "m") == choose_device("cuda", ("cpu", "cuda"), "m") == "cuda:1"


def test_without_torch_the_lack_of_a_gpu_is_mended_by_installing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samovar.device.find_spec", lambda name: None)
    lack, advice = why_no_gpu()
    assert "torch" in lack
    assert 'pip install "samovar[sam]"' in advice


@pytest.mark.parametrize(
    ("requested", "supported", "message"),
    [
        ("tpu", ("cpu",), "unknown device 'tpu'; expected auto, cpu, cuda"),
        ("cuda", ("cpu",), "model 'm' runs on cpu; got device 'cuda'"),
        ("cuda:7", ("cpu", "cuda"), "device 'cuda:7' is not on this machine; it has "),
    ],
)
def test_a_device_that_is_not_there_is_refused(requested: str, supported: tuple[str, ...], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        choose_device(requested, supported, "m")
