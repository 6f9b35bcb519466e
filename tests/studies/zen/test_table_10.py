"""Table 10: what a yes or a no means, and how a printed one is compared with it."""

import pytest
import torch

from privlab import studies
from privlab.studies.bench import verdict
from privlab.studies.bench.compare import compare
from privlab.studies.bench.study import cell_key
from privlab.studies.zen import _membership, table_10

CPU = torch.device("cpu")
SETS = ("digits", "mnist", "patches", "cifar10")
GAINS = {  # by attack: what its study measures where it gains so much
    "decoder": lambda gain: {"psnr": 12.5 + gain, "mean_image_psnr": 12.5, "accuracy": 0.9},
    "dlg": lambda gain: {"success_rate": gain},
    "membership": lambda gain: {"attack_accuracy": 0.5 + gain, "model_accuracy": 0.6},
}


@pytest.fixture
def made(monkeypatch):
    """A function that sets what the three attacks gain before and after, and returns a list of what is then asked."""
    asked = []
    table_10._measured.cache_clear()

    def set_up(attack, before, after):
        def run(cell, seed, device):
            asked.append((cell_key(cell), seed, device))
            plain = [table_10.setting(each, False) for each in table_10.cells(cell["data"]) if each["attack"] == attack]
            return GAINS[attack](before if cell in plain else after)

        monkeypatch.setitem(table_10.RUN, attack, run)
        return asked

    yield set_up
    table_10._measured.cache_clear()


def cell(attack, adaptation="larger_batch", name="digits"):
    return {"data": name, "adaptation": adaptation, "attack": attack}


@pytest.mark.parametrize(
    ("attack", "before", "after", "said"),
    [
        ("decoder", 8.0, 4.0, 1.0),  # a half is left
        ("decoder", 8.0, 4.1, 0.0),
        ("decoder", 8.0, -1.0, 1.0),
        ("decoder", 2.9, 0.0, None),  # nothing to lose
        ("dlg", 1.0, 0.5, 1.0),
        ("dlg", 1.0, 0.625, 0.0),
        ("dlg", 0.25, 0.125, 1.0),
        ("dlg", 0.125, 0.0, None),
        ("membership", 0.25, 0.125, 1.0),
        ("membership", 0.25, 0.14, 0.0),
        ("membership", 0.25, 0.3, 0.0),
        ("membership", 0.02, -0.02, None),
    ],
)
def test_an_adaptation_mitigates_where_half_of_the_gain_or_less_is_left(attack, before, after, said, made):
    made(attack, before, after)
    found = table_10.run(cell(attack), 0, CPU)
    assert found["gain_before"] == pytest.approx(before)
    assert found["gain"] == pytest.approx(after)
    assert found.get("mitigates") == said
    assert set(found) <= set(studies.get("zen/table-10").metrics)
    assert ("accuracy" in found) == ("accuracy_before" in found) == (attack != "dlg")


@pytest.mark.parametrize("attack", table_10.ATTACKS)
def test_a_setting_that_several_adaptations_share_is_measured_once_a_draw(attack, made):
    asked = made(attack, 10.0, 1.0)
    cells = [cell(attack, adaptation) for adaptation in table_10.ADAPTATIONS]
    for each in cells:
        table_10.run(each, 0, CPU)
    wanted = {cell_key(table_10.setting(each, adapted)) for each in cells for adapted in (False, True)}
    assert sorted(key for key, _, _ in asked) == sorted(wanted)
    count = len(asked)
    table_10.run(cells[0], 1, CPU)
    assert [seed for _, seed, _ in asked[count:]] == [1, 1]


def test_secure_aggregation_leaves_the_finished_model_as_it_was(made):
    asked = made("membership", 0.25, 0.0)
    found = table_10.run(cell("membership", "secure_aggregation"), 0, CPU)
    assert found["gain"] == found["gain_before"]
    assert found["mitigates"] == 0.0
    assert len(asked) == 1


@pytest.mark.parametrize("attack", table_10.ATTACKS)
@pytest.mark.parametrize("name", SETS)
def test_an_adaptation_changes_what_it_says_and_nothing_else(attack, name):
    for adaptation, changes in table_10.ADAPTATIONS.items():
        before, after = (table_10.setting(cell(attack, adaptation, name), adapted) for adapted in (False, True))
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        assert changed == set(changes[attack][True])
        assert (changed == set()) == ((adaptation, attack) == ("secure_aggregation", "membership"))


