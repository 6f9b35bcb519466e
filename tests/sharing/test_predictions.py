"""Training, asking, and training many: against the plain loop, and what is stopped goes on."""

import pytest
import torch
from torch import nn

from privlab import runtime
from privlab.models.initialisation import draw_like_pytorch
from privlab.sharing import predictions


def problem(count=60, seed=0):
    random = torch.Generator().manual_seed(seed)
    inputs = torch.rand(count, 6, generator=random)
    return inputs, (inputs[:, 0] > 0.5).long()


def make(seed=0):
    return draw_like_pytorch(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2)), seed)


@pytest.mark.parametrize(("optimiser", "kind"), [("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)])
def test_fit_is_the_plain_loop(optimiser, kind):
    inputs, labels = problem()
    model = nn.Sequential(*[make()[i] for i in (0, 1, 3)])  # no dropout
    before = [each.clone() for each in model.parameters()]
    found = predictions.fit(model, inputs, labels, epochs=3, lr=0.01, batch=25, optimiser=optimiser, weight_decay=0.1)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    random = runtime.generator(runtime.derive(0, "fit"))
    step = kind(model.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(3):
        order = torch.randperm(60, generator=random)
        int(torch.randint(2**62, (), generator=random))  # what dropout would draw from
        for chosen in order.split(25):
            step.zero_grad()
            nn.functional.cross_entropy(model(inputs[chosen]), labels[chosen]).backward()
            step.step()
    assert all(torch.allclose(a, b) for a, b in zip(found.parameters(), model.parameters(), strict=True))


def test_fit_learns_repeats_and_leaves_the_global_dice_alone():
    inputs, labels = problem(300)
    model = make()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    seen = []
    one = predictions.fit(model, inputs, labels, epochs=30, lr=0.02, watch=lambda epoch, _: seen.append(epoch))
    two = predictions.fit(model, inputs, labels, epochs=30, lr=0.02)
    other = predictions.fit(model, inputs, labels, epochs=30, lr=0.02, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert seen == list(range(1, 31))
    answers = [predictions.predict(each, inputs) for each in (one, two, other)]
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])
    assert (answers[0].argmax(1) == labels).float().mean() > 0.9


def test_predict_is_in_eval_mode_and_in_parts():
    inputs, _ = problem()
    model = make()
    found = predictions.predict(model, inputs, batch=7)
    assert model.training
    assert torch.allclose(found, make().eval()(inputs))
    assert not found.requires_grad


def test_halves_are_halves_and_differ():
    used = predictions.halves(9, 500, 0)
    assert (used.sum(0) == 4).all()
    assert 0.3 < used.double().mean(1).min() < used.double().mean(1).max() < 0.6
    assert torch.equal(used, predictions.halves(9, 500, 0))
    assert len({tuple(column) for column in used.T.tolist()}) > 50


@pytest.mark.parametrize("workers", [1, 2])
def test_many_are_each_trained_on_their_own_part(workers):
    inputs, labels = problem()
    used = predictions.halves(4, 60, 0)
    found = predictions.fit_and_ask(make, inputs, labels, used, epochs=2, workers=workers, progress=False)
    assert found.shape == (4, 60, 2)
    own = runtime.derive(0, "model", 2)
    alone = predictions.fit(make(own), inputs[used[2]], labels[used[2]], epochs=2, seed=own)
    assert torch.allclose(found[2], predictions.predict(alone, inputs), atol=1e-6)


def test_what_was_stopped_goes_on_and_nothing_else_is_taken_for_it(tmp_path):
    inputs, labels = problem()
    used = predictions.halves(4, 60, 0)
    made = []

    def stopping(seed):
        made.append(seed)
        if len(made) == 3:
            raise KeyboardInterrupt
        return make(seed)

    with pytest.raises(KeyboardInterrupt):
        predictions.fit_and_ask(stopping, inputs, labels, used, epochs=2, folder=tmp_path, progress=False)
    assert len(list(tmp_path.glob("*.npy"))) == 2
    seen = []
    real = predictions.fit

    def counted(*args, **how):
        seen.append(1)
        return real(*args, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictions, "fit", counted)
        resumed = predictions.fit_and_ask(make, inputs, labels, used, epochs=2, folder=tmp_path, progress=False)
        assert len(seen) == 2
        predictions.fit_and_ask(make, inputs, labels, used, epochs=3, folder=tmp_path, progress=False)
        assert len(seen) == 6
        predictions.fit_and_ask(make, inputs, 1 - labels, used, epochs=2, folder=tmp_path, progress=False)
        assert len(seen) == 10
    assert torch.equal(resumed, predictions.fit_and_ask(make, inputs, labels, used, epochs=2, progress=False))


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda x, y: predictions.fit(make(), x[:, 0], y, epochs=1), ValueError, "give a tensor"),
        (lambda x, y: predictions.fit(make(), x / 0, y, epochs=1), ValueError, "not finite"),
        (lambda x, y: predictions.fit(make(), x, y[:-1], epochs=1), ValueError, "labels"),
        (lambda x, y: predictions.fit(make(), x, y, epochs=0), ValueError, "epochs=0"),
        (lambda x, y: predictions.fit(make(), x, y, epochs=1, optimiser="rmsprop"), ValueError, "adam, sgd"),
        (lambda x, y: predictions.fit(make().requires_grad_(False), x, y, epochs=1), ValueError, "frozen"),
        (
            lambda x, y: predictions.fit(make(), x, y, epochs=9, lr=1e30, optimiser="sgd"),
            FloatingPointError,
            "smaller lr",
        ),
        (lambda x, y: predictions.predict(make(), x[:0]), ValueError, "no inputs"),
        (lambda x, y: predictions.predict(make(), x[:, :3]), ValueError, "do not pass"),
        (lambda x, y: predictions.halves(1, 5), ValueError, "models=1"),
        (
            lambda x, y: predictions.fit_and_ask(make, x, y, torch.ones(3, 5).bool(), epochs=1),
            ValueError,
            "expected bool",
        ),
        (
            lambda x, y: predictions.fit_and_ask(make, x, y, torch.zeros(3, 60).bool(), epochs=1),
            ValueError,
            "at least one",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_words(call, kind, words):
    with pytest.raises(kind, match=words):
        call(*problem())
