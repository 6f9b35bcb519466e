"""The small federation of the talk's studies: who holds what, what liars change, and what a guess gets."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from privlab import runtime
from privlab.attacks import poisoning
from privlab.sharing import federated, predictions
from privlab.studies import Table
from privlab.studies.talk import _federation as federation
from privlab.studies.talk import _lies as lies
from privlab.studies.talk import _readings as readings
from privlab.studies.talk import _sentences as sentences
from privlab.studies.talk import interactions, scale
from privlab.studies.talk._defences import DEFENCES, split_trained
from privlab.studies.talk._federation import Defence, Lie
from tests.studies.sentences import made

CPU, PLAIN = torch.device("cpu"), Defence()


@pytest.fixture(scope="module")
def world():
    return federation.drawn("digits", 0, CPU)


@pytest.fixture(scope="module")
def trained(world):
    return federation.train(world, PLAIN)


def small(seed=0, **how):
    return federation.drawn("digits", seed, CPU, clients=5, each=20, **how)


def weights(model):
    return torch.cat([each.detach().flatten() for each in model.parameters()])


def shares(world):
    """Of each client which share of its images is of each class."""
    return torch.stack([each.labels.bincount(minlength=world.classes) / len(each.labels) for each in world.clients])


# --- who holds what ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [None, 0.5, 0.1])
def test_each_client_has_as_many_images_as_all_others_and_none_of_theirs(skew):
    world = federation.drawn("digits", 1, CPU, skew=skew)
    assert [len(each.labels) for each in world.clients] == [45] * 20
    held = [*(each.images for each in world.clients), world.clean.images, world.public, world.fresh.images]
    every = torch.cat(held).flatten(1)
    source = federation.small("digits").images.flatten(1)
    twice = len(source) - len(source.unique(dim=0))  # what the set itself holds twice
    assert len(every) - len(every.unique(dim=0)) <= twice < 10


def test_clients_mixtures_differ_with_skew_and_not_without():
    """By how far their shares lie from those of all: equal ones differ as samples of 45 do, by the binomial's error."""
    apart = []
    for skew in (None, 0.5, 0.1):
        found = shares(federation.drawn("digits", 0, CPU, skew=skew))
        overall = found.mean(0)
        apart.append(((found - overall) ** 2).sum(1).mean().item())
        if skew is None:
            expected = (overall * (1 - overall)).sum().item() / 45
            assert apart[0] == pytest.approx(expected, rel=0.3)
        else:  # of Dirichlet(a) over ten classes: (1 - 1 / 10) / (10 a + 1), and the sample's error
            assert apart[-1] > 3 * apart[0]
    assert apart[0] < apart[1] < apart[2]


def test_skew_deals_out_the_same_images():
    one, other = (small(skew=skew) for skew in (None, 0.1))
    images = [torch.cat([each.images for each in world.clients]).flatten(1) for world in (one, other)]
    assert torch.equal(*(each[each.sum(1).argsort()].sum(1) for each in images))
    assert torch.equal(one.fresh.images, other.fresh.images)


def test_another_seed_draws_other_clients():
    assert not torch.equal(small(0).clients[0].images, small(1).clients[0].images)
    assert torch.equal(small(1).clients[0].images, small(1).clients[0].images)


# --- training, with and without liars ---------------------------------------------------------------------------------


def test_training_with_no_lie_and_no_defence_is_fedavg_in_which_each_client_counts_once():
    world = small()
    few = federated.Client(world.clients[0].images[:5], world.clients[0].labels[:5])
    world = replace(world, clients=[few, *world.clients[1:]])
    wanted = federated.fed_avg(
        world.model(),
        world.clients,
        rounds=2,
        epochs=2,
        batch=9,
        lr=0.1,
        seed=runtime.derive(0, "training"),
        equal=True,
    )
    found = weights(federation.train(world, DEFENCES["none"], rounds=2))
    assert torch.allclose(found, weights(wanted), atol=1e-5)
    assert (found - weights(world.model())).abs().max() > 0.01


def test_the_federation_learns(world, trained):
    blind = federation.error(world.model(), world)
    assert blind > 0.7
    assert federation.error(trained, world) < 0.15


def test_a_network_without_finite_answers_errs_as_a_guess_does():
    world = small()
    broken = world.model()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    assert federation.error(broken, world) == pytest.approx(0.9)


