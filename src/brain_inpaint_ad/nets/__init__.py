"""Torch modules only: no files, no loops over data, no devices."""
