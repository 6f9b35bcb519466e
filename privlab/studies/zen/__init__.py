"""Zen and the art of model adaptation (Usynin et al. 2022)."""
