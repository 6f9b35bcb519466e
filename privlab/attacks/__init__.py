"""One file per attack family. Each attack carries its `ThreatModel`."""

from privlab.attacks import (
    gradient_extraction,
    label_inference,
    noisy_extraction,
    text_extraction,
    transmission,
    trap_weights,
)
from privlab.attacks.threat import AXES, ThreatModel

THREATS: tuple[ThreatModel, ...] = (
    gradient_extraction.THREAT,
    trap_weights.THREAT,
    transmission.THREAT,
    text_extraction.THREAT,
    noisy_extraction.THREAT,
    label_inference.THREAT,
)

__all__ = [
    "AXES",
    "THREATS",
    "ThreatModel",
    "gradient_extraction",
    "label_inference",
    "noisy_extraction",
    "text_extraction",
    "transmission",
    "trap_weights",
]
