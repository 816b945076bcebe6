"""What our own code calls must last: a DeprecationWarning that it is the cause of is an error in the suite."""

from __future__ import annotations

import pytest

CALL = compile("import warnings\nwarnings.warn('old', DeprecationWarning, stacklevel=1)", "call.py", "exec")


@pytest.mark.parametrize("module", ["harness", "harness.engine.loaded"])
def test_a_deprecated_call_of_ours_is_an_error(module: str):
    with pytest.raises(DeprecationWarning, match="old"):
        exec(CALL, {"__name__": module})


def test_one_of_a_library_is_not():
    exec(CALL, {"__name__": "another_library"})
