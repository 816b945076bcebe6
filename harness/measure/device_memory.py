"""How much memory of a device is free, and the most that was used."""

from __future__ import annotations

from pathlib import Path


def free_memory() -> tuple[int, str]:
    """Returns the bytes free on this machine, and of what: its emptiest NVIDIA device, or else its main memory."""
    import psutil

    return max(_gpus(), default=(psutil.virtual_memory().available, "main memory"))


def _gpus() -> list[tuple[int, str]]:
    try:
        import pynvml as nvml
    except ImportError:
        return []
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        return [(nvml.nvmlDeviceGetMemoryInfo(handle).free, f"GPU {i}") for i, handle in enumerate(handles)]
    except nvml.NVMLError:  # no driver, or no device
        return []


def reset_peaks() -> None:
    """Begins the peaks of `used_memory` anew, where the system can."""
    import contextlib
    import sys

    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def used_memory(device: str = "cpu") -> dict[str, int | None]:
    """Returns the bytes this process holds and held at most, and the most that torch allocated on a GPU."""
    most = _peak_rss()
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    held = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmRSS:", "VmHWM:"))}
    allocated = None
    if device.startswith("cuda"):
        import torch

        allocated = torch.cuda.max_memory_allocated(device)
    return {
        "rss_bytes": held.get("VmRSS"),
        "peak_rss_bytes": held.get("VmHWM", most),
        "peak_allocated_bytes": allocated,
    }


def _peak_rss() -> int | None:
    """Returns the most bytes this process held; None where the system does not tell."""
    import sys

    import psutil

    try:
        import resource
    except ImportError:  # Windows tells it in another place
        return getattr(psutil.Process().memory_info(), "peak_wset", None)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
