"""What an honest server reads, beyond the five papers: the rank of a gradient."""