def sent(world, lie, defence=PLAIN, malicious=2):
    """What each client sends in the first round."""
    found = {}
    federation.train(
        world, defence, lie, malicious, rounds=1, listen=lambda _, who, update: found.update({who: update})
    )
    return [torch.cat([each.flatten() for each in found[who].values()]) for who in sorted(found)]


@pytest.mark.parametrize("attack", lies.LIES)
def test_a_lie_changes_what_liars_send_and_what_no_one_else_does(attack):
    """Each way to lie of each attack, but for those whose liars may find nothing to change."""
    world = small()
    honest = sent(world, None)
    for lie in lies.LIES[attack]:
        found = sent(world, lie)
        assert len(found) == 5
        changed = [not torch.equal(*pair) for pair in zip(found, honest, strict=True)]
        assert changed[2:] == [False] * 3
        assert attack == "semantic_backdoor" or any(changed[:2])
    assert not any(not torch.equal(*pair) for pair in zip(sent(world, lie, malicious=0), honest, strict=True))


def test_liars_who_send_the_other_sign_send_it_five_times_as_long():
    world = small()
    mean = torch.stack(sent(world, None)[:2]).mean(0)
    found = sent(world, lies.LIES["sign_flipping"][0])
    assert lies.BOOST == 5
    assert torch.allclose(found[0], -5 * mean, atol=1e-6)
    assert torch.equal(found[0], found[1])


def test_whoever_replaces_the_model_within_bounds_sends_no_more_than_the_shortest_of_their_own():
    world = small()
    own = [each.norm() for each in sent(world, Lie(data=lies.mark))[:2]]
    found = sent(world, lies.LIES["model_replacement"][-1])
    assert found[0].norm().item() == pytest.approx(min(own).item(), rel=1e-4)


def test_a_rule_takes_the_place_of_the_mean_and_liars_know_it():
    """A rule that takes no step leaves the network as it was, and whoever crafts an update hears of the rule."""
    heard = []

    def craft(rule, malicious):
        heard.append((rule, malicious))
        return lambda known: poisoning.scale(known, 1.0)

    ones = federated.Update({name: torch.zeros_like(each) for name, each in small().model().named_parameters()}, {})
    still = Defence(rule=lambda *_: lambda updates: ones, known=lambda malicious: "the rule")
    world = small()
    made_of = federation.train(world, still, Lie(craft=craft), 3, rounds=1)
    assert torch.equal(weights(made_of), weights(world.model()))
    assert heard == [("the rule", 3)]


def test_clients_data_are_cleaned_after_the_liars_have_changed_them():
    seen = []
    world = small()

    def clean(client, of):
        seen.append(client)
        return client

    federation.train(world, Defence(clean=clean), lies.LIES["data_poisoning"][0], 2, rounds=1)
    flipped = [not torch.equal(a.labels, b.labels) for a, b in zip(seen, world.clients, strict=True)]
    assert flipped == [True, True, False, False, False]


def test_split_learning_learns_from_the_same_clients(world):
    model, each = split_trained(world, world.clients, rounds=2)
    assert federation.error(model, world) < 0.35
    activations = 2 * 45 * 64 * 4  # two epochs of 45 images, 64 floats of 4 bytes
    assert each > activations
    assert isinstance(model, torch.nn.Module)


# --- what is read -----------------------------------------------------------------------------------------------------


def test_groups_that_are_drawn_alike_cannot_be_told(world, monkeypatch):
    """The attribute is told; of mini-batches whose groups are drawn from the same pool it is not."""
    assert readings.attribute(world, "none")["attack_success"] > 0.85
    inner = readings._some
    alike = torch.arange(100)
    monkeypatch.setattr(readings, "LEARNED", 40)
    monkeypatch.setattr(readings, "_some", lambda places, random: inner(alike, random))
    for seed in range(2):
        found = readings.attribute(replace(world, seed=seed), "none")
        for told in (found["attack_success"], found["naive"]):
            assert abs(told - 0.5) < 4 * (0.25 / (2 * readings.ASKED)) ** 0.5
        assert found["baseline"] == 0.5


def test_nothing_is_told_of_a_network_that_has_not_seen_the_data(world):
    """Of 900 records, 450 of them used, the area under the curve of no knowledge has an error of 0.02."""
    for seed in range(3):
        found = readings.told(replace(world, seed=seed), PLAIN, lambda each: each.model())
        assert abs(found["naive"]) < 4 * 0.04
        assert abs(found["attack_success"]) < 4 * 0.04


