"""Sweeps of a judge's prompt and settings."""
