"""One file per attack family. Each attack carries its `ThreatModel`."""

from privlab.attacks import (
    attribute_inference,
    backdoor,
    bins,
    decoder,
    deep_leakage,
    evasion,
    gradient_extraction,
    inverting_gradients,
    label_inference,
    linkability,
    membership,
    model_extraction,
    noisy_extraction,
    poisoning,
    rank_inversion,
    side_channel,
    span_check,
    text_extraction,
    transmission,
    trap_weights,
)
from privlab.attacks._matching import LocalTraining, Reconstruction
from privlab.attacks.threat import AXES, ThreatModel, threats

THREATS: tuple[ThreatModel, ...] = threats()

__all__ = ["AXES", "THREATS", "LocalTraining", "Reconstruction", "ThreatModel", "attribute_inference", "backdoor"]
__all__ += ["bins", "decoder", "deep_leakage", "evasion", "gradient_extraction", "inverting_gradients"]
__all__ += ["label_inference", "linkability", "membership", "model_extraction", "noisy_extraction", "poisoning"]
__all__ += ["rank_inversion", "side_channel", "span_check", "text_extraction", "transmission", "trap_weights"]
