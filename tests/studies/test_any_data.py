"""Any study on any data: taken, and then its cells go through, or refused in words before any work."""

import functools
import re

import numpy as np
import pytest
import torch

from privlab import data, studies
from privlab.attacks import linkability as attack
from privlab.data import CATALOGUE, Dataset, Signals, Table, Text
from privlab.studies import _split_learning
from privlab.studies.bench.store import Store
from privlab.studies.bench.study import cell_key
from privlab.studies.beyond import inversion
from privlab.studies.curious import _extraction, detection
from privlab.studies.linkability import _federation, _pictures
from privlab.studies.membership import attacks as member_attacks
from privlab.studies.membership import defences, dp
from privlab.studies.splitnn import _paper as splitnn
from privlab.studies.talk import _defences as talk_defences
from privlab.studies.talk import _federation as talk_federation
from privlab.studies.talk import _readings as talk_readings
from privlab.studies.talk import attacks as talk_attacks
from privlab.studies.talk import dp_sgd as talk
from privlab.studies.zen import _decoder, _gradients, case_study
from tests.studies.kept import forget

CPU = torch.device("cpu")
EMBEDDED_TEXT = ("imdb", "manual")
FEDERATIONS = {f"talk/{study}" for study in ("attacks", "defences", "dp-sgd", "interactions", "scale")}
MULTI = tuple(name for name in CATALOGUE if name.startswith("chestmnist"))


@pytest.fixture(autouse=True)
def _fresh():
    forget()
    yield
    forget()


def refusal(study, name):
    """What a study says of data that it does not take; empty where it takes them."""
    try:
        study.check(name)
    except ValueError as error:
        return str(error)
    return ""


def looks_like(name):
    """A data set of the catalogue as it would come, but for its images, of which there are 1300 of noise."""
    entry = CATALOGUE[name]
    if name == "mitbih":
        beats = torch.rand(1300, 1, 256, generator=torch.Generator().manual_seed(0))
        return Signals(name, "train", beats, torch.arange(1300) % 5, entry.classes, "", "")
    if name in EMBEDDED_TEXT:
        words = tuple(map(str, range(50)))
        return Text(name, "train", torch.zeros(1300, 9).long(), torch.arange(1300) % 2, ("a", "b"), words, "", "")
    channels = 1 if "digits" in (name, entry.stand_in) else 3
    ending = name.rpartition("-")[2]
    side = int(ending) if ending.isdigit() else {"photos": 224, "omniglot": 105}.get(name, 28)
    seeded = torch.Generator().manual_seed(0)
    stripes = torch.randint(0, 256, (1300, channels, side, 1), generator=seeded, dtype=torch.uint8)
    classes = entry.classes or tuple(map(str, range(10)))
    labels = torch.arange(1300) % len(classes)
    if name in MULTI:
        labels = torch.zeros(1300, len(classes)).long()
    return Dataset(name, "train", stripes.expand(-1, -1, -1, side), labels, classes, "publisher", "")


@pytest.fixture
def catalogue(monkeypatch):
    """Every data set of the catalogue as if it were here; s is not tuned, which takes a second a set."""
    monkeypatch.setattr(data, "load", lambda name, *_, **__: looks_like(name))
    monkeypatch.setattr(_extraction, "_tuned", lambda name: 0.9)
    few = functools.lru_cache(lambda name, channels, side: [_split_learning.Pictures(*[torch.zeros(300)] * 2, 2)] * 3)
    monkeypatch.setattr(_split_learning, "shares", few)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_study_takes_a_data_set_or_says_why_not(name, catalogue):
    taken = set()
    for study in studies.STUDIES.values():
        if said := refusal(study, name):
            assert re.match(rf"{study.id} (reads|takes|needs) .*{name!r}", said)
            continue
        taken.add(study.id)
        cells = study.cells(name)
        assert cells
        assert len({cell_key(cell) for cell in cells}) == len(cells)
        usual = [cell for own in ("fast", "paper") for d in study.data[own] for cell in study.cells(d)]
        known = {knob for each in usual for knob in each}
        without = {knob for each in usual for knob, value in each.items() if value is None}  # such as no skew at all
        for cell in cells:
            assert cell["data"] == name
            assert set(cell) <= known
            assert {knob for knob, value in cell.items() if value is None} <= without
            assert set(study.others(cell)) <= set(CATALOGUE)
            hash(study.together(cell))
            assert study.large(cell) in (True, False)
    refusing = set(studies.STUDIES) - taken
    if name in EMBEDDED_TEXT:
        assert taken == {"curious/table-3", "beyond/dager"}
    elif name in MULTI:
        assert not taken
    elif name == "mitbih":
        records = {f"membership/{study}" for study in ("attacks", "defences", "dp", "position")}
        assert taken == records | {"talk/attributes"}
    else:
        assert {"curious/table-3", "beyond/dager"} <= refusing
        assert len(refusing) <= 5  # colour alone, a hundred images of a class, labels to be held apart, no data at all


