"""Membership inference beyond "Zen": attacks over references, positions, and what an attack shows of ε. Sentences are ours."""
