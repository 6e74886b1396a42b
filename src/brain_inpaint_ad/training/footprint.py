"""How much memory a step of training takes, known before it is made: the step is run on tensors that have sizes only."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from ..errors import SettingsError
from ..memory import free_mb
from ..nets.volume_gan import VolumeGan
from .volume_gan import VolumeGanTraining, encoder_step, gan_step, optimisers_of

_BASE_MB = 700.0  # Python, torch and what its libraries keep: measured, rounded up
_SCRATCH = 1.5  # what single operations take beside their results: 1.0 to 1.3, by what oneDNN chooses on a processor
_CUBE_BYTES = 2  # per voxel of the cubes that wait in memory


def check_memory(settings: VolumeGanTraining, steps: tuple[str, ...], cubes: int, device: torch.device) -> None:
    """Raises SettingsError when training would take more memory than is free. cubes: how many there are to learn from."""
    network = settings.network
    parts = [(needed_mb(settings, steps, cubes), free_mb())]
    if device.type == "cuda":  # the cubes wait in the machine's own memory
        free_there = torch.cuda.mem_get_info(device)[0] / 1e6
        parts = [(needed_mb(settings, steps, 0), free_there), (needed_mb(settings, (), cubes), free_mb())]
    if full := [(needed, free) for needed, free in parts if needed > free]:
        needed, free = full[0]
        raise SettingsError(
            f"training with cubes of {network.size}³ voxels, width {network.width} and latent {network.latent} would take "
            f"about {needed:.0f} MB of memory, and {free:.0f} MB are free; choose a smaller --size, --width or --latent."
        )


def needed_mb(settings: VolumeGanTraining, steps: tuple[str, ...], cubes: int) -> float:
    """Peak of a training in MB (1e6 bytes), in float32; steps: of volume_gan.STEPS; none: what waits alone."""
    waiting = cubes * settings.network.size**3 * _CUBE_BYTES / 1e6
    return _BASE_MB + waiting + _SCRATCH * max((_step_mb(settings, part) for part in steps), default=0.0)


@lru_cache
def _step_mb(settings: VolumeGanTraining, part: str) -> float:
    """Networks, optimisers and maps of one step of training."""

    def step() -> None:
        with torch.device("meta"):
            gan = VolumeGan(settings.network)
            batch = settings.batch_gan if part == "gan" else settings.batch_encoder
            volume = torch.empty(batch, 1, *[settings.network.size] * 3)
        optimisers = optimisers_of(part, gan, settings)
        for _ in range(2):  # the optimisers' memory comes with the first
            if part == "gan":
                gan_step(gan, optimisers, volume, settings, torch.Generator())
            else:
                encoder_step(gan, optimisers, volume, refine=part == "refine")

    return peak_mb(step)


def peak_mb(step: Callable[[], object]) -> float:
    """Most memory (1e6 bytes) that tensors made in `step` hold at one time; scratch space of single operations is not in it.

    Everything `step` works on has to be made inside it, on the device "meta": nothing is computed, and nothing allocated.
    """
    live = _Live()
    with live:
        step()
    return live.peak / 1e6


class _Live(TorchDispatchMode):
    """Bytes of all storages that are in use, now and at most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._see, made)
        return made

    def _see(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage not in self._known:
            self._known.add(storage)
            size = storage.nbytes()
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, size)
        return tensor

    def _forget(self, size: int) -> None:
        self.now -= size
