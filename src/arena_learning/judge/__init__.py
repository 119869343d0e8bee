"""Judges: how the games of a battle get their scores."""
