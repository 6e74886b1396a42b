"""The only training loop: draw, step, log, save; stops by count, by the clock or when cancelled, and resumes exactly.

The random numbers of iteration i depend on (seed, i) alone: a run that was cut and resumed gives the weights of one that
was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..errors import Cancelled, SettingsError, TrainingError
from ..files import write_atomically
from ..progress import ITERATION, Progress, silent

CHECKPOINT = "checkpoint.pt"
_ALMOST = 0.99  # of the time: the iteration at work is not done yet, and 1 would say that it is
AVERAGED = 0.998  # what stays of a running mean after an iteration


class Logger(Protocol):
    """Where scalars go; TensorBoard's SummaryWriter fits."""

    def add_scalar(self, tag: str, value: float, step: int) -> Any:
        """Note `value` under `tag` at iteration `step`."""


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """iterations: total, resumed ones included; save_every, log_every: iterations between.

    max_minutes: since `begun`, so that what comes before the first iteration counts, too.
    """

    iterations: int
    seed: int = 0
    max_minutes: float | None = None
    save_every: int = 500
    log_every: int = 50
    begun: float = field(default_factory=time.monotonic, compare=False)

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise SettingsError(f"at least 1 iteration is needed, got {self.iterations}")
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise SettingsError(f"the time must be above 0 minutes, got {self.max_minutes:g}")

    @property
    def deadline(self) -> float:
        """When to stop, on `time.monotonic`'s clock."""
        return float("inf") if self.max_minutes is None else self.begun + 60 * self.max_minutes


@dataclass(frozen=True, slots=True)
class State:
    """Everything a checkpoint holds: networks and optimisers by name, and what they were built from."""

    nets: dict[str, nn.Module]
    optimisers: dict[str, torch.optim.Optimizer]
    settings: dict[str, Any]


def run(
    state: State,
    step: Callable[[torch.Generator], dict[str, torch.Tensor]],
    settings: LoopSettings,
    *,
    folder: Path,
    logger: Logger,
    inspect: Callable[[int], object],
    progress: Progress = silent,
) -> int:
    """Call `step` until done; returns the number of iterations the weights have seen: one more than before at
    least, however short the time, unless all are done.

    step: gets the iteration's random generator, updates the weights, returns scalars to log (on any device).
    inspect: called at each save with the iteration: validation figures and pictures.
    """
    iteration = load(state, folder / CHECKPOINT) if (folder / CHECKPOINT).exists() else 0
    first, started = iteration, time.monotonic()

    def tell() -> None:
        begun, done = first / settings.iterations, iteration / settings.iterations
        by_clock = (time.monotonic() - started) / max(settings.deadline - started, 1e-9)
        by_clock = begun + (1 - begun) * min(by_clock, _ALMOST)
        progress(max(done, by_clock), f"{ITERATION} {iteration} of {settings.iterations}")  # whichever ends the call

    try:
        tell()
        while iteration < settings.iterations and (iteration == first or time.monotonic() < settings.deadline):
            scalars = step(generator_of(settings.seed, iteration))
            iteration += 1
            tell()
            if iteration % settings.log_every == 0:
                _log(logger, scalars, iteration)
            if iteration % settings.save_every == 0:
                save(state, iteration, folder / CHECKPOINT)
                inspect(iteration)
    except (Cancelled, KeyboardInterrupt):
        save(state, iteration, folder / CHECKPOINT)
        raise
    save(state, iteration, folder / CHECKPOINT)
    return iteration


def averaged(network: nn.Module) -> AveragedModel:
    """A running mean of a network's weights and BatchNorm statistics: steadier than the weights of any one iteration."""
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGED), use_buffers=True)


def generator_of(seed: int, iteration: int) -> torch.Generator:
    """The random numbers of one iteration."""
    return torch.Generator().manual_seed(seed * 1_000_000_007 + iteration)


def steps_done(optimiser: torch.optim.Optimizer) -> int:
    """Updates it has made, those of a resumed run's earlier parts included."""
    return max((int(state["step"]) for state in optimiser.state.values()), default=0)


def slow_down(optimiser: torch.optim.Optimizer, rate: float, iterations: int) -> None:
    """Set the rate of its next update, as `rate_at` says."""
    for group in optimiser.param_groups:
        group["lr"] = rate_at(min(steps_done(optimiser), iterations), rate, iterations)


def rate_at(iteration: int, rate: float, iterations: int) -> float:
    """`rate` for two thirds of all iterations, then straight down to 0: the last figures stop jumping.

    So a run ends where it was told to: it is resumed with the same number of iterations.
    """
    return rate * min(1.0, 3 * (1 - iteration / iterations))


def save(state: State, iteration: int, path: Path) -> None:
    """Write the checkpoint under a temporary name, then move it into place."""
    content = {
        "iteration": iteration,
        "settings": state.settings,
        "nets": {name: net.state_dict() for name, net in state.nets.items()},
        "optimisers": {name: optimiser.state_dict() for name, optimiser in state.optimisers.items()},
    }
    with write_atomically(path) as temporary:
        torch.save(content, temporary)


def load(state: State, path: Path) -> int:
    """Fill `state` from a checkpoint made with the same settings; returns its iteration. Raises TrainingError."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)  # tensors and plain values only
        differing = sorted(_differences(content["settings"], state.settings))
        if differing:
            raise TrainingError(f"{path} was made with other settings ({'; '.join(differing)}); use another --out folder.")
        for name, net in state.nets.items():
            net.load_state_dict(content["nets"][name])
        for name, optimiser in state.optimisers.items():
            optimiser.load_state_dict(content["optimisers"][name])
        return int(content["iteration"])
    except TrainingError:
        raise
    except Exception as error:  # torch.load reports damage as many different types
        raise TrainingError(f"{path} is no usable checkpoint ({type(error).__name__}); delete it to start again.") from error


def _differences(stored: dict[str, Any], wanted: dict[str, Any]) -> Iterable[str]:
    for key in stored.keys() | wanted.keys():
        there, asked = stored.get(key), wanted.get(key)
        if there == asked or (_is_empty(there) and _is_empty(asked)):
            continue
        if key == "start_from":
            yield f"start_from: {_model(there)} there, {_model(asked)} asked"
        else:
            yield f"other {key}" if isinstance(asked, dict) else f"{key}: {there} there, {asked} asked"


def _is_empty(value: object) -> bool:
    return value is None or value in ({}, ())


def _model(origin: dict[str, str] | None) -> str:
    """Its name, and of its SHA-256 what tells it from another of that name."""
    return f"{origin['name']} ({origin['sha256'][:8]})" if origin else "no model"


def _log(logger: Logger, scalars: dict[str, torch.Tensor], iteration: int) -> None:
    for name, value in scalars.items():
        number = float(value)
        if number != number:
            raise TrainingError(f"{name} became NaN at iteration {iteration}; start again with another --seed and --out.")
        logger.add_scalar(f"train/{name}", number, iteration)
