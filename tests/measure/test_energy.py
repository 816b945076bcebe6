from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytest import approx

from harness.measure.energy import (
    Energy,
    Meter,
    carbon_g,
    energy_shares,
    find_counters,
    find_nvml,
    find_rapl,
    idle_watts,
)


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def tree(root: Path, domains: dict[str, tuple[str, int]], turn: int = 1_000_000_000) -> Path:
    """A powercap folder: by folder name, the domain's name and its microjoules."""
    for folder, (name, energy) in domains.items():
        (root / folder).mkdir(parents=True)
        (root / folder / "name").write_text(name + "\n")
        (root / folder / "energy_uj").write_text(f"{energy}\n")
        (root / folder / "max_energy_range_uj").write_text(f"{turn}\n")
    return root


SERVER = {
    "intel-rapl:0": ("package-0", 5_000_000),
    "intel-rapl:0:0": ("core", 3_000_000),
    "intel-rapl:0:1": ("dram", 1_000_000),
    "intel-rapl:1": ("package-1", 7_000_000),
    "intel-rapl:2": ("psys", 20_000_000),
    "intel-rapl-mmio:0": ("package-0", 5_000_000),
}


def test_only_packages_are_counted_and_each_once(tmp_path):
    counter = find_rapl(tree(tmp_path, SERVER))
    assert counter.read() == {"package-0": 5.0, "package-1": 7.0}


def test_joules_are_what_the_counters_moved(tmp_path):
    root, clock = tree(tmp_path, SERVER), Clock()
    with Meter([find_rapl(root)], clock=clock) as meter:
        (root / "intel-rapl:0" / "energy_uj").write_text("65000000")
        (root / "intel-rapl:1" / "energy_uj").write_text("47000000")
        (root / "intel-rapl:2" / "energy_uj").write_text("999000000")  # psys holds both: counting it would be double
        clock.now = 10.0
    energy = meter.energy(idle_watts=4.0)
    assert (energy.method, energy.joules, energy.window_s) == ("rapl_package", approx(100.0), 10.0)
    assert energy.watts == approx(10.0)
    assert energy.net_joules == approx(60.0)
    assert energy.by_device == {"package-0": approx(60.0), "package-1": approx(40.0)}


def test_a_counter_that_turns_round_is_followed_as_often_as_it_does(tmp_path):
    root = tree(tmp_path, {"intel-rapl:0": ("package-0", 990_000_000)}, turn=1_000_000_000)
    with Meter([find_rapl(root)]) as meter:
        for reading in (20, 600, 10):  # 30 J, 580 J, 410 J
            (root / "intel-rapl:0" / "energy_uj").write_text(str(reading * 1_000_000))
            meter.update()
    assert meter.energy().joules == approx(1020.0)


def test_a_machine_without_counters_gives_unknown_and_the_reason(tmp_path):
    reason = find_rapl(tmp_path / "none")
    assert "no processor package is listed" in reason
    with Meter([], reason=reason) as meter:
        pass
    energy = meter.energy()
    assert (energy.method, energy.joules, energy.watts, energy.net_joules) == ("none", None, None, None)
    assert energy.reason == reason
    assert idle_watts([]) is None


def test_counters_only_root_may_read_are_named_as_such(tmp_path, monkeypatch):
    root = tree(tmp_path, SERVER)
    read = Path.read_text

    def guarded(self, *args, **kwargs):
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", guarded)
    assert find_rapl(root) == f"{root} is readable by root alone"


def test_a_counter_with_rubbish_in_it_is_a_reason(tmp_path):
    root = tree(tmp_path, {"intel-rapl:0": ("package-0", 1)})
    (root / "intel-rapl:0" / "energy_uj").write_text("many")
    assert "cannot be read" in find_rapl(root)


def test_the_idle_baseline_is_power_without_work(tmp_path):
    root, clock = tree(tmp_path, {"intel-rapl:0": ("package-0", 0)}), Clock()

    def rest(seconds: float) -> None:
        clock.now += seconds
        (root / "intel-rapl:0" / "energy_uj").write_text(str(int(12e6 * seconds)))

    assert idle_watts([find_rapl(root)], 10.0, sleep=rest, clock=clock) == approx(12.0)


class FakeNvml(SimpleNamespace):
    """Two devices; `mj` is what their counters say."""

    class NVMLError(Exception):
        pass

    def __init__(self, *mj: int) -> None:
        super().__init__(mj=list(mj))

    def nvmlInit(self): ...

    def nvmlDeviceGetCount(self):
        return len(self.mj)

    def nvmlDeviceGetHandleByIndex(self, i):
        if i >= len(self.mj):
            raise self.NVMLError("Invalid Argument")
        return i

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if not uuid.removeprefix("GPU-").isdigit():
            raise self.NVMLError("Not Found")
        return int(uuid.removeprefix("GPU-"))

    def nvmlDeviceGetUUID(self, handle):
        return f"GPU-{handle}".encode()

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        return self.mj[handle]

    def nvmlSystemGetDriverVersion(self):
        return "580.1"

    def nvmlDeviceGetName(self, handle):
        return self.names[handle] if hasattr(self, "names") else "H200"

    def nvmlDeviceGetMigMode(self, handle):
        return (int(handle in getattr(self, "divided", ())), 0)

    def nvmlDeviceGetPowerManagementLimit(self, handle):
        return 700_000

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        return [object()]


