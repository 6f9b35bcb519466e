"""Membership inference beyond "Zen": attacks, positions, and what an attack shows of ε. The sentences are ours."""
