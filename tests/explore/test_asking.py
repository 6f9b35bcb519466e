"""The map that can be asked, on made rows: what it says of a pair is what the sentences of the study say of it."""

import json
import math
import re
from html import unescape

import pytest

from privlab import explore, studies
from privlab.explore import asking, tabling
from privlab.studies.talk import _sentences as sentences
from privlab.studies.talk import defences

STUDY = studies.get("talk/defences")
NUMBERS = {"attack_success": 0.8, "naive": 0.7, "baseline": 0.2, "accuracy": 0.9, "seconds": 2.0, "bytes": 1.0}
GAINS = {  # under the median, by attack: three draws
    "data_poisoning": (0.25, 0.26, 0.24),  # a fifth is left
    "backdoor": (0.7, 0.71, 0.69),
    "model_replacement": (0.32, 0.62, 0.5),  # on both sides of a half
    "ipm": (0.95, 0.96, 0.94),  # more than without a defence
    "alie": (0.85, 0.86, 0.84),  # more, by less than a tenth
}


@pytest.fixture(autouse=True)
def rows(tmp_path, monkeypatch):
    """Every cell alike, but for three under the median, and what DP-SGD costs; evasion gains nothing to begin with."""
    made, checksum = [], STUDY.checksum("digits")[0]
    for cell in STUDY.cells("digits"):
        if (cell["attack"], cell["defence"]) == ("extraction", "pruning"):
            continue
        for seed in range(3):
            metrics = dict(NUMBERS)
            if cell["defence"] == "median":
                metrics["attack_success"] = GAINS.get(cell["attack"], (0.8,) * 3)[seed]
            if cell["defence"] == "dp_sgd":
                metrics["accuracy"] = 0.87
            if (cell["attack"], cell["defence"]) == ("extraction", "dp_sgd"):
                metrics["baseline"] = 0.0  # a larger gain, since the guess is worse
            if cell["attack"] == "evasion":
                metrics["attack_success"] = 0.25
            origin = {"version": STUDY.version, "data_checksum": checksum}
            made.append({"study": STUDY.id, "cell": cell, "seed": seed, "metrics": metrics, "provenance": origin})
    (tmp_path / "talk").mkdir()
    (tmp_path / "talk" / "defences.jsonl").write_text("\n".join(map(json.dumps, made)) + "\n")
    monkeypatch.setenv("PRIVLAB_RESULTS", str(tmp_path))
    asking.matrix.cache_clear()
    yield made
    asking.matrix.cache_clear()


def test_it_names_every_attack_and_every_defence_of_the_study():
    assert tuple(asking.ATTACKS) == defences.ATTACKS
    assert set(asking.DEFENCES) == set(defences.DEFENCES)
    assert set(asking.LYING) == set(defences.LIES)
    assert set(asking.RULES) == set(defences.RULES)
    assert {each for those in asking.SHARED.values() for each in those} == set(asking.DEFENCES)
    assert {each for those in asking.FEARED.values() for each in those} == set(asking.ATTACKS)


def test_a_pair_is_stopped_where_the_studys_own_sentences_say_so(rows):
    table, found = studies.Table(rows), explore.matrix()
    for (attack, defence), entry in found.items():
        assert entry.reason == defences.reason(attack, defence)
        assert entry.stopped == studies.told(sentences.left(table, attack, defence)), (attack, defence)
        assert bool(entry.draws) == (not entry.reason and (attack, defence) != ("extraction", "pruning"))
        gains = table.gains("attack_success", *({"attack": attack, "defence": each} for each in ("none", defence)))
        assert entry.opens == studies.told(gains, 0.1), (attack, defence)  # no guess is better under a defence here
    answers = [found[attack, "median"].stopped for attack in (*list(GAINS)[:3], "evasion")]
    assert answers == [True, False, "cannot tell", None]
    assert found["data_poisoning", "median"].left == pytest.approx(0.05 / 0.6)
    assert math.isnan(found["evasion", "median"].left)
    assert found["backdoor", "median"].metrics["attack_success"] == pytest.approx(0.7)


def numbers(frame):
    """Those in the picture, line by line."""
    texts = re.findall(r'<text x="(\d+)" y="(\d+)">([^<]+)</text>', frame.plot)
    lines = {}
    for _, y, said in sorted(texts, key=lambda each: (int(each[1]), int(each[0]))):
        lines.setdefault(y, []).append(said)
    return {name: rest for name, *rest in lines.values()}


