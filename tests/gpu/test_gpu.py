"""What a CUDA card computes is what the CPU computes: every attack, every defence, and a cell of every study.

What networks and DP-SGD draw themselves is drawn on the card, where a seed means something else. `drawn_here` draws it
on the CPU, so that all numbers can be compared; `test_what_is_drawn_on_the_card` is about the draws.
"""

import importlib
import math
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from privlab import data, models, networks, studies
from privlab.attacks import membership
from privlab.defences import crowd, dp_sgd
from privlab.metrics import linkability
from privlab.sharing import federated, predictions
from privlab.studies.bench.measure import exact
from privlab.studies.bench.store import Store
from privlab.studies.bench.study import cell_key
from tests.gpu.alike import apart, metrics_apart
from tests.gpu.imagined import Card
from tests.gpu.pipelines import NEAR, PIPELINES, SAME
from tests.studies.kept import forget
from tests.studies.test_studies import ELSEWHERE, ELSEWHERE_OF, RESULTS, embedded_rows

ROOT = Path(__file__).resolve().parents[2]
CPU, CARD = torch.device("cpu"), torch.device("cuda")
needs_a_card = pytest.mark.gpu

# Studies whose own cells on embedded data take minutes, and the study whose row has a cell of theirs.
BORROWED = {"zen/figure-2": "zen/figure-1", "zen/figure-6": "zen/figure-1"}
ELSEWHERE_RUN = {"defences.encrypted"}  # in processes and ciphertexts, which no card sees; and by an extra's libraries
NO_DEVICE = {"membership/audit"}  # draws Gaussian numbers on the CPU and computes with these
# Of some a cell whose numbers do not hang on a rounding. Without digits of its own a decoder guesses, and so does the
# classifier that names its guesses; of a device that waits there are twenty means, where one that falls a rank takes
# 0.04 of a reduction; membership gains 0.02 over chance in table 10, and is given an answer from 0.03 on.
CHOSEN = {"splitnn/figure-1": {"prior": "same"}, "zen/table-10": {"adaptation": "larger_batch", "attack": "decoder"}}
CHOSEN["linkability/figure-11"] = {"mitigation": "sums", "alpha": 2.0}
CHOSEN["talk/attacks"] = {"attack": "evasion", "method": "noise"}  # and no side channel, which is told by the clock
# Of some the cell and the constants that are run, on the CPU of this machine as well: Python's manual is another one in
# each of its versions, and networks that learn images by heart are others after a rounding (and take minutes).
HERE: dict[str, tuple[dict, dict[str, int]]] = {
    "curious/table-3": ({}, {}),
    "membership/attacks": ({"references": 4}, {"MOST": 4, "EPOCHS": 10}),
    "membership/lira": ({"epochs": 3}, {}),
}
# How far those may lie whose long training turns a rounding into another network (whose image it is, by a whole one):
# some three times the most that was seen on one CPU when each product of a layer was rounded otherwise, by 1.5e-7 of
# its size, in three draws of the first and two of the second.
ROUNDED = {
    "linkability/table-7": {"ap": 0.1, "top5": 0.13, "times_chance": 4.1, "times_random": 3.3, "times_strangers": 2.7},
    "linkability/table-5": {"ap": 0.07, "top1": 0.08, "times_chance": 1.4, "times_random": 1.1, "times_strangers": 1.3},
}
for _each in ROUNDED.values():
    _each["times_chance_at_least"] = _each["times_chance"]
SHARE = 0.05  # how far a metric may lie from the stored one, in shares of its size, where that is more


@pytest.fixture
def drawn_here(monkeypatch):
    """Dropout and the noise of DP-SGD, drawn on the CPU and then moved."""

    def dropout(inputs, p=0.5, training=True, inplace=False):
        if not training or p == 0:
            return inputs
        kept = torch.empty(inputs.shape, dtype=inputs.dtype).bernoulli_(1 - p).div_(1 - p)
        return inputs * kept.to(inputs.device)

    def draw(like, std, random):
        return torch.normal(0.0, std, like.shape, generator=random, dtype=like.dtype).to(like.device)

    monkeypatch.setattr(nn.functional, "dropout", dropout)
    monkeypatch.setattr(dp_sgd, "_draw", draw)
    inner = dp_sgd._noise_generator
    monkeypatch.setattr(dp_sgd, "_noise_generator", lambda _device, seed: inner(CPU, seed))


