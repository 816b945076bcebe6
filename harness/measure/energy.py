"""Joules that a stretch of work took, from counters in the hardware; otherwise unknown, with the reason.

NVIDIA GPUs count millijoules since the driver loaded (Volta and later): the whole device, other processes included.
Intel and AMD processors count microjoules in Linux's powercap tree, readable by root alone on most systems and absent
in virtual machines. Only package domains are summed: core, uncore and dram lie inside or beside one, and psys holds
them all. Counters wrap round; a thread reads them often enough to see each turn. Rated power is never put in the place
of a measurement. Source: reference/latency_and_cost.md §5.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

POWERCAP = Path("/sys/class/powercap")
POLL_S = 30.0  # the smallest counters in use turn once in a few minutes at full power
IDLE_S = 10.0  # of the baseline


class Counter(Protocol):
    """Counters of one kind. Values only grow, but for turning at `turns_at` and for a driver that is reloaded."""

    method: str  # nvml_counter | rapl_package

    def read(self) -> Mapping[str, float]:
        """Returns joules so far, by device."""
        ...

    def turns_at(self, device: str) -> float | None:
        """Returns the joules at which the counter starts from zero again; None: it does not."""
        ...

    def describe(self) -> Mapping[str, object]:
        """Returns what is known of the devices, as JSON values."""
        ...


@dataclass(frozen=True, slots=True)
class Energy:
    """Joules of a stretch of work. None is unknown, and `reason` says why; it is never an estimate."""

    method: str  # nvml_counter | rapl_package | both joined by + | none
    joules: float | None
    window_s: float
    by_device: Mapping[str, float] = field(default_factory=dict)
    idle_watts: float | None = None  # what the same devices draw without the work
    devices: Mapping[str, object] = field(default_factory=dict)
    reason: str | None = None

    @property
    def watts(self) -> float | None:
        return None if self.joules is None or self.window_s <= 0 else self.joules / self.window_s

    @property
    def net_joules(self) -> float | None:
        """Joules above the idle baseline; None without one."""
        if self.joules is None or self.idle_watts is None:
            return None
        return self.joules - self.idle_watts * self.window_s


class Meter:
    """Reads counters while it is entered. `energy()` is the result, also before the end.

        with Meter(counters) as meter: ...
        meter.energy(idle_watts=...)

    Work queued on a GPU has to be waited for (`torch.cuda.synchronize`) before entering and before leaving.
    """

    def __init__(
        self,
        counters: Sequence[Counter],
        *,
        reason: str | None = None,
        poll_s: float = POLL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters, self._reason, self._poll_s, self._clock = counters, reason, poll_s, clock
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self._began = self._ended = self._clock()
        self._last = [dict(counter.read()) for counter in self._counters]
        self._sums: dict[str, float] = {device: 0.0 for reading in self._last for device in reading}
        if self._counters:
            self._thread = threading.Thread(target=self._poll, name="harness-energy", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        if self._counters:
            self._thread.join()
        self.update()

    def _poll(self) -> None:
        while not self._stop.wait(self._poll_s):
            self.update()

    def update(self) -> None:
        """Adds what the counters have moved since they were last read."""
        with self._lock:
            self._ended = self._clock()
            for i, counter in enumerate(self._counters):
                now = dict(counter.read())
                for device, value in now.items():
                    moved = value - self._last[i].get(device, value)
                    if moved < 0:
                        turn = counter.turns_at(device)
                        if turn is None:
                            self._reason = f"the energy counter of {device} went back: its driver was reloaded"
                            continue
                        moved += turn
                    self._sums[device] = self._sums.get(device, 0.0) + moved
                self._last[i] = now

    def energy(self, idle_watts: float | None = None) -> Energy:
        """Returns the joules from entering to leaving (or to the last update)."""
        window = self._ended - self._began
        if not self._counters or self._reason is not None:
            reason = self._reason or "no energy counter"
            return Energy(method="none", joules=None, window_s=window, reason=reason)
        return Energy(
            method="+".join(dict.fromkeys(counter.method for counter in self._counters)),
            joules=sum(self._sums.values()),
            window_s=window,
            by_device=dict(self._sums),
            idle_watts=idle_watts,
            devices={key: value for counter in self._counters for key, value in counter.describe().items()},
        )


def idle_watts(
    counters: Sequence[Counter],
    seconds: float = IDLE_S,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> float | None:
    """Returns what the devices draw while nothing is asked of them; None without counters. Takes `seconds`."""
    if not counters:
        return None
    with Meter(counters, clock=clock) as meter:
        sleep(seconds)
    return meter.energy().watts


def energy_shares(energy: Energy, *, output_tokens: int, samples: int, correct: float) -> dict[str, float | None]:
    """Returns joules for each output token, sample and correct answer; unknown where there is none of it."""
    counts = {"j_per_output_token": output_tokens, "j_per_sample": samples, "j_per_correct": correct}
    joules = energy.joules
    return {name: joules / count if joules is not None and count else None for name, count in counts.items()}


def carbon_g(energy: Energy, grid_g_per_kwh: float | None, pue: float = 1.0) -> float | None:
    """Returns grams of CO2 for a grid factor the user gave; None without one. Nothing is looked up."""
    if energy.joules is None or grid_g_per_kwh is None:
        return None
    return energy.joules / 3.6e6 * pue * grid_g_per_kwh


# --- processors -------------------------------------------------------------------------------------------------------


class Rapl:
    """Package domains of the powercap tree."""

    method = "rapl_package"

    def __init__(self, domains: Mapping[str, Path]) -> None:
        self._domains = dict(domains)
        self._turns = {name: _microjoules(path / "max_energy_range_uj") for name, path in domains.items()}

    def read(self) -> dict[str, float]:
        return {name: _microjoules(path / "energy_uj") for name, path in self._domains.items()}

    def turns_at(self, device: str) -> float | None:
        return self._turns[device]

    def describe(self) -> dict[str, object]:
        return {name: {"kind": "processor package"} for name in self._domains}


def _microjoules(file: Path) -> float:
    return int(file.read_text(encoding="utf-8")) / 1e6


def find_rapl(root: Path = POWERCAP) -> Rapl | str:
    """Returns the packages' counters, or the reason there are none.

    A package can be listed twice, through its registers and through memory (`intel-rapl-mmio`): it is counted once.
    """
    domains: dict[str, Path] = {}
    found = sorted(root.glob("intel-rapl*:*"), key=lambda folder: ("mmio" in folder.name, folder.name))
    for folder in found:
        try:
            name = (folder / "name").read_text().strip()
        except OSError:
            continue
        if name.startswith("package"):
            domains.setdefault(name, folder)
    if not domains:
        return f"no processor package is listed in {root} (a virtual machine, or no driver)"
    try:
        counter = Rapl(domains)
        counter.read()
        return counter
    except PermissionError:
        return f"{root} is readable by root alone"
    except (OSError, ValueError) as error:
        return f"{root} cannot be read: {error}"


# --- NVIDIA -----------------------------------------------------------------------------------------------------------


class Nvml:
    """Energy counters of NVIDIA devices, by UUID."""

    method = "nvml_counter"

    def __init__(self, nvml: Any, handles: Sequence[Any]) -> None:
        self._nvml = nvml
        self._handles = {_text(nvml.nvmlDeviceGetUUID(handle)): handle for handle in handles}

    def read(self) -> dict[str, float]:
        return {uuid: self._nvml.nvmlDeviceGetTotalEnergyConsumption(h) / 1e3 for uuid, h in self._handles.items()}

    def turns_at(self, device: str) -> None:
        return None  # 64 bit: it does not turn

    def describe(self) -> dict[str, object]:
        """Returns name, power limit and the number of processes of each device, which all share its counter."""
        nvml = self._nvml
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        return {
            uuid: {
                "kind": _text(nvml.nvmlDeviceGetName(handle)),
                "power_limit_w": nvml.nvmlDeviceGetPowerManagementLimit(handle) / 1e3,
                "processes": len(nvml.nvmlDeviceGetComputeRunningProcesses(handle)),
                "driver": driver,
            }
            for uuid, handle in self._handles.items()
        }


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def find_nvml(
    visible: str | None = None,
    nvml: Any = None,
    *,
    only: Sequence[int] | None = None,
    order: str | None = None,
    uuids: Mapping[int, str] | None = None,
) -> Nvml | str:
    """Returns the counters of the devices a process computes on, or the reason there are none.

    `only` are their numbers as CUDA counts them; None: all that it sees. `uuids` are the UUIDs of those numbers, where
    torch tells them; else the number is looked up as CUDA would, by the values of CUDA_VISIBLE_DEVICES (`visible`) and
    CUDA_DEVICE_ORDER (`order`). A part of a divided device (MIG) has no counter of its own.
    """
    if nvml is None:
        try:
            import pynvml
        except ImportError:
            return "the package nvidia-ml-py is not installed (extra gpu)"
        nvml = pynvml
    try:
        nvml.nvmlInit()
        handles = (
            _seen(nvml, visible, order) if uuids is None or only is None else [_by_uuid(nvml, uuids[i]) for i in only]
        )
        if only is not None and uuids is None:
            if beyond := [i for i in only if i >= len(handles)]:
                return f"CUDA sees no device {beyond[0]} (CUDA_VISIBLE_DEVICES={visible})"
            handles = [handles[i] for i in only]
        if not handles:
            return "no NVIDIA device is visible"
        for handle in handles:
            if _divided(nvml, handle):
                return f"{_text(nvml.nvmlDeviceGetUUID(handle))} is divided (MIG): its counter is of all its parts"
        counter = Nvml(nvml, handles)
        counter.read()
        return counter
    except _Untold as untold:
        return str(untold)
    except (nvml.NVMLError, ValueError) as error:
        return f"no NVIDIA energy counter: {error}"


class _Untold(Exception):
    """Which device it is cannot be told, or its counter is not its own."""


def _seen(nvml: Any, visible: str | None, order: str | None) -> list[Any]:
    """Returns the devices that CUDA sees, in its order. A name that it does not know ends its list.

    NVML counts by place on the bus. CUDA does so where it is told to, else the fastest come first: among devices of one
    kind that is the same.
    """
    every = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    names = (
        [part.strip() for part in visible.split(",")] if visible is not None else [str(i) for i in range(len(every))]
    )
    by_number = any(name.isdigit() for name in names)
    if by_number and order != "PCI_BUS_ID" and len({_text(nvml.nvmlDeviceGetName(handle)) for handle in every}) > 1:
        raise _Untold(
            "devices of several kinds are here, and which one has which number: set CUDA_DEVICE_ORDER=PCI_BUS_ID"
        )
    found: list[Any] = []
    for name in filter(None, names):
        try:
            found.append(_named(nvml, every, name))
        except (nvml.NVMLError, ValueError):
            if not found:
                raise
            break
    return found


def _named(nvml: Any, every: Sequence[Any], name: str) -> Any:
    """Returns the device of a number, or of a UUID that may be cut short. Raises ValueError where there is none."""
    if name.startswith("MIG"):
        raise _Untold(f"{name} is a part of a divided device (MIG), which has no counter of its own")
    if not name.startswith("GPU-"):
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    alike = [handle for handle in every if _text(nvml.nvmlDeviceGetUUID(handle)).startswith(name)]
    if len(alike) != 1:
        raise ValueError(f"{len(alike)} devices are called {name}")
    return alike[0]


def _by_uuid(nvml: Any, uuid: str) -> Any:
    """Returns the device that torch says has a UUID. Raises _Untold for a part of one."""
    try:
        return nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}")
    except nvml.NVMLError:
        raise _Untold(f"no whole device has the UUID {uuid}: a part of a divided one (MIG) has no counter") from None


def _divided(nvml: Any, handle: Any) -> bool:
    """Returns whether a device is divided into several (MIG)."""
    mode = getattr(nvml, "nvmlDeviceGetMigMode", None)
    try:
        return mode is not None and mode(handle)[0] == 1
    except nvml.NVMLError:  # it cannot be divided
        return False


def find_counters(
    device: str | Sequence[str],
    visible: str | None = None,
    *,
    order: str | None = None,
    uuids: Mapping[int, str] | None = None,
) -> tuple[tuple[Counter, ...], str | None]:
    """Returns the counters of where a model runs ("cuda:1", "cpu", or several), and the reason if there are none.

    On a GPU the processor's package is measured too where it can be read. The rest is as in `find_nvml`.
    """
    devices = (device,) if isinstance(device, str) else tuple(device)
    rapl = find_rapl()
    numbers = [int(found[1] or 0) for one in devices if (found := re.fullmatch(r"cuda(?::(\d+))?", one))]
    if numbers and all(one == "cpu" or one.startswith("cuda") for one in devices):
        gpu = find_nvml(visible, only=sorted(set(numbers)), order=order, uuids=uuids)
        if isinstance(gpu, str):
            return (), gpu
        return ((gpu,) if isinstance(rapl, str) else (gpu, rapl)), None
    if set(devices) == {"cpu"}:
        return ((), rapl) if isinstance(rapl, str) else ((rapl,), None)
    return (), f"no energy counter is known for device '{', '.join(devices)}'"
