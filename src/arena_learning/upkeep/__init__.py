"""Upkeep: what rounds that are gone have left behind, and what fills the disk."""
