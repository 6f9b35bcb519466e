"""Cases of what each attack achieves where nothing stops it."""

from privlab.studies.talk import attacks
from tests.studies.sentences import wide
from tests.studies.talk.cases import about

STUDY, GAIN = "talk/attacks", "attack_success"
FOOLING = {name: {"attack": "evasion", "epsilon": 0.1, "method": name} for name in attacks.EVASIONS[1:]}
STUCK = {"attack": "sticker", "side": 5}
NOISES = ({"attack": "evasion", "epsilon": 0.1, "method": "noise"}, {**STUCK, "method": "noise"})
LYING = {name: {"attack": name, "malicious": 4} for name in attacks.LYING[:3]}
UPDATES = {
    f"{count} liar{'s' * (count > 1)}": {"attack": "sign_flipping", "malicious": count} for count in attacks.LIARS
}
BACKDOORS = {name: {"attack": name, "share": 0.02} for name in ("backdoor", "model_replacement")}
TIMED = {name: {"attack": "side_channel", "method": name} for name in attacks.TIMED}


def asked(queries):
    return {name: {"attack": "extraction", "method": name, "queries": queries} for name in attacks.ANSWERS}


CASES = [
    about(
        STUDY,
        "Attacker modifies inputs at test time",
        {**FOOLING, "sticker": {**STUCK, "method": "learnt"}},
        (GAIN, 0.42, 0.38, wide(0.41, 0.4)),
        *((cell, {GAIN: 0.3}) for cell in NOISES),
        baseline=0.05,
    ),
    about(
        STUDY,
        "Attacker submits updates",
        LYING,
        (GAIN, 0.22, 0.205, wide(0.215, 0.21)),
        baseline=0.2,
    ),
    about(
        STUDY,
        "A lie about updates costs more",
        UPDATES,
        (GAIN, 0.33, 0.305, wide(0.315, 0.31)),
        ({"attack": "data_poisoning"}, {GAIN: 0.3}),
        baseline=0.3,
    ),
    about(STUDY, "Only small number of datapoints", BACKDOORS, (GAIN, 0.62, 0.58, wide(0.61, 0.6)), baseline=0.1),
    about(
        STUDY,
        "A backdoor costs no accuracy",
        BACKDOORS,
        ("accuracy_attacked", 0.896, 0.88, wide(0.895, 0.89)),
        accuracy=0.9,
    ),
    about(
        STUDY,
        "Attacker only has black-box access",
        asked(238),
        ("fidelity", 0.996, 0.98, wide(0.9925, 0.99)),
        baseline=0.5,
    ),
    about(STUDY, "Answers are worth more", asked(100), (GAIN, 0.82, 0.804, wide(0.815, 0.81)), baseline=0.8),
    about(
        STUDY,
        "using physical machine access",
        {name: cell for name, cell in TIMED.items() if "constant" not in name},
        (GAIN, 0.62, 0.58, wide(0.61, 0.6)),
        baseline=0.35,
    ),
    about(
        STUDY,
        "In constant time the clock tells nothing",
        {name: cell for name, cell in TIMED.items() if "constant" in name},
        (GAIN, 0.3, 0.62, wide(0.59, 0.6)),
        baseline=0.35,
    ),
]