def test_gpu_joules_come_from_the_counter_of_the_visible_devices():
    nvml = FakeNvml(1000, 500_000)
    with Meter([find_nvml("1", nvml)]) as meter:
        nvml.mj[:] = [9_000_000, 530_000]
    energy = meter.energy()
    assert (energy.method, energy.joules) == ("nvml_counter", approx(30.0))
    assert energy.devices["GPU-1"] == {"kind": "H200", "power_limit_w": 700.0, "processes": 1, "driver": "580.1"}


@pytest.mark.parametrize(
    ("visible", "devices"), [(None, {"GPU-0", "GPU-1"}), ("GPU-1", {"GPU-1"}), ("0,1", {"GPU-0", "GPU-1"})]
)
def test_devices_are_found_as_cuda_names_them(visible, devices):
    assert set(find_nvml(visible, FakeNvml(1, 2)).read()) == devices


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """Eight devices of one kind, of which number 1 works and the others idle."""
    nvml = FakeNvml(*[0] * 8)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return nvml


def joules(nvml: FakeNvml, *given: Any, **named: Any) -> tuple[float | None, str | None]:
    """The joules counted while device 1 uses 700 and each of the others 100, or the reason there are none."""
    counters, reason = find_counters(*given, **named)
    with Meter(counters[:1], reason=reason) as meter:
        for i in range(len(nvml.mj)):
            nvml.mj[i] += 700_000 if i == 1 else 100_000
    return meter.energy().joules, reason


@pytest.mark.parametrize(
    ("device", "how", "told"),
    [
        ("cuda:1", {}, 700.0),
        ("cuda", {}, 100.0),
        ("cuda:0", {}, 100.0),
        (("cuda:0", "cuda:1"), {}, 800.0),
        (("cuda:1", "cpu"), {}, 700.0),
        ("cuda:0", {"visible": "1"}, 700.0),
        ("cuda:1", {"visible": "3,1"}, 700.0),
        ("cuda:0", {"visible": "3,1"}, 100.0),
        ("cuda:1", {"visible": "GPU-4,GPU-1"}, 700.0),
        ("cuda:0", {"visible": " 1 , 2"}, 700.0),
        ("cuda:5", {"uuids": {5: "1"}}, 700.0),  # torch knows best
        ("cuda:0", {"visible": "3", "uuids": {0: "GPU-1"}}, 700.0),
        ("cuda:1", {"visible": "1,99,2"}, None),  # a number that is not there ends the list
        ("cuda:8", {}, None),
        ("cuda:0", {"visible": ""}, None),
        ("cuda:0", {"visible": "MIG-1"}, None),
        ("cuda:0", {"uuids": {0: "ab-cd"}}, None),  # of a part
        ("device_map", {}, None),
    ],
)
def test_the_joules_are_those_of_the_device_that_ran(eight: FakeNvml, device: Any, how: Any, told: float | None):
    found, reason = joules(eight, device, **how)
    assert found == (None if told is None else approx(told)) and (reason is None) == (told is not None)


def test_which_of_several_kinds_has_a_number_is_known_only_where_cuda_counts_by_bus(eight: FakeNvml):
    eight.names = ["T4", "H100", *["T4"] * 6]
    found, reason = joules(eight, "cuda:1")  # CUDA's own order puts the H100 first
    assert found is None and "CUDA_DEVICE_ORDER=PCI_BUS_ID" in str(reason)
    assert joules(eight, "cuda:1", order="PCI_BUS_ID")[0] == approx(700.0)
    assert joules(eight, "cuda:0", "GPU-1")[0] == approx(700.0)
    assert joules(eight, "cuda:0", uuids={0: "1"})[0] == approx(700.0)


def test_a_device_that_is_divided_has_no_counter_of_a_part(eight: FakeNvml):
    eight.divided = (1,)
    found, reason = joules(eight, "cuda:1")
    assert found is None and "GPU-1 is divided (MIG): its counter is of all its parts" in str(reason)
    assert joules(eight, "cuda:2")[0] == approx(100.0)


def test_a_counter_that_goes_back_makes_the_energy_unknown_and_not_negative():
    nvml = FakeNvml(5000)
    with Meter([find_nvml(None, nvml)]) as meter:
        nvml.mj[0] = 100
    assert meter.energy().joules is None
    assert meter.energy().reason == "the energy counter of GPU-0 went back: its driver was reloaded"


def test_a_gpu_without_a_counter_is_a_reason():
    assert "Invalid Argument" in find_nvml("7", FakeNvml(1))
    assert find_nvml("", FakeNvml(1)) == "no NVIDIA device is visible"
    assert "no energy counter is known for device 'mps'" in find_counters("mps")[1]


def test_joules_are_shared_over_tokens_samples_and_correct_answers():
    energy = Energy("nvml_counter", 100.0, 10.0)
    assert energy_shares(energy, output_tokens=1000, samples=20, correct=8) == {
        "j_per_output_token": 0.1,
        "j_per_sample": 5.0,
        "j_per_correct": 12.5,
    }
    assert energy_shares(energy, output_tokens=0, samples=20, correct=0)["j_per_correct"] is None
    unknown = Energy("none", None, 10.0, reason="x")
    assert set(energy_shares(unknown, output_tokens=1, samples=1, correct=1).values()) == {None}


def test_carbon_needs_a_grid_factor_from_the_user():
    energy = Energy("nvml_counter", 3.6e6, 10.0)
    assert carbon_g(energy, None) is None
    assert carbon_g(energy, 400.0, pue=1.5) == approx(600.0)
    assert carbon_g(Energy("none", None, 1.0), 400.0) is None
