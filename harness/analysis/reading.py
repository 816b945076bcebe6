"""Reading a run folder that may come from anybody: what goes wrong in one that was changed is told as its fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import HarnessError, StoreError
from harness.store.manifest import untouched


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Gives the work of reading a run folder, and raises StoreError for what its files cannot be.

    Each file is read as values of its classes; values that do not go together show only where they meet. In a folder
    that is, byte for byte, what its manifest says, such an error is ours, and keeps its traceback.
    """
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        if untouched(folder):
            raise
        what = f"the files of this run do not go together ({type(error).__name__}: {str(error)[:120]})"
        raise StoreError(what, where=str(folder), fix="`harness verify` says what was changed") from None
