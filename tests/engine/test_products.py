"""Quick products: the same numbers within rounding, only where they are quicker."""

from __future__ import annotations

import pytest
import torch

from harness.engine import fast_linear


@pytest.fixture
def slow_mkl(monkeypatch):
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(fast_linear, "_is_mkl_slow", lambda: True)


def two(dtype: torch.dtype = torch.float32) -> torch.nn.Sequential:
    torch.manual_seed(0)
    large, small = torch.nn.Linear(256, 512, bias=True), torch.nn.Linear(512, 3, bias=False)
    return torch.nn.Sequential(large, small).to(dtype)


@pytest.mark.parametrize("shape", [(1, 256), (2, 5, 256), (1, 300, 256)])
@torch.inference_mode()
def test_a_quick_layer_gives_the_same_within_rounding(slow_mkl, shape):
    model, x = two(), torch.randn(shape)
    before = model(x)
    assert fast_linear.quicken(model) == 1  # the small one is quicker as it was
    assert torch.allclose(model(x), before, atol=1e-5)
    assert torch.allclose(model(x.transpose(0, -1).contiguous().transpose(0, -1)), before, atol=1e-5)


@torch.inference_mode()
def test_runs_are_bit_equal(slow_mkl):
    model, x = two(), torch.randn(40, 256)
    fast_linear.quicken(model)
    assert torch.equal(model(x), model(x))


def test_other_types_and_processors_are_left_alone(slow_mkl, monkeypatch):
    assert fast_linear.quicken(two(torch.bfloat16)) == 0
    monkeypatch.setattr(fast_linear, "_is_mkl_slow", lambda: False)
    model = two()
    assert fast_linear.quicken(model) == 0
    assert type(model[0]) is torch.nn.Linear


def test_a_layer_whose_weights_are_moved_by_hooks_is_left_alone(slow_mkl):
    model = two()
    model[0]._hf_hook = object()
    assert fast_linear.quicken(model) == 0


def test_mkl_is_taken_for_slow_off_intel_with_wide_instructions_only(monkeypatch):
    for capability, vendor, expected in (
        ("AVX512", "AuthenticAMD", True),
        ("AVX512_VNNI", "AuthenticAMD", True),
        ("AVX512", "GenuineIntel", False),
        ("AVX2", "AuthenticAMD", False),
    ):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
        monkeypatch.setattr(fast_linear, "_vendor", lambda vendor=vendor: vendor)
        fast_linear._is_mkl_slow.cache_clear()
        assert fast_linear._is_mkl_slow() is expected
    fast_linear._is_mkl_slow.cache_clear()
