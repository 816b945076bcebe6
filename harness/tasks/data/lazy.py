"""Sequences whose items are made when they are asked for: a file of a million rows is read, and never held.

    rows = JsonLines(path)                                     (harness.tasks.data.files)
    samples = made(rows, lambda i, row: Sample(ids[i], ...))   lazy because its items are; a tuple of a list or tuple

What is made may be made again each time, so `make` has no effect but its value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar, overload

Item = TypeVar("Item")


class Lazy(Sequence[Item]):
    """A sequence that keeps no items. A subclass gives `__len__`, `item` and `items`."""

    def item(self, index: int) -> Item:
        """Returns one item; 0 <= index < len(self)."""
        raise NotImplementedError

    def items(self) -> Iterator[Item]:
        """Yields every item in order."""
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        places = range(len(self))[index]  # raises IndexError as a tuple would
        return self.item(places) if isinstance(places, int) else tuple(map(self.item, places))

    def __iter__(self) -> Iterator[Item]:
        return self.items()


class Made(Lazy[Item]):
    """What `make(place, item)` gives for each item of another sequence."""

    def __init__(self, of: Sequence[Any], make: Callable[[int, Any], Item]) -> None:
        self._of, self._make = of, make

    def __len__(self) -> int:
        return len(self._of)

    def item(self, index: int) -> Item:
        """Returns one item."""
        return self._make(index, self._of[index])

    def items(self) -> Iterator[Item]:
        """Yields every item in order."""
        return (self._make(i, one) for i, one in enumerate(self._of))


class Picked(Lazy[Item]):
    """The items of another sequence at some of its places."""

    def __init__(self, of: Sequence[Item], places: Sequence[int]) -> None:
        self._of, self._places = of, places  # places in rising order

    def __len__(self) -> int:
        return len(self._places)

    def item(self, index: int) -> Item:
        """Returns one item."""
        return self._of[self._places[index]]

    def items(self) -> Iterator[Item]:
        """Yields every item in order."""
        wanted = iter(self._places)
        place = next(wanted, None)
        for i, one in enumerate(self._of):
            if place is None:
                return
            if i == place:
                yield one
                place = next(wanted, None)


def made(of: Sequence[Any], make: Callable[[int, Any], Item]) -> Sequence[Item]:
    """Returns `make(place, item)` for each item: lazily where `of` is lazy, else as a tuple."""
    found = Made(of, make)
    return found if isinstance(of, Lazy) else tuple(found)


def picked(of: Sequence[Item], fits: Callable[[Item], bool]) -> Sequence[Item]:
    """Returns the items that fit: lazily where `of` is lazy, else as a tuple."""
    if not isinstance(of, Lazy):
        return tuple(one for one in of if fits(one))
    from array import array

    return Picked(of, array("q", (i for i, one in enumerate(of) if fits(one))))


def in_parts(of: Sequence[Item], size: int) -> Iterator[list[Item]]:
    """Yields the items in order, `size` at a time."""
    items = iter(of)
    while part := list(islice(items, size)):
        yield part
