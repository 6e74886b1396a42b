"""What a time was measured on."""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import torch

BUSY = 0.25  # load per core from which on others were clearly at work, too


def describe(device: torch.device) -> dict[str, Any]:
    """Plain JSON. load_before: processes that ran or waited in the last minute, None where unknown."""
    return {
        "cpu": cpu_name(),
        "cores": _cores(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "device": str(device),
        "os": platform.platform(),
        "python": platform.python_version(),
        "date": date.today().isoformat(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def is_busy(hardware: dict[str, Any]) -> bool:
    """Whether other programs used the cores when the benchmark began."""
    return bool((hardware["load_before"] or 0.0) > BUSY * hardware["cores"])


def cpu_name() -> str:
    """The model where the system tells it (Linux), else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
