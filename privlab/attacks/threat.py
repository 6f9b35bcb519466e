"""What an adversary is and can do."""

import tomllib
from dataclasses import dataclass
from importlib import resources

from privlab import checks

AXES = {
    "time": ("train", "test"),
    "position": ("client", "server", "off-path"),
    "access": ("white-box", "black-box"),
    "security": ("malicious", "honest-but-curious"),
}


@dataclass(frozen=True)
class ThreatModel:
    """The four axes of "Zen", section 4, what the attack reads, and the capability in one sentence.

    Raises ValueError for a value that its axis does not have.
    """

    attack: str
    time: str
    position: str
    access: str
    security: str
    reads: str
    capability: str
    source: str

    def __post_init__(self) -> None:
        for axis, allowed in AXES.items():
            checks.one_of(axis, getattr(self, axis), allowed)


def threats(file: str = "") -> tuple[ThreatModel, ...]:
    """The threat models of the attacks in a file of this folder, `trap_weights` for one, as threats.toml has them.

    Without a name those of all files, in the order of threats.toml.
    """
    held = tomllib.loads(resources.files("privlab.attacks").joinpath("threats.toml").read_text("utf-8"))
    return tuple(ThreatModel(**each) for name in ([file] if file else held) for each in held[name])