def test_the_gains_are_those_of_the_attacks_own_study(monkeypatch):
    small = {**_membership.BASE, "images": 60, "epochs": 1, "conv": 4}
    monkeypatch.setattr(_membership, "BASE", small)
    table_10._measured.cache_clear()
    own = cell("membership", "deeper_model")
    found = table_10.run(own, 0, CPU)
    for adapted, ending in ((False, "_before"), (True, "")):
        setting = table_10.setting(own, adapted)
        assert setting == {
            "data": "digits",
            **small,
            "attack": "mirrored",
            "private": "patches",
            "depth": 2 + 2 * adapted,
        }
        theirs = _membership.run(setting, 0, CPU)
        assert found[f"gain{ending}"] == pytest.approx(theirs["attack_accuracy"] - 0.5)
        assert found[f"accuracy{ending}"] == theirs["model_accuracy"]
    table_10._measured.cache_clear()


def answered(attack, adaptation, *answers, name="mnist"):
    """Rows of one cell, in each draw of which the answer is yes (1), no (0) or none (None)."""
    found = [{"gain": 1.0, **({} if each is None else {"mitigates": each})} for each in answers]
    return [{"cell": cell(attack, adaptation, name), "seed": seed, "metrics": each} for seed, each in enumerate(found)]


@pytest.mark.parametrize(
    ("answers", "yes", "no"),
    [
        ((1.0, 1.0, 1.0), f"{verdict.AGREES} (reduced)", verdict.NOT_AT_SCALE),
        ((0.0, 0.0, 0.0), verdict.NOT_AT_SCALE, f"{verdict.AGREES} (reduced)"),
        ((None, None, None), verdict.NOT_AT_SCALE, verdict.NOT_AT_SCALE),
        ((1.0, 0.0, 1.0), f"{verdict.DEPENDS} (reduced)", f"{verdict.DEPENDS} (reduced)"),
        ((1.0, 1.0, None), f"{verdict.AGREES} (reduced, two draws)", verdict.NOT_AT_SCALE),
        ((1.0,), f"{verdict.AGREES} (reduced, one draw)", verdict.NOT_AT_SCALE),
        ((), verdict.NOT_RUN, verdict.NOT_RUN),
    ],
)
def test_a_printed_yes_or_no_agrees_differs_or_cannot_be_told(answers, yes, no):
    places = {1.0: ("decoder", "larger_batch"), 0.0: ("membership", "larger_batch")}
    rows = [row for attack, adaptation in places.values() for row in answered(attack, adaptation, *answers)]
    for printed, (attack, adaptation) in places.items():
        (line,) = [
            line
            for line in compare("zen/table-10", rows=rows).lines
            if line.metric == "mitigates" and line.cell == cell(attack, adaptation, "mnist")
        ]
        assert line.item.value == printed
        assert line.verdict == (yes if printed else no)
        assert line.speaks


def test_no_cell_is_at_the_papers_scale():
    for each in table_10.cells("mnist"):
        assert table_10.scale(each, None)
    assert table_10.scale(cell("dlg"), None) == "12 of 64 filters, 50 of 300 iterations"


def test_grey_digits_are_a_stand_in():
    rows = [row for name in table_10.ADAPTATIONS for row in answered("dlg", name, 1.0, 1.0, 1.0, name="digits")]
    lines = [line for line in compare("zen/table-10", rows=rows).lines if line.cell["data"] == "digits" and line.item]
    assert {line.word for line in lines} == {verdict.STAND_IN}


def test_all_twenty_four_answers_are_read():
    printed = studies.get("zen/table-10").reported
    assert len(printed) == 24
    assert sum(item.value for item in printed) == 17
    assert {item.printed.metric for item in printed} == {f"mitigates_{attack}" for attack in table_10.ATTACKS}


def test_members_of_digits_are_told_on_colour_images():
    load = studies.get("zen/table-10")
    assert load.others(cell("membership", name="mnist")) == ("cifar10",)
    assert load.others(cell("decoder", name="mnist")) == load.others(cell("membership", name="cifar10")) == ()
    assert table_10.setting(cell("membership", name="mnist"), False)["private"] == "cifar10"
    assert table_10.setting(cell("membership", name="cifar10"), False)["private"] == "same"
