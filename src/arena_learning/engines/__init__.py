"""Engines: how a contestant answers."""
