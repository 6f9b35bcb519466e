import importlib
import tomllib
from pathlib import Path

import pytest

import privlab.attacks
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


def test_every_threat_model_that_is_written_down_is_carried_by_the_attack_of_that_name():
    written = tomllib.loads(Path(privlab.attacks.__file__).with_name("threats.toml").read_text("utf-8"))
    for name, models in written.items():
        module = importlib.import_module(f"privlab.attacks.{name}")
        carried = getattr(module, "THREATS", None) or [module.THREAT]
        assert [vars(threat) for threat in carried] == models
