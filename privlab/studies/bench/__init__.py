"""The bench: what a study is, how it is run and stored, and how its numbers and its paper's sentences are judged."""
