"""Which device a segmenter runs on. Torch is imported only for a segmenter that can use more than the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from samovar.errors import DeviceError

__all__ = ["available_devices", "choose_device", "why_no_gpu"]


def available_devices() -> list[str]:
    """Devices usable on this machine, best first; "cpu" is always the last.

    Of several GPUs the first is torch's current one, which differs among the processes of a distributed job.
    """
    found = []
    if find_spec("torch") is not None:
        import torch

        if torch.cuda.is_available():
            current = torch.cuda.current_device()
            others = [index for index in range(torch.cuda.device_count()) if index != current]
            found += [f"cuda:{index}" for index in (current, *others)]
        found += ["mps"] if torch.backends.mps.is_available() else []
    return [*found, "cpu"]


def why_no_gpu() -> tuple[str, str]:
    """Why no GPU can be used on this machine, and what to do about it."""
    if find_spec("torch") is None:
        return "torch, which drives them, is not installed", 'if there is one: pip install "samovar[sam]"'
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        advice = "if there is one, install torch's build for it: https://pytorch.org/get-started/locally/"
        return f"torch {torch.__version__} is a build for CPUs alone", advice
    return (
        f"torch {torch.__version__} finds none",
        "if there is one, see what nvidia-smi or rocminfo says of its driver",
    )


def choose_device(requested: str, supported: Sequence[str], model: str) -> str:
    """The device to load `model` on.

    Args:
        requested: "auto", or a device such as "cpu", "cuda" or "cuda:1".
        supported: the kinds of device that the model can use ("cpu", "cuda", "mps").
        model: its name, for messages.

    Raises:
        DeviceError: the model cannot use that device, or this machine has none.
    """
    kind = requested.partition(":")[0]
    if kind not in ("auto", "cpu", "cuda", "mps"):
        raise DeviceError(f"unknown device {requested!r}; expected auto, cpu, cuda, cuda:N or mps")
    if kind != "auto" and kind not in supported:
        raise DeviceError(
            f"model {model!r} runs on {', '.join(supported)}; got device {requested!r}; use --device auto"
        )
    if kind == "cpu" or tuple(supported) == ("cpu",):
        return "cpu"
    available = available_devices()
    for device in available:
        if device.partition(":")[0] in supported and (
            kind == "auto" or requested in (device, device.partition(":")[0])
        ):
            return device
    raise DeviceError(f"device {requested!r} is not on this machine; it has {', '.join(available)}; use device auto")
