"""Attribute inference beside imputation: where the attribute decides the answer, and where nobody asks for it."""

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from privlab import models
from privlab.attacks import attribute_inference as attack
from privlab.sharing import federated, predictions

VALUES = 3


def made(count=600, seed=0, *, decides=True, tells=0.0):
    """Records of four public numbers and an attribute of three words; the label says whether it is the last one.

    With `tells` the first public number follows the attribute; without `decides` the label follows the public ones.
    """
    random = torch.Generator().manual_seed(seed)
    attribute = torch.randint(0, VALUES, (count,), generator=random)
    public = torch.rand(count, 4, generator=random)
    public[:, 0] = (1 - tells) * public[:, 0] + tells * attribute / 2
    labels = (attribute == VALUES - 1).long() if decides else (public[:, 1] > 0.5).long()
    return torch.cat([public, torch.eye(VALUES)[attribute]], 1), attribute, labels


def asking(records, labels, **settings):
    model = predictions.fit(models.fully_connected((7,), 2, widths=(16,), seed=0), records, labels, epochs=30, lr=0.01)
    return lambda inputs: predictions.predict(model, inputs, **settings).softmax(1)


def confusion(said, labels):
    counts = torch.zeros(2, 2)
    for true, other in zip(labels.tolist(), said.argmax(1).tolist(), strict=True):
        counts[true, other] += 1
    return counts


def right(scores, attribute):
    return (scores.argmax(1) == attribute).float().mean().item()


def test_every_value_is_put_into_every_record():
    records, _, _ = made(5)
    found = attack.completed(records, (5, 4, 6), torch.eye(VALUES)[:, [1, 0, 2]])
    for place, record in enumerate(records):
        for value in range(VALUES):
            wanted = record.clone()
            wanted[4:] = torch.eye(VALUES)[value]
            assert torch.equal(found[place, value], wanted)


@pytest.mark.parametrize("own", [False, True])
def test_it_is_bayes_rule_by_brute_force(own):
    """Over all values, with a prior for all or for each record, by decisions and by confidences."""
    records, _, labels = made(40)
    ask = asking(records, labels)
    random = torch.Generator().manual_seed(1)
    prior = torch.rand((40, VALUES) if own else (VALUES,), generator=random)
    counts = torch.tensor([[7.0, 2.0], [1.0, 4.0]])
    candidates = attack.completed(records, (4, 5, 6), torch.eye(VALUES))
    decided = attack.maximum(ask, candidates, labels, prior=prior, confusion=counts)
    confident = attack.maximum(ask, candidates, labels, prior=prior)
    for place, label in enumerate(labels.tolist()):
        for value in range(VALUES):
            answer = ask(candidates[place, value][None])[0].tolist()
            said = answer.index(max(answer))
            share = counts[label][said] / (counts[0][said] + counts[1][said])
            chance = float(prior[place, value] if own else prior[value])
            assert decided[place, value].item() == pytest.approx(math.log(chance * float(share)), abs=1e-4)
            assert confident[place, value].item() == pytest.approx(math.log(chance * answer[label]), abs=1e-4)


def test_a_decision_that_was_never_made_tells_nothing():
    records, _, labels = made(10)
    candidates = attack.completed(records, (4, 5, 6), torch.eye(VALUES))
    prior = torch.tensor([0.5, 0.3, 0.2])
    never = torch.tensor([[5.0, 0.0], [5.0, 0.0]])

    def second(inputs):
        return torch.tensor([[0.0, 1.0]]).expand(len(inputs), -1)

    found = attack.maximum(second, candidates, labels, prior=prior, confusion=never)
    assert torch.allclose(found, (prior / 2).log().expand(10, -1))


def scores(decides, tells, seed):
    """Both attacks and the imputation, for 200 records; the adversary has 200 others of its own."""
    records, attribute, labels = made(seed=seed, decides=decides, tells=tells)
    ask = asking(records[:200], labels[:200])
    known, asked = records[200:400], records[400:]
    prior = torch.full((VALUES,), 1 / VALUES)
    counts = confusion(ask(known), labels[200:400])
    candidates = attack.completed(asked, (4, 5, 6), torch.eye(VALUES))
    found = [
        attack.maximum(ask, candidates, labels[400:], prior=prior, confusion=counts),
        attack.maximum(ask, candidates, labels[400:], prior=prior),
        attack.impute(known[:, :4], attribute[200:400], asked[:, :4]),
    ]
    return [right(each, attribute[400:]) for each in found]


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_an_attribute_that_decides_the_answer_and_that_nothing_else_tells(seed):
    """The last value is found whenever it is there; the two others are not told apart: 2/3 in all."""
    decided, confident, imputed = scores(decides=True, tells=0.0, seed=seed)
    assert min(decided, confident) > 0.6
    assert imputed < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_nothing_where_the_model_does_not_use_the_attribute_and_imputation_may(seed):
    decided, confident, imputed = scores(decides=False, tells=0.7, seed=seed)
    assert max(decided, confident) < 0.5
    assert imputed > 0.85


