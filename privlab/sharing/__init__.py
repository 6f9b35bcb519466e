"""What leaves a client: gradients and model updates."""
