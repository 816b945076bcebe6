"""Machine files: hardware, and what an hour of it costs, rented or owned."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError, PydanticKnownError

from harness.config.accelerators import CHIPS, Chip
from harness.config.base import Name, Strict, _by_shape, _checked
from harness.config.files import find_file
from harness.config.yaml_file import read_yaml
from harness.errors import ConfigError


class Rented(Strict):
    """A machine paid by the hour."""

    per_hour: Annotated[float, Field(gt=0)]  # one accelerator, or the whole machine if it has none
    gpus: Annotated[int, Field(ge=1)] = 1  # accelerators in the machine


class Owned(Strict):
    """A machine that was bought."""

    price: Annotated[float, Field(gt=0)]  # of the whole machine
    gpus: Annotated[int, Field(ge=1)] = 1  # accelerators in the machine
    years: Annotated[float, Field(gt=0)]  # of use
    salvage: Annotated[float, Field(ge=0)] = 0.0  # what it is worth at the end
    financing_rate: Annotated[float, Field(ge=0)] = 0.0  # per year, on the price
    watts: Annotated[float, Field(gt=0)] | Literal["measured"]  # drawn; measured: by its counters
    power_price: Annotated[float, Field(ge=0)]  # per kWh
    pue: Annotated[float, Field(ge=1)] = 1.0  # power of the building over that of the machine
    hours_available: Annotated[float, Field(gt=0, le=8784)] = 8760.0  # hours a year it could work
    staff_per_hour: Annotated[float, Field(ge=0)] = 0.0  # who keeps it running
    colocation_per_hour: Annotated[float, Field(ge=0)] = 0.0  # where it stands

    @model_validator(mode="after")
    def _loses_value(self) -> Owned:
        if self.salvage > self.price:
            worth = {"salvage": f"{self.salvage:g}", "price": f"{self.price:g}"}
            raise PydanticCustomError("salvage", "`salvage` {salvage} is more than the price {price}", worth)
        return self


Peak = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ChipConfig(Strict):
    """The sheet of an accelerator that `harness.config.accelerators` does not list: peak figures, dense."""

    tflops: Peak  # 10¹² operations a second in 16 bit
    gb_per_s: Peak  # of its memory
    gb: Peak  # of memory
    tflops_8bit: Peak | None = None  # in 8-bit floats, if it has them
    tflops_32bit: Peak | None = None  # without TF32
    link_gb_per_s: Peak | None = None  # between chips, in one direction


class MachineConfig(Strict):
    """Hardware and what an hour of it costs."""

    name: Name  # as `--machine` has it
    describes: str = ""  # what the hardware is
    chip: (
        Annotated[Annotated[str, Tag("(text)")] | Annotated[ChipConfig, Tag("(keys)")], Discriminator(_by_shape)] | None
    ) = None  # its accelerator, for projections: a100, h100, h200, l4, or the figures of its sheet
    currency: Literal["USD"] = "USD"  # of all prices
    source: str  # where the price is from
    date: str  # when it was read, YYYY-MM-DD
    assumed: bool = False  # True: nobody quoted this price
    utilisation: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of paid time that does useful work
    grid_g_per_kwh: Annotated[float, Field(ge=0)] | None = None  # CO2 of the power used; without it none is told
    peak_to_mean: Annotated[float, Field(ge=1)] = 1.0  # busiest hour / mean hour of the traffic to be served
    headroom: Annotated[float, Field(ge=0)] = 0.0  # spare share above that peak
    redundancy: Annotated[int, Field(ge=1)] = 1  # the fewest machines that are ever run
    rented: Rented | None = None  # paid by the hour
    owned: Owned | None = None  # bought

    @model_validator(mode="after")
    def _one_kind(self) -> MachineConfig:
        if (self.rented is None) == (self.owned is None):
            raise PydanticCustomError("one_kind", "give either `rented` or `owned`")
        return self

    @field_validator("chip")
    @classmethod
    def _known_chip(cls, chip: str | ChipConfig | None) -> str | ChipConfig | None:
        if isinstance(chip, str) and chip not in CHIPS:
            raise PydanticKnownError("literal_error", {"expected": ", ".join(f"'{name}'" for name in sorted(CHIPS))})
        return chip

    @property
    def paid(self) -> Rented | Owned:
        """Returns how its hours are paid: the one of `rented` and `owned` that is given."""
        if self.rented is not None:
            return self.rented
        assert self.owned is not None  # `_one_kind` lets no other machine be
        return self.owned

    @property
    def gpus(self) -> int:
        """Returns the accelerators in the machine."""
        return self.paid.gpus

    @property
    def sheet(self) -> Chip | None:
        """Returns the peak figures of its accelerator; None if it names none."""
        if self.chip is None or isinstance(self.chip, str):
            return CHIPS.get(self.chip or "")
        told = self.chip
        return Chip(
            flops=told.tflops * 1e12,
            bytes_per_s=told.gb_per_s * 1e9,
            memory_bytes=told.gb * 1e9,
            flops_8bit=None if told.tflops_8bit is None else told.tflops_8bit * 1e12,
            flops_32bit=None if told.tflops_32bit is None else told.tflops_32bit * 1e12,
            link_bytes_per_s=None if told.link_gb_per_s is None else told.link_gb_per_s * 1e9,
        )


def read_machine(machine: str | MachineConfig | None) -> MachineConfig | None:
    """Returns the machine of a file, bundled name or values already read."""
    if machine is None or isinstance(machine, MachineConfig):
        return machine
    file = find_file(machine, "configs", "machines")
    found = _checked(MachineConfig, read_yaml(file), ConfigError)
    _refuse_no_day(found, str(file))
    return found


def _refuse_no_day(machine: MachineConfig, where: str) -> None:
    """Raises ConfigError where the price of a machine was read on no day there is, or on one to come."""
    fix = "write the day on which the price was read, as 2026-11-20"
    try:
        read = date.fromisoformat(machine.date)
    except ValueError:
        raise ConfigError(f"date: '{machine.date}' is no day", where=where, fix=fix) from None
    if read > date.today() + timedelta(days=1):  # it may be tomorrow elsewhere
        raise ConfigError(f"date: {machine.date} is still to come", where=where, fix=fix)
