"""Honest numbers: data sets by subject, metrics, thresholds from healthy scans, one table."""
