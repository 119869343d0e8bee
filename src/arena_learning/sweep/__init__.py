"""Sweeps: which parameters are best, over judges' prompts and over the selection of training data, by Optuna."""