def test_imputation_is_a_logistic_regression_of_scaled_columns():
    records, attribute, _ = made(tells=0.3)
    found = attack.impute(records[:300, :4], attribute[:300], records[300:, :4])
    scaler = StandardScaler().fit(records[:300, :4])
    learned = LogisticRegression(max_iter=2000).fit(scaler.transform(records[:300, :4]), attribute[:300])
    wanted = learned.predict_proba(scaler.transform(records[300:, :4]))
    assert torch.allclose(found.exp().double(), torch.from_numpy(wanted), atol=1e-4)


def batches(model, records, labels, attribute, count, seed):
    """Gradients of mini-batches of eight records with one value, in turn."""
    random = torch.Generator().manual_seed(seed)
    values = torch.arange(count) % VALUES
    sent = []
    for value in values:
        places = (attribute == value).nonzero()[:, 0]
        chosen = places[torch.randperm(len(places), generator=random)[:8]]
        sent.append(federated.gradient(model, records[chosen, None], labels[chosen]))
    return sent, values


@pytest.mark.parametrize("used", [True, False])
def test_updates_tell_the_attribute_of_their_records_if_it_is_among_the_inputs(used):
    records, attribute, labels = made(decides=False)
    records = records if used else records[:, :4]
    model = models.fully_connected((1, records.shape[1]), 2, widths=(8,), seed=0)
    known, values = batches(model, records[:300], labels[:300], attribute[:300], 240, 0)
    sent, truth = batches(model, records[300:], labels[300:], attribute[300:], 60, 1)
    share = right(attack.from_updates(known, values, sent), truth)
    assert share > 0.85 if used else share < 0.6


def arguments():
    records, _, labels = made(6)
    candidates = attack.completed(records, (4, 5, 6), torch.eye(VALUES))
    return {"ask": asking(*made(30)[::2]), "candidates": candidates, "labels": labels, "prior": torch.ones(VALUES)}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"candidates": torch.rand(6, 7)}, r"candidates has shape \(6, 7\); give \(N, V, F\)"),
        ({"labels": torch.zeros(5).long()}, "labels holds 5 labels"),
        ({"labels": torch.full((6,), 2)}, "labels up to 2"),
        ({"ask": lambda inputs: inputs[:, :2] * 5}, "the probabilities of all classes"),
        ({"ask": lambda inputs: torch.full((3, 2), 0.5)}, "answers .3, 2. to 18 inputs"),
        ({"ask": lambda inputs: torch.full((18, 2), torch.nan)}, "not finite"),
        ({"prior": torch.ones(2)}, r"prior is \(2,\); give a tensor \(3,\)"),
        ({"prior": torch.tensor([1.0, -1.0, 1.0])}, "at least 0"),
        ({"prior": torch.zeros(3)}, "not all 0"),
        ({"prior": [0.5, 0.3, 0.2]}, "prior is list"),
        ({"confusion": torch.ones(3, 3)}, r"confusion is \(3, 3\); give a tensor \(2, 2\)"),
        ({"confusion": torch.full((2, 2), torch.nan)}, "confusion is .*finite"),
    ],
)
def test_what_does_not_fit_is_said(wrong, words):
    with pytest.raises(ValueError, match=words):
        attack.maximum(**{**arguments(), **wrong})


@pytest.mark.parametrize("columns", [(4, 5), (4, 5, 7), (4, 5, 5), (4, 5, -1), ()])
def test_columns_are_those_of_the_attribute(columns):
    with pytest.raises(ValueError, match="for 3 numbers a value; give as many, from 0 to 6"):
        attack.completed(made(3)[0], columns, torch.eye(VALUES))


@pytest.mark.parametrize(
    ("known", "values", "asked", "words"),
    [
        (torch.rand(6, 4), torch.arange(6) % 2, torch.rand(3, 5), "4 columns and those asked about 5"),
        (torch.rand(6, 4), torch.zeros(6).long(), torch.rand(3, 4), r"values are \[0\]; give two or more"),
        (torch.rand(6, 4), torch.arange(6) % 2 * 2, torch.rand(3, 4), r"values are \[0, 2\]"),
        (torch.rand(6, 4), torch.arange(5) % 2, torch.rand(3, 4), "values holds 5"),
        (torch.rand(0, 4), torch.arange(0), torch.rand(3, 4), "known has shape"),
        (torch.full((6, 4), torch.nan), torch.arange(6) % 2, torch.rand(3, 4), "24 numbers of known are not finite"),
    ],
)
def test_imputation_wants_records_with_two_values_at_least(known, values, asked, words):
    with pytest.raises(ValueError, match=words):
        attack.impute(known, values, asked)


def test_whole_numbers_are_no_records():
    with pytest.raises(TypeError, match="records is torch"):
        attack.completed(torch.ones(3, 7).long(), (4, 5, 6), torch.eye(VALUES))


@pytest.mark.parametrize("sent", [[], [{"weight": torch.ones(3)}], [{"other": torch.ones(2)}]])
def test_gradients_are_of_one_network(sent):
    known = [{"weight": torch.ones(2)}, {"weight": torch.zeros(2)}]
    with pytest.raises(ValueError, match="give some of both, of one network"):
        attack.from_updates(known, torch.arange(2), sent)
