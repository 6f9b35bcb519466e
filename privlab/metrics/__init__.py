"""How much of the truth an adversary has. Ground truth enters here, and nowhere else."""
