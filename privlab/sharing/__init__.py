"""What leaves a client: gradients, model updates, and activations."""
