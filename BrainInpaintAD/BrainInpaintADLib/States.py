"""The states of a detection and the only ways between them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class State(Enum):
    IDLE = "idle"  # nothing runs; a result may be there
    INSTALLING = "installing"
    RUNNING = "running"
    IMPORTING = "importing"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def isBusy(self) -> bool:
        return self in (State.INSTALLING, State.RUNNING, State.IMPORTING)


_BEGIN = frozenset({State.INSTALLING, State.RUNNING, State.FAILED})  # FAILED: refused before anything ran
_NEXT = {
    State.IDLE: _BEGIN,
    State.INSTALLING: frozenset({State.RUNNING, State.FAILED, State.CANCELLED}),
    State.RUNNING: frozenset({State.IMPORTING, State.FAILED, State.CANCELLED}),
    State.IMPORTING: frozenset({State.IDLE, State.FAILED}),
    State.FAILED: _BEGIN,
    State.CANCELLED: _BEGIN,
}


class StateMachine:
    """Knows where it is and tells one listener when that changes."""

    def __init__(self, onChange: Callable[[State], None]) -> None:
        self.current = State.IDLE
        self._onChange = onChange

    def moveTo(self, state: State) -> None:
        if state not in _NEXT[self.current]:
            raise RuntimeError(f"A detection cannot go from {self.current.value} to {state.value}.")
        self.current = state
        self._onChange(state)
