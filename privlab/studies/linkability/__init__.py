"""Understanding deanonymization in federated learning (Orekondy et al. 2018): its printed numbers; no study yet."""
