"""Every attack and every defence once, from the client's data to the score: on any device, from the same seeds.

A pipeline takes the device and gives what came out, by name. `NEAR` says how far numbers on a card may lie from those
of the CPU, relative to the largest, where that is more than a few roundings; what begins with a name in `SAME` is the
same bit for bit.
"""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from privlab import data, models
from privlab.attacks import (
    attribute_inference,
    backdoor,
    bins,
    decoder,
    deep_leakage,
    evasion,
    gradient_extraction,
    inverting_gradients,
    label_inference,
    linkability,
    membership,
    model_extraction,
    noisy_extraction,
    poisoning,
    rank_inversion,
    side_channel,
    span_check,
    text_extraction,
    transmission,
    trap_weights,
)
from privlab.defences import (
    adversarial_training,
    aggregation,
    client_dp,
    crowd,
    data_analysis,
    detection,
    dp_sgd,
    laplace_noise,
    nopeek,
    perturbation,
    pruning,
    regularisation,
    secure_sum,
    soteria,
    tracking,
    update_analysis,
    verification,
)
from privlab.metrics import agreement, extraction, reconstruction, robustness
from privlab.metrics import linkability as linkability_metrics
from privlab.metrics import membership as membership_metrics
from privlab.sharing import federated, messages, predictions, split, together

Found = dict[str, Tensor | float]
Pipeline = Callable[[torch.device], Found]
LENET = {"filters": (12, 12, 12), "fc": (), "pool": "stride", "activation": "sigmoid", "init": "uniform:0.5"}
QUICK = {"epochs": 2, "batch": 10, "lr": 0.1}


def client(count: int, device: torch.device, name: str = "patches", seed: int = 0) -> federated.Client:
    some = data.load(name).sample(count, seed)
    return federated.Client(some.images.to(device), some.labels.to(device))


def dense(device: torch.device, shape: tuple[int, ...], widths: tuple[int, ...] = (300,)) -> nn.Module:
    return models.fully_connected(shape, 10, widths=widths, seed=0).to(device)


def named(tensors: dict[str, Tensor] | messages.Gradient, what: str = "") -> Found:
    return {f"{what}{name}": tensors[name] for name in tensors}


def scored(rows: Tensor, images: Tensor, neurons: int) -> Found:
    found = extraction.score(rows, images, neurons=neurons)
    return {"precision": found.precision, "recall": found.recall}


# --- attacks -----------------------------------------------------------------------------------------------------


def extract(device: torch.device) -> Found:
    mine = client(20, device)
    model = dense(device, mine.images.shape[1:])
    sent = federated.gradient(model, mine.images, mine.labels)
    found = gradient_extraction.extract(sent, shape=mine.images.shape[1:])
    rows = gradient_extraction.candidates(sent)
    return {"images": found.images, "neurons": found.neurons, "shows": found.shows, **scored(rows, mine.images, 300)}


def trapped(device: torch.device) -> Found:
    mine = client(50, device)
    shape = mine.images.shape[1:]
    model = trap_weights.plant(dense(device, shape), 0.95, seed=3)
    hidden = trap_weights.hide(model.get_submodule("fc1").weight.detach(), 0.95)
    sent = federated.gradient(model, mine.images, mine.labels)

    def send(other: nn.Module) -> messages.Gradient:
        return federated.gradient(other, mine.images, mine.labels)

    best, counts = trap_weights.tune(dense(device, shape), send, [0.9, 0.95, 0.99], shape=shape)
    planted = model.get_submodule("fc1").weight
    scores = scored(gradient_extraction.candidates(sent), mine.images, 300)
    return {"planted": planted, "hidden": hidden, "best": best, "counts": torch.tensor(counts), **scores}


def binned(device: torch.device) -> Found:
    mine, public = client(30, device), client(200, device, seed=1).images
    shape, found = mine.images.shape[1:], Found()
    for name, random in (("brightness", None), ("random", 3)):
        model = bins.plant(dense(device, shape), public, random=random)
        sent = federated.gradient(model, mine.images, mine.labels)
        read = bins.extract(sent, shape=shape)
        found |= {f"{name} images": read.images, f"{name} neurons": read.neurons, f"{name} shows": read.shows}
        found |= {f"{name} bias": model.get_submodule("fc1").bias, f"{name} full": bins.active_neurons(sent)}
    return found