def cheapest(name):
    """A study's cell that is measured anew, the seed, and the row that is stored of it."""
    study = studies.get(BORROWED.get(name, name))
    rows = embedded_rows(study)
    if name in HERE and not rows:  # of data that are others here; its cells are the same
        rows = [row for row in Store(study, RESULTS).all_rows() if row["provenance"]["data_source"] == "embedded"]
    rows = [row for row in rows if CHOSEN.get(name, {}).items() <= row["cell"].items()]
    row = min(rows, key=lambda r: (r["seed"], r["seconds"], cell_key(r["cell"])))
    return row["cell"], row["seed"], row["metrics"]


def allowed(name):
    """How far a metric of a study may lie from the stored one, where it is more than 0.02 and a share of its size."""
    return {**ELSEWHERE_OF.get(name, ELSEWHERE), **ROUNDED.get(name, {})}


def pipeline(name, device):
    with exact():
        return PIPELINES[name](device)


def pipelines_apart(name, found, wanted):
    drawn = {each: 0.0 for each in wanted if each.startswith(SAME.get(name, ()))} if name in SAME else {}
    return apart(found, wanted, NEAR.get(name, 1e-4), drawn)


# --- on a card ---------------------------------------------------------------------------------------------------


@needs_a_card
@pytest.mark.parametrize("name", PIPELINES)
def test_an_attack_or_a_defence_gives_on_the_card_what_it_gives_on_the_cpu(name, drawn_here):
    wanted = pipeline(name, CPU)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    found = pipeline(name, CARD)
    assert torch.cuda.max_memory_allocated() > before, "nothing was computed on the card"
    assert pipelines_apart(name, found, wanted) == {}


@needs_a_card
@pytest.mark.parametrize("name", studies.STUDIES)
def test_a_cell_of_each_study_gives_on_the_card_what_is_stored(name, drawn_here, monkeypatch):
    forget()
    study = studies.get(name)
    cell, seed, wanted = cheapest(name)
    if name in HERE:
        change, constants = HERE[name]
        room, cell = importlib.import_module(study.run.__module__), {**cell, **change}
        for constant, value in constants.items():
            monkeypatch.setattr(room, constant, value)
        if constants:  # it remembers answers under others
            monkeypatch.setattr(room, "_answers", room._answers.__wrapped__)
        wanted = study.run(cell, seed, CPU)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    with exact():
        found = study.run(cell, seed, CARD)
    assert (torch.cuda.max_memory_allocated() > before) == (name not in NO_DEVICE), "was it computed on the card?"
    assert metrics_apart(found, wanted, allowed(name), SHARE) == {}, cell


@needs_a_card
def test_what_is_drawn_on_the_card():
    """The noise of DP-SGD has its spread, and a seed gives it again; a network's dice leave the card's generator."""
    some = data.load("digits").sample(20, 0)
    images, labels = some.images.to(CARD), some.labels.to(CARD)
    model = models.fully_connected(images.shape[1:], 10, widths=(300,), seed=0).to(CARD)
    how = {"clip": 0.5, "seed": 1}
    plain = dp_sgd.gradient(model, images, labels, noise=0.0, **how)
    one, again = (dp_sgd.gradient(model, images, labels, noise=2.0, **how) for _ in range(2))
    other = dp_sgd.gradient(model, images, labels, noise=2.0, clip=0.5, seed=2)
    assert all(torch.equal(one[name], again[name]) for name in one)
    noise, unlike = (torch.cat([(each[n] - plain[n]).flatten() for n in each]).double() for each in (one, other))
    std, count = 2.0 * 0.5 / 20, len(noise)
    assert abs(noise.mean()) < 5 * std / math.sqrt(count)
    assert noise.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * count))
    assert abs((noise * unlike).mean()) < 5 * std**2 / math.sqrt(count)
    state = torch.cuda.get_rng_state()
    with networks.dice(model, 7):
        first = nn.functional.dropout(images)
    with networks.dice(model, 7):
        assert torch.equal(nn.functional.dropout(images), first)
    assert torch.equal(torch.cuda.get_rng_state(), state)


