"""Studies of questions that the talk "Adversarial interference" (Usynin 2022) asks and leaves open."""