def carried(device: torch.device) -> Found:
    mine = client(20, device)
    shape = mine.images.shape[1:]
    model = models.vgg_inspired(shape, 10, filters=(6, 8), neurons=200, seed=0).to(device)
    made = transmission.transmit(model, shape, seed=0)
    planted = made.load(trap_weights.draw(200, mine.images[0].numel(), seed=1).weights(0.95).to(device))
    sent = made.restore(federated.gradient(planted, mine.images, mine.labels))
    found = gradient_extraction.extract(sent, shape=shape, layer=made.layer)
    return {"columns": made.columns, "scales": made.scales, "images": found.images, "neurons": found.neurons}


def sentences(device: torch.device) -> Found:
    text = data.load("manual", length=40)
    some = text.sample(20, 0)
    model = models.embedding_classifier(words=len(text.vocabulary), length=40, dim=30, neurons=300, classes=79, seed=0)
    model = text_extraction.plant(model.to(device), 0.95, seed=0)
    sent = federated.gradient(model, some.tokens.to(device), some.labels.to(device))
    found = text_extraction.read(sent, model.get_submodule("embedding").weight)
    return {"words": model.get_submodule("embedding").weight, "tokens": found.tokens, "neurons": found.neurons}


def spanned(device: torch.device) -> Found:
    """Whole sentences of the manual, without noise and through a little that is known."""
    text = data.load("manual", length=9)
    some = text[(text.tokens > 0).all(1).nonzero()[:, 0]].sample(5, 0).to(device)
    model = models.transformer(words=len(text.vocabulary), length=8, dim=64, seed=0).to(device)
    sent = federated.gradient(model, some.tokens[:, :-1], some.tokens[:, 1:], loss=models.next_word)
    options = {"words": len(text.vocabulary), "length": 8}
    found = span_check.reconstruct(model, sent, **options)
    noisy = span_check.reconstruct(model, perturbation.gaussian(sent, 1e-6, seed=2), **options, noise=1e-6)
    read = {"sentences": torch.stack(found.sentences), "through noise": torch.stack(noisy.sentences)}
    return {**read, "certified": float(found.certified), "rank": float(found.ranks[1]), "words": found.words[0]}


def through_noise(device: torch.device) -> Found:
    mine = client(5, device)
    model = dense(device, mine.images.shape[1:])
    sent = federated.gradient(model, mine.images, mine.labels)
    noisy = perturbation.gaussian(sent, 1e-4, seed=2)
    found = noisy_extraction.reconstruct(noisy, std=1e-4, shape=mine.images.shape[1:])
    noise = {name: noisy[name] - sent[name] for name in ("fc1.bias", "output.bias")}
    return {"images": found.images, "said": found.noise, **named(noise)}


def inverted_by_rank(device: torch.device) -> Found:
    mine = client(5, device, "digits")
    model = dense(device, mine.images.shape[1:])
    found = rank_inversion.reconstruct(
        model, federated.gradient(model, mine.images, mine.labels), shape=mine.images.shape[1:]
    )
    order = found.images.flatten(1).sum(1).argsort()
    return {"images": found.images[order], "certified": torch.tensor(found.certified), "rank": torch.tensor(found.rank)}


def labels(device: torch.device) -> Found:
    many = client(16, device, "digits")
    model = models.lenet(many.images.shape[1:], 10, seed=0).to(device)
    sent = federated.gradient(model, many.images, many.labels)
    one = federated.gradient(model, many.images[:1], many.labels[:1])
    all_of_them = label_inference.labels(model, [sent], shape=many.images.shape[1:])
    return {"one": torch.tensor(label_inference.single(one)), "many": all_of_them}


