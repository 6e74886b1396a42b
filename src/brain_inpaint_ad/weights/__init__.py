"""Models that ship with the package: safetensors and, beside each, its card."""
