"""Judges held against labelled pairs."""