def leaked(device: torch.device) -> Found:
    """Ten steps: further on, the search of a line turns a rounding into another way."""
    mine = client(1, device, "digits")
    model = models.lenet(mine.images.shape[1:], 10, seed=0, **LENET).to(device)
    sent = federated.gradient(model, mine.images, mine.labels)
    how = {"shape": mine.images.shape[1:], "restarts": 2, "every": True, "iterations": 10}
    found = deep_leakage.reconstruct(model, sent, labels=mine.labels[None], **how)
    start = deep_leakage.reconstruct(model, sent, labels=mine.labels[None], **{**how, "iterations": 1})
    return {"images": found.images, "loss": found.loss, "first": start.images}


def inverted(device: torch.device) -> Found:
    """The loss along the way: steps on the signs of slopes are other steps where a slope is a rounding."""
    mine = client(1, device)
    model = models.lenet(mine.images.shape[1:], 10, seed=0).to(device)
    sent = federated.gradient(model, mine.images, mine.labels)
    seen: list[Tensor] = []
    how = {"shape": mine.images.shape[1:], "restarts": 2, "iterations": 30}
    found = inverting_gradients.reconstruct(
        model,
        sent,
        mine.labels[None],
        **how,
        watch=lambda _step, _points, loss: seen.append(loss.detach().cpu().flatten()),
    )
    guesses = found.images.reshape(2, *mine.images.shape[1:])
    return {"losses": torch.stack(seen), "psnr": reconstruction.psnr(guesses, mine.images.expand_as(guesses))}


def decoded(device: torch.device) -> Found:
    mine, own = client(8, device, "digits"), client(64, device, "digits", seed=1)
    parts = split.segments(models.split_cnn(mine.images.shape[1:], 10, seed=0).to(device), "pool2")
    sent, known = split.send(parts.owner, mine.images), split.send(parts.owner, own.images)
    linear = decoder.reconstruct(decoder.least_squares(known, own.images), sent)
    network = decoder.fit(parts.owner, own.images, epochs=2, steps=20, seed=1)
    guesses = decoder.reconstruct(network, sent)
    noisy = decoder.mean_of_copies(partial(laplace_noise.laplace, scale=0.5), 3)(sent, seed=4)
    return {
        "linear": linear,
        "network": guesses,
        "noise": noisy - sent,
        "mse": reconstruction.mse(guesses, mine.images),
        "ssim": reconstruction.ssim(guesses, mine.images),
    }


def members(device: torch.device) -> Found:
    """Nine models, of which the first is the target, of 120 digits; 40 more are the population."""
    source = client(160, device, "digits")
    used = torch.zeros(9, 160, dtype=torch.bool)
    used[:, :120] = predictions.halves(9, 120, seed=0)
    make = partial(models.fully_connected, source.images.shape[1:], 10, widths=(32,))
    how = {"epochs": 20, "batch": 20, "lr": 0.01, "seed": 1, "progress": False}
    made = predictions.fit_and_ask(lambda seed: make(seed=seed).to(device), source.images, source.labels, used, **how)
    signals = membership.scaled_confidence(made, source.labels)
    losses = membership.negative_loss(made, source.labels)
    known, held = used[:, :120].to(device), slice(None, 120)
    target, references = signals[0, held], signals[1:, held]
    population = (losses[0, 120:].exp()[None], losses[1:, 120:].exp())
    lira = membership.lira(target, references, known[1:], shared=True)
    model = make(seed=0).to(device)
    own = dp_sgd.per_example(model, source.images, source.labels)
    slopes = torch.cat([each.flatten(1) for each in own.values()], 1)
    half, random = federated.Client(source.images[:60], source.labels[:60]), torch.Generator().manual_seed(0)
    sent = federated.local_update(model, half, **QUICK, random=random)
    update = torch.cat([each.flatten() for each in sent.values()])
    return {
        "used": used,
        "logits": made,
        "lira": lira,
        "bavaria": membership.bavaria(target, references, known[1:]),
        "rmia": membership.rmia(
            losses[:1, held].exp(), losses[1:, held].exp(), known[1:], population=population, online=False
        ),
        "shadow": membership.shadow(made[0, held], source.labels[held], made[1:, held], source.labels[held], known[1:]),
        "aligned": membership.update_alignment(update, slopes),
        "threshold": membership.calibrated_threshold(references, known[1:]),
        "auc": membership_metrics.auc(lira, known[0]),
    }


