import pytest

from privlab.attacks import AXES, THREATS, ThreatModel

GOOD = {
    "attack": "x",
    "time": "train",
    "position": "server",
    "access": "white-box",
    "security": "malicious",
    "reads": "gradient",
    "capability": "y",
    "source": "z",
}


@pytest.mark.parametrize("axis", AXES)
def test_every_axis_refuses_values_that_it_does_not_have(axis):
    with pytest.raises(ValueError, match=f"{axis}='nowhere'"):
        ThreatModel(**{**GOOD, axis: "nowhere"})


def test_every_attack_says_what_it_reads_and_may_do():
    for threat in THREATS:
        assert threat.reads in ("gradient", "update", "activation", "prediction", "timing", "model")
        assert threat.capability.endswith(".")
