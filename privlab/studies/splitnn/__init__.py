"""Practical defences against model inversion attacks for split neural networks (Titcombe et al. 2021)."""
