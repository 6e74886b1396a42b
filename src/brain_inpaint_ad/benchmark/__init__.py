"""How long one brain takes, each way of doing it against the naive loop in the same run (docs/benchmarks)."""