def test_what_costs_more_than_one_can_afford_is_left_out_and_named():
    cheap, dear = (explore.ask("updates", "a client", cost) for cost in ("a point of accuracy", "five points"))
    assert "DP-SGD" not in numbers(cheap)
    assert cheap.numbers["left out as too dear"] == "DP-SGD"
    assert numbers(dear)["DP-SGD"] == ["80"] * 7 + ["25", "80", "87", "2.0"]
    assert dear.numbers["left out as too dear"] == "nothing"
    assert cheap.numbers["data poisoning"] == ("median", "25% (70%)", "20%")
    assert cheap.numbers["ALIE"] == ("none stops it", "80% (70%)", "20%")
    assert cheap.numbers["model replacement"][:2] == ("one cannot tell", "48% (70%)")
    assert cheap.numbers["evasion"][0] == "nothing to stop"
    assert "data poisoning: median, 25% (70%)" in cheap.alt


def test_of_sums_no_rule_sees_an_update_and_a_lie_passes_as_it_is():
    shown = explore.ask("sums", "a client", "anything")
    assert numbers(shown)["median"][:9] == ["–"] * 9
    assert numbers(shown)["secure sum"] == numbers(explore.ask("updates", "a client", "anything"))["none"]
    assert shown.numbers["– the server sees no single update"].startswith("median, trimmed mean")
    read = explore.ask("sums", "a curious server", "anything")
    assert numbers(read)["secure sum"][:3] == ["80"] * 3
    assert numbers(read)["DP-SGD"][:3] == ["–", "–", "80"]


def test_a_bar_is_as_high_as_what_is_left_of_the_gain_and_of_the_verdicts_colour():
    plot = explore.ask("updates", "a client", "anything").plot
    line = asking.TOP + asking.SIDE * 1
    bars = {colour: path for path, colour in re.findall(r'<path d="([^"]+)" fill="([^"]+)"', plot)}
    full = asking.SIDE - 2
    assert f"M{asking.NAMES + 1} {line + full + 1}v-{round(full * 0.05 / 0.6)}h" in bars["var(--pl-blue)"]
    backdoor = asking.NAMES + 1 + asking.SIDE * 4
    assert f"M{backdoor} {line + full + 1}v-{round(full * 0.5 / 0.6)}h" in bars["var(--pl-accent)"]
    framed = re.search(r'<path d="([^"]+)" fill="none"', plot)[1]
    assert framed.startswith(f"M{backdoor - asking.SIDE} {line + 1}h")
    assert framed.count("M") == 1
    assert f"M{backdoor + asking.SIDE} {line + full + 1}v-{round(full * 0.28 / 0.6)}h" in bars["currentColor"]


def test_what_was_not_measured_is_said_so_and_whoever_has_answers_asks():
    shown = explore.ask("answers", "a client", "anything")
    assert numbers(shown)["pruning"][:3] == ["25", "80", "?"]
    assert shown.numbers == explore.ask("answers", "an outsider", "anything").numbers
    trapped = explore.ask("activations", "a malicious server", "anything")
    assert trapped.numbers["trap weights"][0] == "does not apply"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("secrets", "a client", "anything"), "shared='secrets'.*updates, sums"),
        (("updates", "god", "anything"), "feared='god'.*a curious server"),
        (("updates", "a client", 0.01), "cost=0.01.*a point of accuracy"),
    ],
)
def test_what_cannot_be_asked_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        explore.ask(*call)
    with pytest.raises(ValueError, match="no stored rows on 'mnist'; `privlab run talk/defences`"):
        explore.ask("updates", "a client", "anything", name="mnist")


def test_the_tables_say_of_each_pair_what_the_matrix_says_and_lead_to_its_page():
    matrix = asking.matrix("digits")
    crossed = tabling.crossed(matrix, {"median": "rule.html"}, usual="other.html")
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', crossed)
    attacks, defences_ = (list(dict.fromkeys(names)) for names in zip(*matrix, strict=True))
    assert len(rows) == len(defences_)
    name, cells = rows[defences_.index("median")]
    assert name == '<a href="rule.html">median</a>'
    said = re.findall(r"<td title=\"(.*?)\">(.*?)</td>", cells)
    assert len(said) == len(attacks)
    for sign, attack in (("✓", "data_poisoning"), ("✗", "backdoor"), ("~", "model_replacement"), ("▲", "ipm")):
        assert (
            said[attacks.index(attack)][1]
            == f"{100 * matrix[attack, 'median'].metrics['attack_success']:.0f}&nbsp;{sign}"
        )
    assert said[attacks.index("evasion")][1].endswith("·")
    assert said[attacks.index("inversion")][1] == "–"
    assert matrix["inversion", "median"].reason in unescape(said[attacks.index("inversion")][0])
    reason = matrix["inversion", "median"].reason
    folded = tabling.attack_by_attack(matrix, {}, usual="other.html")
    assert folded.count("<details>") == len(attacks)
    assert unescape(folded).count(reason) == sum(each.reason == reason for each in matrix.values())
    assert '<th scope="row">none</th>' in folded
