"""Attacks and defences in collaborative learning: share, protect, attack, score."""

__version__ = "0.1.0"