def own(path, count, shape, classes=4, labels=None):
    """A data set of one's own: every class has a pattern, under noise."""
    random = np.random.default_rng(0)
    numbers = np.arange(count) % classes
    images = (random.integers(0, 200, (classes, *shape))[numbers] + random.integers(0, 50, (count, *shape))).astype(
        "u1"
    )
    np.savez(path, train_images=images, train_labels=numbers if labels is None else labels)
    return str(path)


@pytest.fixture
def quick(monkeypatch):
    """Every study as it is, but for its budget: a step or two of each training and each attack."""
    monkeypatch.setattr(_gradients, "ITERATIONS", dict.fromkeys(_gradients.ITERATIONS, 2))
    monkeypatch.setattr(_decoder, "EPOCHS", 1)
    monkeypatch.setattr(_decoder.decoder, "fit", functools.partial(_decoder.decoder.fit, epochs=1, steps=1))
    monkeypatch.setattr(splitnn, "SIZES", {**splitnn.SIZES, "digits": ((860, 1),)})
    monkeypatch.setattr(_split_learning, "JUDGE_STEPS", 1)
    monkeypatch.setattr(case_study, "ITERATIONS", 2)
    monkeypatch.setattr(detection, "MODELS", 2)
    monkeypatch.setattr(inversion, "ITERATIONS", 2)
    monkeypatch.setattr(dp, "STEPS", 2)
    monkeypatch.setattr(defences, "EPOCHS", 1)
    monkeypatch.setattr(member_attacks, "EPOCHS", 1)
    monkeypatch.setattr(defences, "noise", lambda batch, count: 1.0)  # to search for it takes seconds
    monkeypatch.setattr(talk, "EPOCHS", 1)
    monkeypatch.setattr(talk_defences, "EPOCHS", 1)
    monkeypatch.setattr(talk_federation, "EPOCHS", 1)
    monkeypatch.setattr(talk_defences, "STUDENT", {**talk_defences.STUDENT, "epochs": 1})
    monkeypatch.setattr(talk_readings, "STUDENT", {**talk_readings.STUDENT, "epochs": 1})
    monkeypatch.setattr(talk_attacks, "REPEATS", 10)
    monkeypatch.setattr(_federation, "BODY_EXAMPLES", 1)
    monkeypatch.setattr(_pictures, "EPOCHS", 1)
    monkeypatch.setattr(attack, "EPOCHS", 1)
    monkeypatch.setattr(attack, "STEPS", 2)


@pytest.mark.parametrize(
    ("shape", "count", "which"), [((9, 13), 1300, -1), ((12, 10, 3), 500, 0)], ids=["grey", "colour"]
)
def test_cells_of_ones_own_data_go_through_and_are_shown_when_the_data_are_gone(shape, count, which, tmp_path, quick):
    """Of grey images the last cell of each study, which is the most changed; of colour ones the first."""
    name = own(tmp_path / "own.npz", count, shape)
    taken, measured = set(), {}
    for study in studies.STUDIES.values():
        if refusal(study, name):
            continue
        taken.add(study.id)
        cells = [cell for cell in study.cells(name) if not study.large(cell) and cell.get("epoch", 0) == 0]
        cells = [cell for cell in cells if cell.get("iterations", 1) <= 300]
        measured[study.id] = cells[which], study.run(cells[which], 0, CPU)
        assert set(measured[study.id][1]) & set(study.metrics)
    few = {"curious/table-3", "beyond/dager", "membership/audit"}  # of text, or of no data
    few |= {"curious/table-5-cnn"} if len(shape) == 2 else {"beyond/bins", "curious/section-10.2", *FEDERATIONS}
    assert set(studies.STUDIES) - taken == few
    (tmp_path / "own.npz").unlink()
    forget()
    for study_id, (cell, metrics) in measured.items():
        study, store = studies.get(study_id), Store(studies.get(study_id), tmp_path / "results")
        origin = {"version": study.version, "data_checksum": "of the file that is gone"}
        store.add({"cell": cell, "seed": 0, "metrics": metrics, "provenance": origin})
        shown = [row for row in studies.compare(study, store).rows if row["cell"]["data"] == name]
        assert {row["metric"]: row["measured_mean"] for row in shown} == {m: metrics.get(m) for m in study.metrics}


def table(name, *_, **__):
    """Six hundred records of yes and no, as of a table."""
    values = torch.rand(600, 20, generator=torch.Generator().manual_seed(0)).round()
    return Table(name, "train", values, torch.arange(600) % 3, ("a", "b", "c"), tuple("f" * 20), "publisher", "")


@pytest.mark.parametrize("study", [each.id for each in studies.STUDIES.values() if each.takes.kind == "records"])
def test_cells_of_a_table_go_through(study, quick, monkeypatch):
    monkeypatch.setattr(data, "load", table)
    assert not refusal(studies.get(study), "location30")
    cell = studies.get(study).cells("location30")[-1]
    assert set(studies.get(study).run(cell, 0, CPU)) & set(studies.get(study).metrics)


TWO = {"count": 600, "shape": (10, 10), "classes": 2}


