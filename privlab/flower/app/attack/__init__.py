"""A Flower app whose server attacks: `flwr run` it as it is."""
