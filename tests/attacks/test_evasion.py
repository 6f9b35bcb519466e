"""Evasion against slow and obvious versions, the ball that it may not leave, and what it must and must not fool."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from privlab import data, models
from privlab.attacks import evasion
from privlab.sharing import federated, losses, predictions

TEST = data.load("digits", split="test")
IMAGES, LABELS = TEST.images, TEST.labels
SEEDS = (0, 1, 2)


@functools.cache
def trained(seed=0):
    train = data.load("digits")
    blank = models.fully_connected(train.shape, 10, widths=(64,), seed=seed)
    return predictions.fit(blank, train.images, train.labels, epochs=10, seed=seed)


def fooled(model, images, labels=LABELS):
    with torch.no_grad():
        return (model(images).argmax(1) != labels).float().mean().item()


def small(dtype=torch.float64):
    """A smooth network on eight images of 5 x 4 pixels in two colours."""
    random = torch.Generator().manual_seed(5)
    net = models.fully_connected((2, 5, 4), 3, widths=(6,), activation="sigmoid", seed=1).to(dtype)
    return net, torch.rand(8, 2, 5, 4, generator=random, dtype=dtype), torch.randint(3, (8,), generator=random)


def test_fgsm_moves_each_pixel_by_the_sign_of_a_numerical_slope():
    net, images, labels = small()
    found = evasion.fgsm(net, images, labels, epsilon=0.01)
    for place in range(len(images)):
        for pixel in range(images[0].numel()):
            step = torch.zeros(images[0].numel(), dtype=torch.float64)
            step[pixel] = 1e-6
            two = torch.stack([images[place] + side * step.view(2, 5, 4) for side in (-1, 1)])
            below, above = F.cross_entropy(net(two), labels[place].expand(2), reduction="none").tolist()
            moved = images[place].flatten()[pixel] + 0.01 * (1 if above > below else -1)
            assert found[place].flatten()[pixel].item() == pytest.approx(moved.clamp(0, 1).item(), abs=1e-9)


def slow_pgd(net, image, label, epsilon, steps, step, norm, start):
    """Five lines for one image."""
    here = image + start
    for _ in range(steps):
        here = here.detach().requires_grad_()
        F.cross_entropy(net(here[None]), label[None]).backward()
        change = here + step * (here.grad.sign() if norm == "linf" else here.grad / here.grad.norm()) - image
        change = (
            change.clamp(-epsilon, epsilon) if norm == "linf" else change / max(1, (change.norm() / epsilon).item())
        )
        here = (image + change).clamp(0, 1)
    return here.detach()


@pytest.mark.parametrize(("norm", "epsilon", "step"), [("linf", 0.1, 0.03), ("l2", 0.5, 0.2)])
def test_pgd_is_five_lines_of_autograd_for_each_image(norm, epsilon, step):
    net, images, labels = small()
    how = {"epsilon": epsilon, "steps": 12, "step": step, "norm": norm}
    found = evasion.pgd(net, images, labels, **how, restarts=0)
    for one, image, label in zip(found, images, labels, strict=True):
        torch.testing.assert_close(one, slow_pgd(net, image, label, *how.values(), 0.0))


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.1), ("l2", 0.5)])
def test_of_its_restarts_it_keeps_for_each_image_the_one_of_largest_loss(norm, epsilon):
    """One step only, so that starts differ; a single restart draws from the same generator."""
    net, images, labels = small()
    how = {"epsilon": epsilon, "steps": 1, "step": 0.0, "norm": norm}
    random = torch.Generator().manual_seed(3)
    singles = torch.stack([evasion.pgd(net, images, labels, **how, seed=random) for _ in range(6)])
    own = torch.stack([F.cross_entropy(net(each), labels, reduction="none") for each in singles])
    best = own.argmax(0)
    assert len(set(best.tolist())) > 1
    found = evasion.pgd(net, images, labels, **how, restarts=6, seed=3)
    assert torch.equal(found, singles[best, torch.arange(8)])
    sizes = (singles[0] - images).flatten(1)
    assert (sizes.abs() > epsilon / 4).any(1).all() if norm == "linf" else (sizes.norm(dim=1) > epsilon / 4).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("epsilon", [0.0, 0.03, 0.4, 5.0])
def test_pgd_stays_in_its_ball_and_in_the_pixels(norm, epsilon):
    made = evasion.pgd(trained(), IMAGES[:60], LABELS[:60], epsilon=epsilon, steps=5, norm=norm, restarts=2)
    change = (made - IMAGES[:60]).flatten(1)
    sizes = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert sizes.max() <= epsilon + 1e-5
    assert made.min() >= 0
    assert made.max() <= 1
    assert epsilon == 0 or epsilon == 5 or sizes.max() > 0.9 * epsilon


@pytest.mark.parametrize("seed", SEEDS)
def test_more_steps_fool_more_noise_of_the_same_size_nothing(seed):
    net, epsilon = trained(seed), 0.07
    noise = epsilon * (2 * torch.randint(2, IMAGES.shape, generator=torch.Generator().manual_seed(seed)) - 1)
    clean, noisy = fooled(net, IMAGES), fooled(net, (IMAGES + noise).clamp(0, 1))
    single = fooled(net, evasion.fgsm(net, IMAGES, LABELS, epsilon=epsilon))
    many = fooled(net, evasion.pgd(net, IMAGES, LABELS, epsilon=epsilon, seed=seed))
    round_ = fooled(net, evasion.pgd(net, IMAGES, LABELS, epsilon=1.5, norm="l2", seed=seed))
    assert abs(noisy - clean) < 0.03
    assert clean + 0.4 < single < many
    assert round_ > clean + 0.4
    for unchanged in (evasion.fgsm, evasion.pgd):
        assert fooled(net, unchanged(net, IMAGES, LABELS, epsilon=0.0)) == clean


def test_tiny_slopes_of_a_sure_network_are_followed_in_l2():
    """Slopes of 1e-30, whose squares are 0 in float32."""
    net, images, labels = small(torch.float32)
    plain = evasion.pgd(net, images, labels, epsilon=0.5, steps=3, norm="l2", restarts=0)
    faint = evasion.pgd(
        net,
        images,
        labels,
        epsilon=0.5,
        steps=3,
        norm="l2",
        restarts=0,
        loss=lambda a, b: 1e-30 * F.cross_entropy(a, b),
    )
    torch.testing.assert_close(faint, plain, rtol=1e-4, atol=1e-5)


class Sums(nn.Module):
    """Its slope at the images is one number for a whole colour, which torch hands out as one place in memory."""

    def forward(self, images):
        return images.sum((2, 3))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_slope_that_is_one_number_for_many_pixels(norm):
    images, labels = torch.full((1, 2, 3, 3), 0.5), torch.tensor([0])
    made = evasion.pgd(Sums(), images, labels, epsilon=0.3, norm=norm, steps=5)
    assert (made[0, 0] < 0.5).all()
    assert (made[0, 1] > 0.5).all()


# --- stickers ----------------------------------------------------------------------------------------------------


def test_a_sticker_changes_its_own_pixels_and_no_others():
    images = torch.zeros(300, 2, 7, 6)
    sticker = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.1
    made = evasion.stick(images, sticker, seed=0)
    places = set()
    for one in made:
        rows, columns = (one[0] > 0).nonzero(as_tuple=True)
        top, left = int(rows.min()), int(columns.min())
        assert torch.equal(one[:, top : top + 3, left : left + 3], sticker)
        assert int((one > 0).sum()) == sticker.numel()
        places.add((top, left))
    assert places == {(top, left) for top in range(5) for left in range(4)}
    assert (images == 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_learnt_sticker_fools_where_noise_of_its_size_does_not(seed):
    net, train = trained(seed), data.load("digits").sample(400, seed)
    how = {"size": 9, "steps": 60, "step": 0.05, "seed": seed}
    sticker = evasion.patch(net, train.images, train.labels, **how)
    assert sticker.shape == (1, 9, 9)
    assert sticker.min() >= 0
    assert sticker.max() <= 1
    noise = torch.rand(1, 9, 9, generator=torch.Generator().manual_seed(seed))
    learnt, drawn = (fooled(net, evasion.stick(IMAGES, each, seed=9)) for each in (sticker, noise))
    assert learnt > drawn + 0.1
    wanted = evasion.patch(net, train.images, train.labels, **how, target=3)
    said = [(net(evasion.stick(IMAGES, each, seed=9)).argmax(1) == 3).float().mean() for each in (wanted, sticker)]
    losses_ = [
        F.cross_entropy(net(evasion.stick(IMAGES, each, seed=9)), torch.full_like(LABELS, 3))
        for each in (wanted, noise)
    ]
    assert losses_[0] < losses_[1]
    assert said[0] > said[1]


# --- questions ---------------------------------------------------------------------------------------------------


class Asked:
    """What answers, and counts for each image whether it was asked about: images are known by a mark in a corner."""

    def __init__(self, model):
        self.model, self.images = model, 0

    def __call__(self, images):
        self.images += len(images)
        assert images.min() >= 0
        assert images.max() <= 1
        return self.model(images).softmax(1)


@pytest.mark.parametrize("seed", SEEDS)
def test_questions_alone_fool_and_are_counted(seed):
    net, some = trained(seed), slice(0, 120)
    ask = Asked(net)
    made, spent = evasion.square(ask, IMAGES[some], LABELS[some], epsilon=0.2, queries=200, seed=seed)
    assert ask.images == spent.sum().item()
    assert spent.dtype == torch.int64
    assert spent.min() >= 1
    assert spent.max() <= 200
    assert (made - IMAGES[some]).abs().max() <= 0.2 + 1e-6
    assert made.min() >= 0
    assert made.max() <= 1
    wrong = net(made).argmax(1) != LABELS[some]
    assert (spent[~wrong] == 200).all()
    assert (spent[wrong] < 200).float().mean() > 0.9
    few, _ = evasion.square(net, IMAGES[some], LABELS[some], epsilon=0.2, queries=10, seed=seed)
    assert fooled(net, few, LABELS[some]) + 0.2 < wrong.float().mean().item()
    none, asked = evasion.square(net, IMAGES[some], LABELS[some], epsilon=0.0, queries=3, seed=seed)
    assert torch.equal(none, IMAGES[some])
    assert fooled(net, none, LABELS[some]) == fooled(net, IMAGES[some], LABELS[some])
    assert ((asked == 1) == (net(IMAGES[some]).argmax(1) != LABELS[some])).all()


def test_a_question_is_kept_only_where_the_lead_falls():
    """The lead over the queries never rises, and what comes back has the smallest that was seen."""
    net, seen = trained(), []

    def ask(images):
        answers = net(images)
        seen.append((answers[:, LABELS[0]] - answers[:, [k for k in range(10) if k != LABELS[0]]].amax(1)).item())
        return answers

    made, spent = evasion.square(ask, IMAGES[:1], LABELS[:1], epsilon=0.05, queries=100, seed=0)
    before = len(seen)
    assert before == spent.item()
    ask(made)
    assert seen[-1] == pytest.approx(min(seen[:-1]), abs=1e-5)


def test_the_lead_is_over_all_other_classes_wherever_the_logits_lie():
    net, how = trained(), {"epsilon": 0.15, "queries": 30, "seed": 0}
    made, spent = evasion.square(net, IMAGES[:60], LABELS[:60], **how)
    lower, same = evasion.square(lambda images: net(images) - 16, IMAGES[:60], LABELS[:60], **how)
    assert torch.equal(same, spent)
    assert torch.equal(lower, made)


def test_it_begins_with_stripes_and_its_squares_lose_half_their_area_when_the_paper_says():
    """An answer that never changes: nothing is kept, so each question differs from the stripes by one square."""
    grey, asked = torch.full((1, 2, 28, 28), 0.5), []

    def ask(images):
        asked.append(images[0])
        return torch.tensor([[1.0, 0.0]])

    evasion.square(ask, grey, torch.tensor([0]), epsilon=0.1, queries=1000, seed=0)
    stripes = asked[0]
    assert torch.equal(stripes, stripes[:, :1].expand_as(stripes))
    assert ((stripes - 0.5).abs() - 0.1).abs().max() < 1e-6
    assert all(0 < int((one[0] > 0.5).sum()) < 28 for one in stripes)
    halved, places = [1, 5, 20, 50, 100, 200, 400, 600, 800], set()
    for number, image in enumerate(asked[1:], start=1):
        side = max(1, round((0.05 * 784 / 2 ** sum(number >= each for each in halved)) ** 0.5))
        for colour in (image != stripes).any(0, keepdim=True):
            rows, columns = colour.nonzero(as_tuple=True)
            if len(rows):  # a square of the stripes' own signs changes nothing
                assert rows.max() - rows.min() + 1 == side
                assert columns.max() - columns.min() + 1 <= side
                places.add((int(rows.min()), int(columns.min())))
        inside = image[image != stripes]
        assert ((inside - 0.5).abs() - 0.1).abs().max() < 1e-6 if len(inside) else True
    assert len(places) > 300


# --- bad input ---------------------------------------------------------------------------------------------------


class Deaf(nn.Module):
    """An answer that has no slope."""

    def forward(self, images):
        return F.one_hot((images.flatten(1).sum(1) * 10).long() % 3, 3).float()


@pytest.mark.parametrize(
    "attack", [evasion.fgsm, evasion.pgd, functools.partial(evasion.patch, size=2, steps=1, step=0.1, seed=0)]
)
def test_bad_input_in_words(attack):
    net, images, labels = small(torch.float32)
    budget = {} if isinstance(attack, functools.partial) else {"epsilon": 0.1}
    for wrong, other, words in [
        (images * 300, labels, "scale images"),
        (images * torch.nan, labels, "values in"),
        (images[:0], labels[:0], "at least one image"),
        (images, labels[:3], "one label per image"),
        (images, labels + 7, "the model has 3 logits"),
        (images.double(), labels, "bring one to the other"),
        (images[..., :2], labels, "do not pass"),
    ]:
        with pytest.raises((ValueError, TypeError), match=words):
            attack(net, wrong, other, **budget)
    with pytest.raises(ValueError, match=r"no slope.*square"):
        attack(Deaf(), images, labels, **budget)
    with torch.no_grad():
        net.output.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        attack(net, images, labels, **budget)


def test_bad_settings_in_words():
    net, images, labels = small(torch.float32)
    for wrong, words in [
        ({"epsilon": -0.1}, "epsilon=-0.1"),
        ({"epsilon": float("nan")}, "epsilon=nan"),
        ({"epsilon": 0.1, "steps": 0}, "steps=0"),
        ({"epsilon": 0.1, "step": -1.0}, "step=-1"),
        ({"epsilon": 0.1, "norm": "l1"}, "norm='l1'.*linf, l2"),
        ({"epsilon": 0.1, "restarts": -1}, "restarts=-1"),
    ]:
        with pytest.raises(ValueError, match=words):
            evasion.pgd(net, images, labels, **wrong)
    for wrong, words in [({"size": 5}, "size=5"), ({"size": 0}, "size=0"), ({"target": 3}, "has 3 logits")]:
        with pytest.raises(ValueError, match=words):
            evasion.patch(net, images, labels, **{"size": 2, "steps": 1, "step": 0.1, "seed": 0} | wrong)
    for sticker in (
        torch.rand(1, 2, 2),
        torch.rand(2, 6, 2),
        torch.rand(2, 2, 5),
        torch.rand(2, 2),
        torch.ones(2, 2, 2) * 2,
    ):
        with pytest.raises(ValueError, match=r"fit on images|expected|scale"):
            evasion.stick(images, sticker, seed=0)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda images: images, "ask answers"),
        (lambda images: torch.zeros(3, 3), "ask answers"),
        (lambda images: torch.full((len(images), 3), torch.nan), "finite numbers"),
        (lambda images: torch.zeros(len(images), 1), "one logit"),
        (lambda images: torch.zeros(len(images), 2), "2 logits"),
    ],
)
def test_bad_answers_in_words(ask, words):
    _, images, labels = small()
    labels[0] = 2
    with pytest.raises(ValueError, match=words):
        evasion.square(ask, images, labels, epsilon=0.1, queries=5, seed=0)


def test_soft_labels_and_no_queries_are_refused():
    net, images, labels = small()
    with pytest.raises(TypeError, match="int64"):
        evasion.square(net, images, torch.rand(8, 3), epsilon=0.1, queries=5, seed=0)
    with pytest.raises(ValueError, match="queries=0"):
        evasion.square(net, images, labels, epsilon=0.1, queries=0, seed=0)


def test_another_loss_is_followed():
    """A loss turned round makes the network surer."""
    net, images, labels = small()
    surer = evasion.pgd(net, images, labels, epsilon=0.2, loss=lambda logits, own: -F.cross_entropy(logits, own))
    loss = [losses.value(net, each, labels, losses.cross_entropy) for each in (surer, images)]
    assert loss[0] < loss[1]
    assert federated.accuracy(net, surer, labels) >= federated.accuracy(net, images, labels)