@pytest.mark.parametrize(
    ("study", "made", "words"),
    [
        ("zen/table-4", {**TWO, "count": 499}, "needs 500 examples or more; .* holds 499"),
        ("curious/table-6", {**TWO, "count": 199}, "needs 200 examples or more; .* holds 199"),
        ("curious/figure-4", {**TWO, "count": 150}, "needs 200 examples"),  # decoys beside the client's images
        ("curious/figure-10", {**TWO, "count": 150}, "needs a class of 100 images or more; the largest of .* has 75"),
        ("zen/figure-5", TWO, "needs images of 3 classes; .* has 2, of 300, 300 images"),
        ("zen/table-1", {**TWO, "classes": 1}, "needs images of 2 classes; .* has 1, of 600 images"),
        ("zen/case-study", {**TWO, "shape": (8, 8)}, "channels, 9 pixels wide or more; those of .* are 1x8x8"),
        ("curious/table-2", {**TWO, "shape": (7, 40)}, "channels, 8 pixels wide or more; those of .* are 1x7x40"),
        ("curious/table-2", {**TWO, "shape": (8, 257)}, "channels, 256 pixels wide or less; those of .* are 1x8x257"),
        ("curious/table-5-cnn", {**TWO, "shape": (8, 65, 3)}, "channels, 64 pixels wide or less"),
    ],
)
def test_what_a_study_cannot_do_is_said_before_any_work(study, made, words, tmp_path):
    name = own(tmp_path / "own.npz", **made)
    store = Store(studies.get(study), tmp_path)
    with pytest.raises(ValueError, match=f"{study} .*{words}"):
        studies.run(study, data=name, store=store)
    assert not store.path.exists()


def test_copies_do_not_count(tmp_path):
    images = np.repeat(np.random.default_rng(0).integers(0, 256, (60, 8, 8)).astype("u1"), 10, 0)
    np.savez(tmp_path / "own.npz", train_images=images, train_labels=np.arange(600) % 3)
    with pytest.raises(ValueError, match=r"needs 100 different images; .* and 60 without"):
        studies.get("curious/table-2").check(str(tmp_path / "own.npz"))


def test_several_labels_an_image_are_refused():
    made = looks_like("digits")
    several = Dataset(**{**vars(made), "labels": torch.zeros(len(made), 4, dtype=torch.int64)})
    with pytest.raises(ValueError, match="x/y takes images with one label each; those of 'mine' have 4"):
        studies.get("splitnn/table-1").takes.check("x/y", "mine", several)


def test_labels_beyond_the_classes_are_refused():
    made = looks_like("digits")
    with pytest.raises(ValueError, match=r"go from 0 to 9; of 9 classes they go from 0 to 8"):
        studies.get("curious/table-2").takes.check(
            "x/y", "mine", Dataset(**{**vars(made), "classes": made.classes[:9]})
        )


def test_of_two_classes_three_clients_have_none_of_their_own(tmp_path):
    for classes, wanted in ((2, {"untrained", "trained_iid"}), (3, {"untrained", "trained_iid", "trained_non_iid"})):
        name = own(tmp_path / f"{classes}.npz", 600, (10, 10), classes)
        assert {cell["state"] for cell in studies.get("zen/section-5.1").cells(name)} == wanted


def test_sizes_of_ones_own_data_are_those_there_are(tmp_path):
    """A cell that says 350 has 350 images; the digits' own numbers are those of their stored rows."""
    name = own(tmp_path / "own.npz", 600, (10, 10))
    cells = studies.get("splitnn/figure-3").cells(name)
    owners, adversary, _ = (len(part.labels) for part in _split_learning.shares(name, 1, 28))
    assert (owners, adversary) == (360, 150)
    assert [cell["attack_set"] for cell in cells] == [50, 150]
    assert {cell["images"] for cell in cells} == {360}
    assert [cell["attack_set"] for cell in studies.get("splitnn/figure-3").cells("digits")] == [50, 150, 350]


def test_an_adversarys_own_data_are_missed_before_any_work(tmp_path, monkeypatch, capsys):
    """The owners' set is here, the one that the adversary has is not."""

    def load(name, *_, **__):
        if name == "fashion-mnist":
            raise FileNotFoundError("fashion-mnist is not here")
        return looks_like(name)

    monkeypatch.setattr(data, "load", load)
    monkeypatch.setattr(data, "fingerprint", lambda name, *_: (load(name).name, "publisher"))
    store = Store(studies.get("zen/table-4"), tmp_path)
    with pytest.raises(FileNotFoundError, match="fashion-mnist is not here"):
        studies.run("zen/table-4", data="mnist", store=store)
    assert capsys.readouterr().err == ""  # no bar
    units, absent = studies_missing("real", tmp_path)
    # Table 4 on two sets and figure 1, two draws each; SplitNN's figure 1, one; Table 8, its own and CIFAR-10's, three.
    assert absent["fashion-mnist"] == 2 * (2 + 1) + 1 + 3 * (4 + 2)
    assert not [c for unit in units for c, _ in unit.tasks if c.get("prior") == "fashion-mnist"]


def studies_missing(profile, folder):
    from privlab.studies.bench.missing import find

    return find(profile, folder=folder)