def linked(device: torch.device) -> Found:
    """Made updates of five users; the attacks' own networks, in few steps."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"STEPS": 100, "EPOCHS": 1, "SIAMESE_STEPS": 100}.items():
            patch.setattr(linkability, name, value)
        return linked_in_full(device)


def linked_in_full(device: torch.device) -> Found:
    random = torch.Generator().manual_seed(0)
    own = torch.randn(5, 40, generator=random)
    users = torch.arange(5).repeat(8)
    rows = nn.functional.normalize(own[users] + 1.2 * torch.randn(40, 40, generator=random), dim=1).to(device)
    users = users.to(device)
    clients = torch.arange(40, device=device) // 2
    known, asked = rows[:20], rows[20:]
    found: Found = {}
    for attack in linkability.IDENTIFY:
        found[f"identify {attack}"] = linkability.identify(known, users[:20], asked, attack=attack)
    first, second = torch.triu_indices(20, 20, 1)
    for attack in linkability.MATCH:
        how = {"attack": attack, "seed": 1}
        found[f"match {attack}"] = linkability.match(
            known, users[:20], clients[:20], asked[first.to(device)], asked[second.to(device)], **how
        )
    sums = nn.functional.normalize(known[:10] + known[10:], dim=1)
    present = (users[:10, None] == torch.arange(5, device=device)) | (
        users[10:20, None] == torch.arange(5, device=device)
    )
    for attack in linkability.AMONG:
        found[f"among {attack}"] = linkability.among(sums, present, asked, attack=attack)
    found["precision"] = linkability_metrics.average_precision(found["identify mlp"], users[20:])
    return found


def guessed(device: torch.device) -> Found:
    """Whether a nucleus has a texture above the median, from a model, without it, and from gradients."""
    cells = data.load("tumours").to(device)
    coarse = (cells.values[:, 1] > cells.values[:, 1].median()).long()
    records = torch.cat([cells.values[:, 2:8], torch.eye(2, device=device)[coarse]], 1)
    network = models.fully_connected((1, 8), 2, widths=(16,), seed=0).to(device)
    model = predictions.fit(network, records[:, None], cells.labels, epochs=5, lr=0.1, optimiser="sgd")
    candidates = attribute_inference.completed(records[:100], (6, 7), torch.eye(2))

    def ask(some: Tensor) -> Tensor:
        return predictions.predict(model, some[:, None]).softmax(1)

    known, values = [], torch.arange(40) % 2
    for place, value in enumerate(values):
        chosen = (coarse == value).nonzero()[place * 4 : place * 4 + 4, 0]
        known.append(federated.gradient(model, records[chosen, None], cells.labels[chosen]))
    prior = torch.tensor([0.5, 0.5])
    said = partial(attribute_inference.maximum, ask, candidates, cells.labels[:100], prior=prior)
    return {
        "candidates": candidates,
        "decided": said(confusion=torch.tensor([[9.0, 1.0], [2.0, 8.0]])),
        "confident": said(),
        "imputed": attribute_inference.impute(records[100:, :6], coarse[100:], records[:100, :6]),
        "updates": attribute_inference.from_updates(known[:30], values[:30], known[30:]),
    }


def stolen(device: torch.device) -> Found:
    """A victim of ten classes, three students of it, and a linear model."""
    mine = client(200, device, "digits")
    make = partial(models.fully_connected, mine.images.shape[1:], 10, widths=(32,))
    victim = predictions.fit(make(seed=0).to(device), mine.images, mine.labels, **QUICK, optimiser="sgd")
    said = predictions.predict(victim, mine.images)
    found: Found = {}
    answers = {
        "logits": lambda made: made,
        "probabilities": lambda made: made.softmax(1),
        "labels": lambda m: m.argmax(1),
    }
    for kind, answer in answers.items():
        copy = model_extraction.extract(
            lambda some, answer=answer: answer(predictions.predict(victim, some)),
            make(seed=1).to(device),
            mine.images,
            answers=kind,
            queries=100,
            **QUICK,
            optimiser="sgd",
        )
        found[kind] = predictions.predict(copy, mine.images)
        found[f"fidelity {kind}"] = agreement.fidelity(found[kind], said)
    flat = models.initialisation.draw_like_pytorch(nn.Linear(20, 4), 0).to(device)
    weight, bias = model_extraction.linear(lambda some: predictions.predict(flat, some.to(device)), 20)
    return {**found, "weight": weight, "bias": bias}


def overheard(device: torch.device) -> Found:
    """On made times, of which the right class is known on every device."""
    made = {str(width): width * torch.linspace(1, 2, 50).to(device) for width in (1, 8)}
    name, separation = side_channel.tell(made, made["8"] * 1.1)
    return {"width": float(name), "separation": separation}


# --- defences ----------------------------------------------------------------------------------------------------


def perturbed(device: torch.device) -> Found:
    mine = client(8, device, "digits")
    model = dense(device, mine.images.shape[1:], (50,))
    sent = federated.gradient(model, mine.images, mine.labels)
    still = messages.Gradient({name: torch.zeros_like(sent[name]) for name in sent}, 8)
    return {
        **named(perturbation.gaussian(still, 0.5, seed=1), "noise "),
        **named(perturbation.clip(sent, 0.1), "clipped "),
        **named(perturbation.prune(perturbation.gaussian(still, 0.5, seed=1), 0.7), "pruned "),
        **named(perturbation.clip_and_noise(sent, 0.1, 1.0, seed=1), "both "),
    }


def laplace(device: torch.device) -> Found:
    sent = client(8, device, "digits").images
    noisy = laplace_noise.laplace(torch.zeros_like(sent), 0.5, seed=1)
    return {"noise": noisy, "relative": laplace_noise.relative(sent, 0.5)}


def updates(device: torch.device, count: int = 3) -> list[messages.Update]:
    clients = [client(20, device, "digits", seed=seed) for seed in range(count)]
    model = dense(device, clients[0].images.shape[1:], (20,))
    random = torch.Generator().manual_seed(0)
    return [federated.local_update(model, each, **QUICK, random=random) for each in clients]


def nothing(update: messages.Update) -> messages.Update:
    """An update of zeros, which noise is added to: what comes out is what was drawn."""
    return messages.Update({name: torch.zeros_like(each) for name, each in update.items()}, {})


def aggregated(device: torch.device) -> Found:
    sent = updates(device, 7)
    found = {
        "median": aggregation.median(sent),
        "trimmed": aggregation.trimmed_mean(sent, 2),
        "krum": aggregation.krum(sent, 1),
        "multi": aggregation.multi_krum(sent, 1, 3),
        "bulyan": aggregation.bulyan(sent, 1),
        "mean": aggregation.mean(sent),
        "clipped": aggregation.clipped_mean(sent),
        "geometric": aggregation.geometric_median(sent),
    }
    return {f"{way} {name}": each[name] for way, each in found.items() for name in each}


def summed(device: torch.device) -> Found:
    made = secure_sum.secure_sum(updates(device, 5), dropouts={1}, seed=1)
    return named(made.total)


def clients_dp(device: torch.device) -> Found:
    found: Found = {}
    for where in client_dp.WHERE:
        made = client_dp.aggregate(updates(device), clip=0.1, noise=1.0, where=where, seed=1)
        found |= named(made.mean, f"{where} ")
    still = [nothing(each) for each in updates(device)]
    return found | named(client_dp.aggregate(still, clip=0.1, noise=1.0, seed=1).mean, "noise ")


def crowded(device: torch.device) -> Found:
    mine, others = client(20, device, "digits"), client(60, device, "digits", seed=1)
    sent = updates(device)[0]
    groups = crowd.clusters(others.images.flatten(1), 3, seed=0)
    (moded,) = crowd.augment_by_mode([mine], others, groups.to(device), 0.5, seed=2)
    some = {"replaced": crowd.replace(mine, others, 0.5), "more": crowd.augment(mine, others, 0.5), "mode": moded}
    drawn = {name: each.images for name, each in some.items()}
    layer = next(iter(sent)).rpartition(".")[0]
    noise = crowd.noise(nothing(sent), 0.1, seed=3)
    return {
        **drawn,
        "groups": groups,
        **named(noise, "noise "),
        **named(crowd.top_k(noise, 0.2), "top "),
        **named(crowd.signs(sent), "signs "),
        **named(crowd.only(sent, layer), "only "),
    }


def detected(device: torch.device) -> Found:
    shape = client(1, device).images.shape[1:]
    model = dense(device, shape)
    honest = model.get_submodule("fc1").weight.detach()
    planted = trap_weights.plant(model, 0.95, seed=0).get_submodule("fc1").weight.detach()
    filters = models.lenet(shape, 10, seed=0).to(device).get_submodule("conv1").weight.detach()
    ways = (detection.sign_imbalance, detection.pinned_rows, detection.paired_magnitudes, detection.kolmogorov_smirnov)
    return {
        **{f"{way.__name__} {name}": way(each) for way in ways for name, each in (("h", honest), ("p", planted))},
        "filters": detection.one_hot_filters(filters),
        "jump": detection.jump(honest, planted),
    }


def private(device: torch.device) -> Found:
    """The noise, too: its seed is that of the CPU where it is drawn there."""
    mine = client(30, device, "digits")
    model = models.lenet(mine.images.shape[1:], 10, seed=0).to(device)
    each = dp_sgd.per_example(model, mine.images, mine.labels, clip=0.5)
    sent = dp_sgd.gradient(model, mine.images, mine.labels, clip=0.5, noise=1.0, seed=1)
    how = {"clip": 0.5, "noise": 1.0, "epochs": 1, "batch": 10, "lr": 0.1, "seed": 1}
    trained = dp_sgd.train(model, mine, **how)
    return {**named(each, "each "), **named(sent, "sent "), **named(dict(trained.named_parameters()), "trained ")}


def unlike(device: torch.device) -> Found:
    mine = client(64, device, "digits")
    model = models.split_cnn(mine.images.shape[1:], 10, seed=0).to(device)
    how = {"cut": "tanh3", "epochs": 1, "batch": 32, "lr": 1e-3, "seed": 1}
    parts = split.train(model, [mine], **how, penalty=nopeek.penalty(0.5))
    sent = split.send(parts.owner, mine.images)
    return {"sent": sent, "loss": nopeek.loss(mine.images, sent, alpha=0.5)}


def regular(device: torch.device) -> Found:
    mine = client(60, device, "digits")
    make = partial(models.fully_connected, mine.images.shape[1:], 10, widths=(32,))
    teacher = predictions.fit(make(seed=0).to(device), mine.images, mine.labels, **QUICK, optimiser="sgd", seed=1)
    student = regularisation.distil(
        teacher, make(seed=2).to(device), mine.images, temperature=2.0, **QUICK, optimiser="sgd", seed=3
    )
    small = regularisation.prune_weights(make(seed=0).to(device), 0.5)
    answers = predictions.predict(teacher, mine.images)
    return {
        "teacher": answers,
        "student": predictions.predict(student, mine.images),
        "pruned": predictions.predict(small, mine.images),
        "masked": regularisation.mask(answers, 3),
    }


def shielded(device: torch.device) -> Found:
    mine = client(3, device, "digits")
    model = models.lenet(mine.images.shape[1:], 10, seed=0).to(device)
    hidden = soteria.telling_mask(model, mine.images, share=0.4)
    return {"mask": hidden, **named(soteria.gradient(model, mine.images, mine.labels, share=0.4))}


def evaded(device: torch.device) -> Found:
    """A network with a smooth activation, since a slope at a kink is one of rounding; few steps for the same reason."""
    mine = client(12, device, "digits")
    model = models.fully_connected(mine.images.shape[1:], 10, widths=(32,), activation="sigmoid", seed=0).to(device)
    both = (model, mine.images, mine.labels)
    signs = evasion.fgsm(*both, epsilon=0.1)
    round_ = evasion.pgd(*both, epsilon=1.0, steps=3, norm="l2", restarts=2, seed=1)
    sticker = evasion.patch(*both, size=5, steps=3, step=0.1, seed=2)
    asked, spent = evasion.square(model, *both[1:], epsilon=0.1, queries=5, seed=3)
    stuck = evasion.stick(mine.images, sticker, seed=4)
    return {"fgsm": signs, "pgd": round_, "sticker": sticker, "stuck": stuck, "square": asked, "spent": spent}


def hardened(device: torch.device) -> Found:
    mine = client(20, device, "digits")
    model = models.fully_connected(mine.images.shape[1:], 10, widths=(32,), activation="sigmoid", seed=0).to(device)
    attack = partial(evasion.pgd, epsilon=0.5, steps=2, norm="l2")
    hard = adversarial_training.fit(
        model, mine.images, mine.labels, attack, epochs=2, batch=10, lr=0.1, optimiser="sgd"
    )
    train = partial(adversarial_training.local_updates, attack=attack)
    both = federated.fed_avg(model, [mine, client(15, device, "digits", 1)], rounds=1, train=train)
    return {"alone": hard.output.weight.detach(), "together": both.output.weight.detach()}


def poisoned(device: torch.device) -> Found:
    """A round in which two of five lie, and each lie by itself."""
    clients = [client(20, device, "digits", seed=seed) for seed in range(5)]
    model = dense(device, clients[0].images.shape[1:], (20,))
    sent = updates(device, 5)
    lies = {
        "scale": poisoning.scale(sent, -2.0),
        "ipm": poisoning.ipm(sent),
        "alie": poisoning.alie(sent, 9, 4),
        **{way: poisoning.adaptive(sent, aggregation.median, 2, way) for way in ("mean", "sign", "spread")},
    }
    train = poisoning.Colluders(clients[:2], lambda known: poisoning.scale(known, -3.0), omniscient=True)
    how = {"rounds": 2, "train": train, "aggregate": partial(aggregation.trimmed_mean, f=2)}
    return {
        "labels": poisoning.flip_labels(clients[0], 10, share=0.5, seed=1).labels,
        "images": poisoning.perturb_images(clients[0], 0.3, seed=1).images,
        **{f"{way} {name}": each[name] for way, each in lies.items() for name in each},
        **named(dict(federated.fed_avg(model, clients, **how).named_parameters()), "trained "),
    }


def backdoored(device: torch.device) -> Found:
    mine = client(60, device, "digits")
    marked = backdoor.poison(mine, 0, share=0.3, seed=1)
    kind = backdoor.relabel(mine, mine.labels == 1, 0)
    model = predictions.fit(
        dense(device, mine.images.shape[1:], (20,)), marked.images, marked.labels, **QUICK, optimiser="sgd"
    )
    answers = predictions.predict(model, backdoor.stamp(mine.images))
    rate = robustness.backdoor_rate(answers, mine.labels, 0)
    return {"images": marked.images, "labels": marked.labels, "kind": kind.labels, "answers": answers, "rate": rate}


def analysed(device: torch.device) -> Found:
    """Who is named, and what is made of the others."""
    sent = updates(device, 7)
    lies = [poisoning.scale(sent[:1], 20.0), poisoning.scale(sent[1:2], -1.0), *sent[2:]]
    rule = update_analysis.without(update_analysis.by_length, update_analysis.by_direction)
    return {
        "long": torch.isin(torch.arange(7), torch.tensor(update_analysis.by_length(lies))),
        "turned": torch.isin(torch.arange(7), torch.tensor(update_analysis.by_direction(lies))),
        **named(rule(lies)),
    }


def verified(device: torch.device) -> Found:
    clients, trap = [client(20, device, "digits", seed=seed) for seed in range(4)], client(30, device, "digits", seed=9)
    model = dense(device, clients[0].images.shape[1:], (20,))
    rule = verification.TrapSet(model, trap.images, trap.labels, keep=2)
    federated.fed_avg(model, clients, rounds=2, train=together.local_updates, aggregate=rule)
    return {"scores": torch.tensor(rule.scores), **named(dict(rule.model.named_parameters()))}


def tracked(device: torch.device) -> Found:
    """The same bytes wherever they lie: of an update whose numbers are drawn, and not computed."""
    numbers = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).to(device)
    digest = tracking.fingerprint(messages.Update({"weight": numbers}, {"seen": numbers[0].long()}))
    return {"digest": torch.tensor(list(digest))}


def dormant(device: torch.device) -> Found:
    mine = client(30, device, "digits")
    model = pruning.prune_dormant(dense(device, mine.images.shape[1:], (20,)), "fc1", mine.images, 0.3)
    return {"weight": model.get_submodule("fc1").weight, "answers": predictions.predict(model, mine.images)}


def sanitised(device: torch.device) -> Found:
    mine, clean = client(30, device, "digits"), client(100, device, "digits", seed=1)
    made, changed = data_analysis.sanitise(poisoning.flip_labels(mine, 10), clean.images, clean.labels)
    return {"labels": made.labels, "changed": changed, "images": made.images}


# By the module of the attack or the defence.
PIPELINES: dict[str, Pipeline] = {
    "attacks.gradient_extraction": extract,
    "attacks.trap_weights": trapped,
    "attacks.bins": binned,
    "attacks.transmission": carried,
    "attacks.text_extraction": sentences,
    "attacks.span_check": spanned,
    "attacks.noisy_extraction": through_noise,
    "attacks.rank_inversion": inverted_by_rank,
    "attacks.label_inference": labels,
    "attacks.deep_leakage": leaked,
    "attacks.inverting_gradients": inverted,
    "attacks.decoder": decoded,
    "attacks.membership": members,
    "attacks.linkability": linked,
    "attacks.attribute_inference": guessed,
    "attacks.model_extraction": stolen,
    "attacks.side_channel": overheard,
    "attacks.evasion": evaded,
    "attacks.poisoning": poisoned,
    "attacks.backdoor": backdoored,
    "defences.adversarial_training": hardened,
    "defences.perturbation": perturbed,
    "defences.laplace_noise": laplace,
    "defences.aggregation": aggregated,
    "defences.secure_sum": summed,
    "defences.client_dp": clients_dp,
    "defences.crowd": crowded,
    "defences.detection": detected,
    "defences.dp_sgd": private,
    "defences.nopeek": unlike,
    "defences.regularisation": regular,
    "defences.soteria": shielded,
    "defences.update_analysis": analysed,
    "defences.verification": verified,
    "defences.tracking": tracked,
    "defences.pruning": dormant,
    "defences.data_analysis": sanitised,
}
NEAR = {  # relative to the largest number; 1e-4 for all others
    "attacks.deep_leakage": 1e-2,
    "attacks.inverting_gradients": 0.05,
    "attacks.decoder": 2e-2,
    "attacks.membership": 1e-2,
    "attacks.linkability": 5e-2,
    "attacks.attribute_inference": 1e-2,
    "attacks.model_extraction": 1e-3,
    "defences.nopeek": 1e-2,
    "defences.dp_sgd": 1e-3,
    "defences.regularisation": 1e-3,
}
SAME = {  # what is drawn, or chosen by what is drawn: the same bit for bit on every device
    "attacks.trap_weights": ("planted",),
    "attacks.text_extraction": ("words",),
    "attacks.backdoor": ("images",),
    "defences.perturbation": ("noise ", "pruned "),
    "defences.laplace_noise": ("noise",),
    "defences.client_dp": ("noise ",),
    "defences.crowd": ("replaced", "more", "noise ", "top "),
}