def test_members_are_told_of_a_network_that_has_learnt_them_by_heart():
    """One that has drawn labels by heart is surer of these than of those of images that it has not seen."""
    world = small()

    def by_heart(each):
        images = torch.cat([client.images for client in each.clients])
        labels = torch.cat([client.labels for client in each.clients])
        return predictions.fit(
            each.model(), images, labels, epochs=40, lr=0.1, batch=10, optimiser="sgd", seed=each.seed
        )

    assert readings.told(world, PLAIN, by_heart)["attack_success"] > 0.3


def test_whoever_knows_of_no_defence_perturbs_for_another_network(world, trained, monkeypatch):
    """The naive adversary has the plain network alone: the defended one is asked for its decision, and no more."""
    defended = federation.train(world, DEFENCES["adversarial_training"], rounds=1)
    few, asked = replace(world, fresh=world.fresh[:60]), []
    inner = readings.evasion.pgd

    def pgd(model, *args, restarts, **how):
        asked.append((model, restarts))
        return inner(model, *args, **{**how, "steps": 4}, restarts=1)

    monkeypatch.setattr(readings.evasion, "pgd", pgd)
    found = readings.evaded(few, defended, trained)
    assert [(model is defended, model is trained) for model, _ in asked] == [(True, False), (False, True)]
    assert found["naive"] <= found["attack_success"]
    assert found["baseline"] == federation.error(defended, few)
    same = readings.evaded(few, trained, trained)
    assert same["attack_success"] >= same["naive"] > same["baseline"]


def test_what_is_read_in_a_sum_is_a_share_of_what_is_read_alone(world):
    alone, summed = (readings.inversion(world, each) for each in ("none", "secure_sum"))
    assert alone["attack_success"] > 0.5 > summed["attack_success"]
    assert alone["baseline"] == summed["baseline"] == 9 / (9 + len(world.fresh))


@pytest.mark.parametrize(("liars", "lowest", "highest"), [("unlike", 0.999, 1.0), ("alike", 0.35, 0.65)])
def test_liars_are_noticed_by_what_is_unusual_in_their_updates(liars, lowest, highest):
    """Of 40 updates around one direction the first 8 have none of it; or they are drawn as the others are."""
    random = torch.Generator().manual_seed(0)
    areas = []
    for _ in range(10):
        rows = torch.randn(40, 50, generator=random) + 3
        if liars == "unlike":
            rows[:8] = torch.randn(8, 50, generator=random)
        areas.append(scale._areas(rows, 8))
    for test in torch.tensor(areas).mean(0)[1:] if liars == "unlike" else torch.tensor(areas).mean(0):
        assert lowest <= test <= highest


# --- two defences, and what is said ----------------------------------------------------------------------------------


def test_two_defences_of_one_step_are_refused_and_of_two_steps_are_put_together():
    both = interactions.together(DEFENCES["dp_sgd"], DEFENCES["median"])
    assert both.train is DEFENCES["dp_sgd"].train
    assert both.rule is DEFENCES["median"].rule
    with pytest.raises(ValueError, match="both defences change the step 'train'"):
        interactions.together(DEFENCES["dp_sgd"], DEFENCES["adversarial_training"])
    for one, other in interactions.PAIRS:
        interactions.together(DEFENCES[one], DEFENCES[other])


@pytest.mark.parametrize(("size", "groups"), [(1, [400.0, 1, 2, 3]), (2, [201.0, 2]), (4, [101.5])])
def test_the_median_of_sums_is_that_of_the_means_of_groups(size, groups):
    """Four clients, of whom the first lies, are dealt out by turns to groups of one, two and four."""
    said = [federated.Update({"a": torch.tensor([value])}, {}) for value in (400.0, 1.0, 2.0, 3.0)]
    found = interactions.in_groups(size).rule(None, None, 1)(said)
    assert found["a"].item() == pytest.approx(np.median(groups))


def test_an_attack_that_gains_next_to_nothing_is_not_said_to_be_stopped():
    weak = ({"defence": "none"}, {"attack_success": [0.19, 0.25, 0.3]})
    table = made("talk/defences", "mnist", {"attack_success": 0.1, "naive": 0.9, "baseline": 0.1}, weak)
    assert sentences.left(table, "ipm", "median") == pytest.approx([0.075, 0.1], abs=2e-3)
    assert sentences.left(Table([row for row in table.rows if not row["seed"]]), "ipm", "median") == []
