"""Model extraction: a linear model exactly from F + 1 answers and not from F; others the better the more is asked."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from privlab import data, models
from privlab.attacks import model_extraction as attack
from privlab.metrics import agreement
from privlab.sharing import federated, predictions

FEATURES, CLASSES = 12, 4


def linear(outputs=CLASSES, seed=0):
    return models.initialisation.draw_like_pytorch(nn.Sequential(nn.Linear(FEATURES, outputs)).double(), seed)


class Counted:
    """A model behind a counter of what it was asked."""

    def __init__(self, model, answer):
        self.model, self.answer, self.asked = model, answer, []

    def __call__(self, inputs):
        self.asked.append(inputs)
        with torch.no_grad():
            return self.answer(self.model(inputs.double()))


ANSWERS = {"logits": lambda made: made, "probabilities": lambda made: made.softmax(1)}


@pytest.mark.parametrize("answers", ANSWERS)
def test_a_linear_model_is_exact_after_one_query_more_than_it_has_features(answers):
    model = linear()
    ask = Counted(model, ANSWERS[answers])
    weight, bias = attack.linear(ask, FEATURES, answers=answers)
    assert sum(map(len, ask.asked)) == FEATURES + 1
    if answers == "logits":
        assert torch.allclose(weight, model[0].weight, atol=1e-12)
        assert torch.allclose(bias, model[0].bias, atol=1e-12)
    inputs = torch.rand(50, FEATURES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, wanted = (inputs @ weight.T + bias).softmax(1), model(inputs).softmax(1)
    assert torch.allclose(found, wanted, atol=1e-12)


def test_of_one_output_the_sigmoid_is_undone():
    model = linear(1)
    weight, bias = attack.linear(Counted(model, torch.sigmoid), FEATURES, answers="probabilities")
    assert torch.allclose(weight, model[0].weight, atol=1e-12)
    assert torch.allclose(bias, model[0].bias, atol=1e-12)


def test_with_a_query_less_another_model_gives_the_same_answers():
    """So that no attack can tell the two apart: what is found is right about all features but the last."""
    one, other = linear(), linear()
    with torch.no_grad():
        other[0].weight[:, -1] += 1
    found = [attack.linear(Counted(each, ANSWERS["logits"]), FEATURES, queries=FEATURES) for each in (one, other)]
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert torch.allclose(found[0][0][:, :-1], one[0].weight[:, :-1], atol=1e-12)
    assert not torch.allclose(found[0][0], one[0].weight, atol=1e-2)


def digits(split="train"):
    held = data.load("digits", split)
    return held.images[:, :, ::4, ::4], held.labels


def student(seed=1):
    return models.fully_connected((1, 7, 7), 10, widths=(32,), seed=seed)


@pytest.fixture(scope="module")
def victim():
    return predictions.fit(student(0), *digits(), epochs=15, lr=0.003)


@pytest.mark.parametrize("answers", attack.ANSWERS)
def test_more_queries_agree_more_for_three_students(victim, answers):
    inputs = digits("test")[0]

    def ask(some):
        made = predictions.predict(victim, some)
        return {"logits": made, "probabilities": made.softmax(1), "labels": made.argmax(1)}[answers]

    wanted, found = predictions.predict(victim, inputs), {20: [], 400: []}
    for seed in range(3):
        for queries, all_of_them in found.items():
            how = {"answers": answers, "epochs": 8000 // queries, "lr": 0.01, "batch": 20}
            copy = attack.extract(ask, student(seed), digits()[0], queries=queries, seed=seed, **how)
            all_of_them.append(agreement.fidelity(predictions.predict(copy, inputs), wanted))
    assert min(found[400]) > max(found[20]) + 0.03
    assert min(found[400]) > 0.92


@pytest.mark.parametrize("answers", attack.ANSWERS)
def test_it_is_a_plain_loop_over_the_answers(victim, answers):
    """One mini-batch holds all: no order matters."""
    inputs = digits()[0][:50]
    with torch.no_grad():
        said = victim(inputs)
    told = {"logits": said, "probabilities": said.softmax(1), "labels": said.argmax(1)}[answers]
    places = {each.numpy().tobytes(): place for place, each in enumerate(inputs)}

    def ask(some):
        return told[[places[each.numpy().tobytes()] for each in some]]

    how = {"answers": answers, "epochs": 5, "batch": 50, "lr": 0.1, "optimiser": "sgd"}
    copy = attack.extract(ask, student(), inputs, **how)
    slow = student()
    step = torch.optim.SGD(slow.parameters(), lr=0.1)
    for _ in range(5):
        step.zero_grad()
        made = slow(inputs)
        if answers == "logits":
            loss = ((made - said) ** 2).mean()
        elif answers == "labels":
            loss = -made.log_softmax(1)[torch.arange(50), told].mean()
        else:
            loss = -(told * made.log_softmax(1)).sum(1).mean()
        loss.backward()
        step.step()
    for found, wanted in zip(copy.parameters(), slow.parameters(), strict=True):
        assert torch.allclose(found, wanted, atol=1e-5)


def test_more_queries_hold_the_fewer_ones_and_no_more_is_asked():
    model, inputs = linear(), torch.rand(30, FEATURES, generator=torch.Generator().manual_seed(0))
    seen = {}
    for queries in (10, 20, None):
        ask = Counted(model, lambda made: made.float().argmax(1))
        attack.extract(ask, linear().float(), inputs, answers="labels", queries=queries, epochs=1, seed=3)
        seen[queries] = torch.cat(ask.asked)
    assert [len(each) for each in seen.values()] == [10, 20, 30]
    assert torch.equal(seen[20][:10], seen[10])
    assert torch.equal(seen[None][:20], seen[20])


def test_yes_or_no_is_met_by_a_binary_loss():
    model, inputs = linear(1), torch.rand(200, FEATURES, generator=torch.Generator().manual_seed(0))
    ask = Counted(model, lambda made: (made > 0).long().float())
    how = {"answers": "labels", "loss": federated.binary_cross_entropy, "epochs": 40, "lr": 0.05}
    copy = attack.extract(ask, linear(1, seed=5).float(), inputs, **how)
    assert agreement.fidelity(predictions.predict(copy, inputs), model(inputs.double())) > 0.95


GOOD = {"student": nn.Linear(3, 2), "inputs": torch.rand(4, 3), "epochs": 1}


@pytest.mark.parametrize(
    ("said", "wrong", "words"),
    [
        (torch.rand(4, 2), {"answers": "hints"}, "answers='hints' is not known"),
        (torch.rand(4, 2), {"queries": 5}, "queries=5 is out of range; give a whole number from 1 to 4"),
        (torch.rand(4, 2), {"queries": 0}, "queries=0"),
        (torch.rand(3, 2), {}, "3 answers to 4 inputs"),
        (torch.rand(0, 2), {"inputs": torch.rand(0, 3)}, "with one at least"),
        (torch.rand(4, 2), {"inputs": None}, "inputs are None"),
        (torch.full((4, 2), torch.nan), {"answers": "logits"}, "not finite"),
        (torch.rand(4), {}, r"has shape \(4,\); give \(N, K\)"),
        (torch.rand(4, 2), {}, "sum to 1"),
        (torch.tensor([0, 1, 2, 0]), {"answers": "labels"}, "class 2"),
    ],
)
def test_what_does_not_fit_is_said(said, wrong, words):
    with pytest.raises(ValueError, match=words):
        attack.extract(lambda _: said, **{**GOOD, **wrong})


def test_answers_of_another_kind_are_told():
    with pytest.raises(TypeError, match=r"answers='probabilities'.* is torch.int64"):
        attack.extract(lambda _: torch.zeros(4).long(), **GOOD)
    with pytest.raises(ValueError, match="ask for logits"):
        attack.linear(lambda some: torch.eye(2)[torch.zeros(len(some)).long()], 3, answers="probabilities")
    with pytest.raises(ValueError, match="queries=5 is out of range; give a whole number from 1 to 4"):
        attack.linear(partial(F.linear, weight=torch.rand(2, 3)), 3, queries=5)
