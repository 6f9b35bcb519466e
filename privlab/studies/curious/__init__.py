"""When the curious abandon honesty: federated learning is not private (Boenisch et al. 2023)."""
