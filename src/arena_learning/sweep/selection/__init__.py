"""Sweeps of a round's data selection and training."""
