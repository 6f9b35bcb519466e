"""One file per attack family. Each attack carries its `ThreatModel`."""

from privlab.attacks import (
    attribute_inference,
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
    side_channel,
    text_extraction,
    transmission,
    trap_weights,
)
from privlab.attacks._matching import LocalTraining, Reconstruction
from privlab.attacks.threat import AXES, ThreatModel

THREATS: tuple[ThreatModel, ...] = (
    gradient_extraction.THREAT,
    trap_weights.THREAT,
    transmission.THREAT,
    text_extraction.THREAT,
    noisy_extraction.THREAT,
    label_inference.THREAT,
    deep_leakage.THREAT,
    inverting_gradients.THREAT,
    *decoder.THREATS,
    *membership.THREATS,
    *linkability.THREATS,
    *attribute_inference.THREATS,
    model_extraction.THREAT,
    side_channel.THREAT,
    *evasion.THREATS,
)

__all__ = [
    "AXES",
    "THREATS",
    "LocalTraining",
    "Reconstruction",
    "ThreatModel",
    "attribute_inference",
    "decoder",
    "deep_leakage",
    "evasion",
    "gradient_extraction",
    "inverting_gradients",
    "label_inference",
    "linkability",
    "membership",
    "model_extraction",
    "noisy_extraction",
    "side_channel",
    "text_extraction",
    "transmission",
    "trap_weights",
]
