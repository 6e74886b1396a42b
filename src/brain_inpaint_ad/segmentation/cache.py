"""A store that forgets what was not used for longest, and never grows beyond its bound."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What the store needs to know of a value."""

    @property
    def nbytes(self) -> int:
        """Memory it takes."""


Value = TypeVar("Value", bound=Sized)


class Cache(Generic[Value]):
    """Values by key, `capacity_bytes` in all; may be used from several threads."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: Hashable) -> Value | None:
        """The value, which counts as used now."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: Value, *, evict: bool = True) -> bool:
        """Keep a value; others go for it, unless `evict` is False. Returns whether it is kept: there may be no room."""
        with self._lock:
            if key in self._values:
                return True
            room = self._capacity_bytes - (0 if evict else self._bytes)
            if value.nbytes > room:
                return False
            while self._bytes + value.nbytes > self._capacity_bytes:
                _, dropped = self._values.popitem(last=False)
                self._bytes -= dropped.nbytes
            self._values[key] = value
            self._bytes += value.nbytes
            return True