@needs_a_card
def test_a_convolution_of_a_study_is_not_rounded_to_ten_bits():
    random = torch.Generator().manual_seed(0)
    images, weight = torch.rand(8, 32, 16, 16, generator=random), torch.randn(32, 32, 3, 3, generator=random)
    wanted = nn.functional.conv2d(images.double(), weight.double())
    with exact():
        found = nn.functional.conv2d(images.to(CARD), weight.to(CARD)).cpu().double()
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


@needs_a_card
def test_federated_training_on_the_card_ends_where_the_cpus_does():
    some = data.load("digits").sample(60, 0)
    made = []
    for device in (CPU, CARD):
        model = models.lenet(some.images.shape[1:], 10, seed=0).to(device)
        clients = [
            federated.Client(some.images[part].to(device), some.labels[part].to(device))
            for part in (slice(0, 30), slice(30, 60))
        ]
        with exact():
            trained = federated.fed_avg(model, clients, rounds=2, batch=10, lr=0.05, seed=1)
        assert networks.device(trained).type == device.type
        made.append({name: each.detach() for name, each in trained.named_parameters()})
    assert apart(made[1], made[0], 1e-3) == {}


@needs_a_card
def test_the_races_run_beside_a_card():
    """Most are about one thread of a CPU, and compute there: a card must not get in their way."""
    command = [sys.executable, "benchmarks", "--quick"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()[2:]
    assert len(rows) > 20
    assert sum("-cuda " in row for row in rows) == 8, "races of the cosine attack are run on the card as well"


# --- on any machine: the tests above can fail, and leave nothing out ------------------------------------------------


def public_modules(room):
    package = importlib.import_module(f"privlab.{room}")
    return {f"{room}.{each.name}" for each in pkgutil.iter_modules(package.__path__) if each.name[0] != "_"}


def test_every_attack_and_every_defence_has_a_pipeline():
    assert set(PIPELINES) == (public_modules("attacks") | public_modules("defences")) - {
        "attacks.threat",
        *ELSEWHERE_RUN,
    }
    assert NEAR.keys() | SAME.keys() <= PIPELINES.keys()


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_is_alike_with_itself_and_not_with_another_seed_of_it(name, drawn_here):
    """What is drawn on the CPU is drawn there by the fixture as it is without, and nothing is left to chance."""
    found = pipeline(name, CPU)
    assert pipelines_apart(name, pipeline(name, CPU), found) == {}
    assert all(torch.as_tensor(each).numel() for each in found.values())
    floats = [each for each in found if torch.as_tensor(found[each]).is_floating_point()]
    for each in floats:
        wrong = {**found, each: torch.as_tensor(found[each]) * 1.2 + 0.01}
        assert set(pipelines_apart(name, wrong, found)) == {each}
    for each in SAME.get(name, ()):
        (first, *_) = (other for other in found if other.startswith(each))
        last = torch.as_tensor(found[first]).clone().flatten()
        last[-1] += 1e-6
        assert pipelines_apart(name, {**found, first: last.view_as(found[first])}, found)


@pytest.mark.parametrize("name", ["membership/defences", "talk/dp-sgd", "linkability/table-4", "curious/table-5"])
def test_the_draws_of_the_fixture_are_those_of_the_cpu(name, drawn_here):
    """On the CPU a study with dropout, or with DP-SGD, gives with it what is stored, which was measured without."""
    rows = embedded_rows(studies.get(name))
    wanted = {"membership/defences": {"adaptation": "dropout"}, "talk/dp-sgd": {"noise": 0.3, "attack": "extraction"}}
    row = next(r for r in rows if wanted.get(name, {}).items() <= r["cell"].items() and r["seed"] == 0)
    found = studies.get(name).run(row["cell"], 0, CPU)
    assert metrics_apart(found, row["metrics"], {}, 0.02) == {}


@pytest.mark.parametrize("name", studies.STUDIES)
def test_the_row_of_each_study_can_be_told_from_another(name):
    cell, seed, wanted = cheapest(name)
    assert cell_key(cell) in {cell_key(each) for each in studies.get(name).cells(cell["data"])}
    assert seed == 0
    most = allowed(name)
    assert metrics_apart(dict(wanted), wanted, most, SHARE) == {}
    for each, value in wanted.items():
        limit = max(most.get(each, 0.02), SHARE * abs(value))
        wrong = metrics_apart({**wanted, each: value + 1.01 * limit}, wanted, most, SHARE)
        assert set(wrong) == {each} - {"seconds"}
    assert metrics_apart({}, wanted, most, SHARE).keys() == wanted.keys() - {"seconds"}


@pytest.mark.parametrize("name", studies.STUDIES)
def test_every_study_computes_where_it_is_told_to(name):
    """On the device `meta` nothing can be computed: what ends all the same has left its device out of account."""
    cell, seed, _ = cheapest(name)
    if name in NO_DEVICE:
        studies.get(name).run(cell, seed, torch.device("meta"))
        return
    with pytest.raises((RuntimeError, NotImplementedError), match=r"(?i)meta"):
        studies.get(name).run(cell, seed, torch.device("meta"))


def test_apart_says_what_differs():
    one = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([1, 2]), "c": 3.0}
    assert apart(one, dict(one), 1e-6) == {}
    assert apart({**one, "a": torch.tensor([1.0, 2.0 + 1e-6])}, one, 1e-6) == {}
    for name, value in {
        "a": torch.tensor([1.0, 2.0 + 1e-5]),
        "b": torch.tensor([1, 3]),
        "c": 3.0001,
    }.items():
        assert set(apart({**one, name: value}, one, 1e-6)) == {name}
    assert set(apart({**one, "a": torch.tensor([1.0, float("nan")])}, one, 1.0)) == {"a"}
    assert set(apart({**one, "a": torch.tensor([[1.0, 2.0]])}, one, 1.0)) == {"a"}
    assert set(apart({**one, "a": one["a"].double()}, one, 1.0)) == {"a"}
    assert set(apart({**one, "a": one["a"] + 1e-6}, one, 1.0, {"a": 0.0})) == {"a"}
    assert set(apart({"a": one["a"]}, one, 1.0)) == {"b", "c"}
    assert metrics_apart({"a": float("nan")}, {"a": 1.0}, {"a": 9.0}, 1.0).keys() == {"a"}
    assert metrics_apart({"a": float("inf")}, {"a": 1.0}, {"a": 9.0}, 1.0).keys() == {"a"}


