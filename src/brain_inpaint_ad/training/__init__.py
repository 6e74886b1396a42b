"""Training: one loop (`loop`), one file per method with its settings and its step."""
