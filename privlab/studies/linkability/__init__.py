"""Understanding deanonymization in federated learning (Orekondy et al. 2018): whose update is it?"""