def test_answers_networks_and_intervals_follow_their_inputs_to_a_card(tmp_path):
    """On a card that is only imagined: who mixes its tensors with the CPU's is refused there, too."""
    random = torch.Generator().manual_seed(0)
    inputs, labels = torch.rand(40, 1, 4, 4, generator=random), torch.arange(40) % 4
    used, scores = predictions.halves(3, 40, 0), torch.rand(40, 4, generator=random)
    how = {"epochs": 2, "folder": tmp_path, "progress": False}
    one = models.fully_connected((1, 4, 4), 4, widths=(8,), seed=0)

    def both(device):
        x, y = inputs.to(device), labels.to(device)
        first, kept = (predictions.fit_and_ask(lambda _: one, x, y, used, **how) for _ in range(2))
        assert first.device == kept.device == torch.device(device)
        assert torch.equal(first.cpu(), kept.cpu())
        odds, groups = membership.shadow(first[0], y, first[1:], y, used[1:]), crowd.clusters(x, 3, seed=0)
        assert odds.device == groups.device == torch.device(device)
        return first.cpu(), odds.cpu(), groups.cpu(), linkability.interval(scores.to(device), y, draws=50)

    with Card():
        found = both("meta")
        with pytest.raises(RuntimeError, match="beside those of a card"):
            inputs.to("meta") + inputs
        with pytest.raises(RuntimeError, match="draws nothing on a card"):
            torch.rand(3, device="meta", generator=random)
    assert networks.device(one).type == "cpu", "the network that was given is moved"
    for path in tmp_path.iterdir():
        path.unlink()
    wanted = both("cpu")
    assert torch.allclose(found[0], wanted[0], atol=1e-6)
    assert torch.allclose(found[1], wanted[1], atol=1e-3)
    assert torch.equal(found[2], wanted[2])
    assert found[3] == pytest.approx(wanted[3])
