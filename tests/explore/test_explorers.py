import dataclasses
import functools
import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from privlab import data, explore, models
from privlab.attacks import deep_leakage, noisy_extraction
from privlab.defences import clip, gaussian, perturbation
from privlab.explore import (
    detecting,
    frames,
    hiding,
    inverting,
    leaking,
    mingling,
    noise,
    poisoning,
    spending,
    stealing,
)
from privlab.explore.explorer import key
from privlab.explore.frame import LEVELS, css, mosaic, pack, pixels, unpack
from privlab.metrics import extraction, reconstruction
from privlab.sharing import federated

EXPLORERS = {
    "decode": explore.decode_explorer,
    "hide": explore.hide_explorer,
    "steal": explore.steal_explorer,
    "blur": explore.blur_explorer,
    "flag": explore.flag_explorer,
    "invert": explore.invert_explorer,
    "leak": explore.leak_explorer,
    "link": explore.link_explorer,
    "mingle": explore.mingle_explorer,
    "infer": explore.infer_explorer,
    "spend": explore.spend_explorer,
    "adapt": explore.adapt_explorer,
    "ask": explore.ask_explorer,
    "carry": explore.carry_explorer,
    "show": explore.show_explorer,
    "gather": explore.gather_explorer,
    "fool": explore.fool_explorer,
    "poison": explore.poison_explorer,
    "rank": explore.rank_explorer,
}


ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _stored(monkeypatch):
    """Explorers that show measured rows read those of the checkout."""
    monkeypatch.setenv("PRIVLAB_RESULTS", str(ROOT / "results"))


@pytest.fixture(scope="module")
def explorer():
    return explore.steal_explorer()


@functools.cache  # sixty frames, of which each takes an attack
def made_page(name):
    made = EXPLORERS[name]()
    return made, made.html()


def on_page(page):
    """The frames of a page, as the front end draws them, and its sprite put back to where the style has it."""
    packed = json.loads(re.search(r" page = (\{.*\});\n", page)[1].replace("<\\/", "</"))
    images = re.findall(r"background-image:url\((data:[^)]*)\)", page)
    assert len(images) == bool(packed["sprite"])  # once
    if images:
        packed["sprite"]["image"] = images[0]
    return packed


def grey(level, count=1, side=4):
    return pixels(torch.full((count, 1, side, side), level))


def frame(alt="a picture", level=0.5, **numbers):
    return explore.Frame((mosaic("one", grey(level)),), alt, numbers)


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_explorer_works_at_the_corners_of_its_grid(name):
    made = EXPLORERS[name]()
    corners = made.corners()
    assert len(corners) == 2 ** len(made.knobs)
    for setting in corners:
        shown = made.frame(setting)
        assert bool(shown.panels) != bool(shown.plot)
        for panel in shown.panels:
            assert panel.images.dtype == np.uint8
            assert 1 <= panel.columns <= max(8, 2 * len(panel.images))
        assert len(shown.alt) > 20
        assert shown.numbers
        for value in shown.numbers.values():
            assert isinstance(value, str) or len(value) == len(shown.heads)


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_explorer_stays_small_and_its_page_holds_each_image_to_the_last_bit(name):
    made, page = made_page(name)
    assert len(made.grid()) <= 60
    assert len(page) <= 420_000
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    found = unpack(on_page(page))
    assert found.keys() == {key(setting) for setting in made.grid()}
    for setting in made.corners():
        computed, sent = made.frame(setting), found[key(setting)]
        assert (sent.alt, sent.plot, sent.heads, sent.beside) == (
            *(computed.alt, computed.plot),
            *(computed.heads, computed.beside),
        )
        for one, other in zip(computed.panels, sent.panels, strict=True):
            assert np.array_equal(one.images, other.images)
            assert (one.title, one.note, one.columns, one.marked) == (
                *(other.title, other.note),
                *(other.columns, other.marked),
            )


@pytest.mark.parametrize("name", EXPLORERS)
def test_settings_are_named_for_links_and_categories_have_buttons(name):
    made = EXPLORERS[name]()
    assert made.spec["name"] == name
    assert re.fullmatch(r"[a-z]+", name)  # it stands in an address
    for knob in made.knobs:
        assert knob.label.strip()
        words = all(isinstance(value, str) for value in knob.values)
        assert knob.choice == (
            words and knob.name not in ("cut", "alpha")
        )  # layers and amounts have an order: a slider


def test_an_image_of_8_bits_is_shown_exactly_and_any_other_to_40_decibels():
    whole = torch.arange(256).reshape(1, 1, 16, 16) / 255
    assert np.array_equal(pixels(whole)[0, ..., 0], np.arange(256).reshape(16, 16))
    noise = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    shown = torch.from_numpy(pixels(noise, LEVELS)).permute(0, 3, 1, 2) / 255
    assert reconstruction.psnr(shown, noise).min() > 40
    assert pixels(torch.tensor([[[[-1.0, 2.0]]]])).tolist() == [[[[0], [255]]]]


def test_frames_are_packed_in_one_sprite_without_loss_and_each_image_once():
    generator = torch.Generator().manual_seed(0)
    images = pixels(torch.rand(60, 3, 5, 7, generator=generator))
    first = explore.Frame((explore.Panel("a", images, 10, "n", (1, 3)),), "alt", {"x": ("1", "2")}, heads=("p", "q"))
    second = explore.Frame((mosaic("b", images[5:9]), mosaic("c", images[:1])), "other", {"y": "3"}, beside=True)
    packed = json.loads(json.dumps(pack({"1": first, "2": second})))
    assert packed["sprite"]["count"] == 60
    assert packed["frames"]["2"]["panels"][0]["tiles"] == [5, 6, 7, 8]
    for made, found in zip((first, second), unpack(packed).values(), strict=True):
        for one, other in zip(made.panels, found.panels, strict=True):
            assert np.array_equal(one.images, other.images)
        assert dataclasses.replace(found, panels=()) == dataclasses.replace(made, panels=())
    with pytest.raises(ValueError, match="one shape"):
        pack({"1": first, "2": frame()})
    assert css(None, "x") == ""


def test_the_page_shows_the_first_frame_with_alt_text_before_any_script():
    explorer, page = made_page("steal")
    static = page.split("<script")[0]
    first = explorer.function(**explorer.start)
    assert re.search(r'role="img" aria-label="([^"]+)"', static)[1] == first.alt
    assert static.count('<i class="pl-tile') == 100
    assert static.count('"pl-tile pl-on"') == len(first.panels[0].marked)


def test_a_frame_alone_shows_its_picture_in_a_notebook():
    made = stealing.steal(10, 0.95, 200)._repr_html_()
    assert made.count('<i class="pl-tile') == 10
    assert made.count("data:image/webp") == 1


def test_a_setting_shows_what_the_attack_measures():
    shown = stealing.steal(50, 0.95, 1000)
    batch = data.load("patches").sample(200, 0)[:50]
    from privlab import models
    from privlab.attacks import gradient_extraction, trap_weights

    model = trap_weights.plant(models.fully_connected((3, 32, 32), 7, widths=(1000,), seed=0), 0.95, seed=0)
    rows = gradient_extraction.candidates(federated.gradient(model, batch.images, batch.labels))
    score = extraction.score(rows, batch.images, neurons=1000)
    assert shown.numbers["stolen"] == f"{round(50 * score.recall)} of 50 images"
    assert shown.numbers["recall R"][0] == f"{score.recall:.2f}"
    assert shown.numbers["precision P"][0] == f"{score.precision:.2f}"
    assert np.array_equal(shown.panels[0].images, pixels(batch.images))
    hits = extraction.match(
        gradient_extraction.extract(federated.gradient(model, batch.images, batch.labels), shape=(3, 32, 32)).images,
        batch.images,
    )
    assert set(shown.panels[0].marked) == set(hits[hits >= 0].tolist())


def test_larger_batches_hide_images_better():
    small, large = (float(stealing.steal(batch, 0.95).numbers["recall R"][0]) for batch in (20, 200))
    assert small > 2 * large


def test_the_papers_value_is_shown_where_it_has_one():
    def paper(*setting):
        shown = stealing.steal(*setting)
        assert shown.heads == ("here", "paper, CIFAR-10")
        return [shown.numbers[name][1] for name in ("active neurons A", "precision P", "recall R")]

    assert paper(100, 0.95) == ["0.73", "0.41", "0.54"]
    assert paper(20, 0.95, 200) == ["0.45", "0.67", "0.69"]
    assert paper(20, 0.97, 200) == ["–"] * 3


def test_settings_off_the_grid_are_computed_and_bad_ones_answered(explorer, monkeypatch):
    sent = []
    monkeypatch.setattr(explorer, "send", sent.append)
    settings = {"batch": 37, "s": 0.943, "neurons": 300}
    explorer._answer(explorer, {"kind": "frame", "id": 5, "settings": settings}, [])
    assert sent[0]["id"] == 5
    assert sent[0]["page"]["frames"][""]["alt"].startswith("Mini-batch of 37 images")
    explorer._answer(explorer, {"kind": "frame", "id": 6, "settings": {**settings, "s": 3}}, [])
    assert sent[1]["kind"] == "error"
    assert "out of range" in sent[1]["text"]
    explorer._answer(explorer, {"kind": "other"}, [])
    assert len(sent) == 2


def test_frames_stay_out_of_the_widgets_state(explorer):
    state = json.dumps(explorer.get_state(), default=str)
    assert len(state) < 250_000  # the front end, the first frame with its hundred images, and no other


def test_a_grid_that_is_too_large_or_a_start_beside_it_is_refused():
    knob = explore.Knob("a", "A", tuple(range(61)))
    with pytest.raises(ValueError, match="61 settings; keep it to 60"):
        explore.Explorer(lambda a: frame(), [knob], start={"a": 0}, name="x", title="t")
    with pytest.raises(ValueError, match=r"start\['a'\]=9"):
        explore.Explorer(lambda a: frame(), [explore.Knob("a", "A", (1, 2))], start={"a": 9}, name="x", title="t")


def test_text_in_a_frame_cannot_break_out_of_the_page():
    knob = explore.Knob("a", "A", (1.0, 2.0))
    hostile = '"><script>alert(1)</script>'
    made = explore.Explorer(lambda a: frame(alt=hostile), [knob], start={"a": 1.0}, name="x", title="t")
    page = made.html()
    assert hostile not in page
    assert page.count("</script>") == 1
    assert set(on_page(page)["frames"]) == {"1", "2"}  # JavaScript prints 1.0 as 1


def test_rows_of_images_show_at_most_what_is_asked():
    figure = explore.show_images({"one": torch.rand(9, 3, 8, 8), "two": torch.rand(3, 1, 8, 8)}, most=4)
    shown = [len(axis.images) for axis in figure.axes]
    assert shown == [1, 1, 1, 1, 1, 1, 1, 0]
    assert figure.axes[4].get_title() == "two"


def test_the_style_is_readable_by_the_colour_blind():
    import matplotlib.pyplot as plt

    explore.style()
    cycle = plt.rcParams["axes.prop_cycle"]
    assert len({entry["marker"] for entry in cycle}) == len(list(cycle))  # curves differ by more than colour


def test_the_servers_count_is_its_own_and_not_the_truths(monkeypatch):
    honest = stealing.gradient_extraction.extract

    def one_too_many(*arguments, **options):
        found = honest(*arguments, **options)
        return dataclasses.replace(found, images=torch.cat([found.images, torch.zeros_like(found.images[:1])]))

    monkeypatch.setattr(stealing.gradient_extraction, "extract", one_too_many)
    numbers = stealing.steal(20, 0.95, 200).numbers
    assert int(numbers["server's own count"].split()[0]) == int(numbers["stolen"].split()[0]) + 1


def test_the_seed_chooses_the_batch():
    one, other = (stealing.steal(10, 0.95, 200, seed=seed).panels[0].images for seed in (0, 1))
    assert not np.array_equal(one, other)


TITLES = ("one row", "rows combined")


def seen(setting, title):
    """Quality in dB and how many of 20 are recognised, as the explorer prints it."""
    assert setting.heads == TITLES
    quality, count = (setting.numbers[name][TITLES.index(title)] for name in ("this image", "images recognised"))
    return int(quality.removesuffix(" dB")), int(count.removesuffix(" of 20"))


def test_without_noise_the_guesses_are_the_clients_image():
    for clipping in (0.1, 100):
        shown = noise.blur(0, clipping)
        assert [seen(shown, title)[0] for title in TITLES] == [99, 99]
        truth, *guesses = (panel.images.astype(int) for panel in shown.panels)
        assert [panel.title for panel in shown.panels] == ["the client's image", *TITLES]
        for guess in guesses:
            assert abs(guess - truth).max() <= 255 / (LEVELS - 1) / 2 + 1
        assert min(seen(shown, title)[1] for title in TITLES) > 10


def test_the_image_that_is_watched_is_the_first_that_is_read_without_noise():
    shown = noise.blur(0.001, 1).panels[0].images
    client = data.load("digits").sample(1000, 0).images[:20]
    places = [i for i, image in enumerate(client) if np.array_equal(pixels(image[None]), shown)]
    _, sent, victim = noise._client("digits", 0)
    read = noisy_extraction.reconstruct(sent, std=0, shape=(1, 28, 28)).images
    found = extraction.match(read, client)
    assert places == [victim] == [min(found[found >= 0].tolist())]


def test_quality_falls_with_noise_and_at_a_noise_of_1_nothing_is_recognised():
    frames = [noise.blur(level, 1) for level in (0, 1e-4, 1e-3, 1e-1, 1)]
    for title in TITLES:
        qualities, counts = zip(*(seen(shown, title) for shown in frames), strict=True)
        # to within a decibel and an image, by which single draws of the noise differ
        assert all(later <= sooner + 1 for sooner, later in itertools.pairwise(qualities))
        assert all(later <= sooner + 1 for sooner, later in itertools.pairwise(counts[:4]))
        assert counts[-1] <= 2  # chance: 20 of 1000
    one, combined = (seen(frames[1], title) for title in TITLES)
    assert combined[0] > one[0] + 10
    assert combined[1] > one[1]


def test_the_blur_explorer_shows_what_the_library_measures():
    shown = noise.blur(0.002, 3)
    gallery, sent, victim = noise._client("digits", 0)
    images, std = gallery.images[:20], 0.002 * 3 / 20
    noisy = gaussian(federated.Gradient({k: clip(sent, 3)[k] for k in ("fc1.weight", "fc1.bias")}, 20), std, 0)
    assert shown.numbers["gradient's norm"] == f"{perturbation.norm(sent):.2f}"
    assert float(shown.numbers["noise on each number"]) == pytest.approx(std)
    for title, adversary in zip(TITLES, noisy_extraction.ADVERSARIES, strict=True):
        guess = noisy_extraction.reconstruct(noisy, std=std, shape=(1, 28, 28), adversary=adversary).images
        score = reconstruction.score(guess, images, gallery.images[20:])
        correlation = [np.corrcoef(g.flatten(), images[victim].flatten())[0, 1] for g in guess]
        nearest = guess[int(np.argmax(correlation))]
        quality, count = round(reconstruction.psnr(nearest, images[victim]).item()), round(20 * score.identified)
        assert seen(shown, title) == (quality, count)
        assert f"{title}: {quality} dB, recognised {count} of 20" in shown.alt
        panel = next(panel for panel in shown.panels if panel.title == title)
        assert np.array_equal(panel.images, pixels(nearest[None], LEVELS))
    other = noise.blur(0.002, 3, seed=1)
    assert other.numbers != shown.numbers


@pytest.mark.parametrize(("call", "words"), [((-1, 1), "noise=-1"), ((1, 0), "clipping=0")])
def test_blurring_by_bad_settings_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        noise.blur(*call)


def counted(shown):
    """False alarms and traps caught, by the explorer's numbers."""
    return [int(value.split()[0]) for name, value in shown.numbers.items() if name != "threshold"]


@pytest.mark.parametrize("detector", detecting.DETECTORS)
def test_false_alarms_stay_within_what_is_allowed_and_more_of_them_never_catch_less(detector):
    found = [counted(detecting.flag(detector, alarms)) for alarms in range(19)]
    assert all(false <= alarms for alarms, (false, *_) in enumerate(found))
    assert [false for false, *_ in found] == sorted(false for false, *_ in found)
    assert found[18][0] == 18
    assert found[0][0] == 0
    for caught in list(zip(*found, strict=True))[1:]:
        assert list(caught) == sorted(caught)


def test_flags_are_those_of_the_detector_at_its_threshold():
    scores = detecting._scores("pinned_rows", "patches", 0)
    assert [len(values) for values in scores.values()] == [6] * 6
    shown = detecting.flag("pinned_rows", 2)
    limit = float(shown.numbers["threshold"])
    honest = [value for kind in ("trained", "pruned", "sparse") for value in scores[kind]]
    assert sorted(honest)[-3] == pytest.approx(limit, abs=6e-4)
    assert counted(shown) == [
        2,
        *(sum(value > limit for value in scores[kind]) for kind in ("trap", "hidden_trained", "balanced_trained")),
    ]
    assert counted(shown)[1:] == [6, 6, 0]  # the fixed sum of rows gives traps away, unless they are balanced
    assert "2 false alarms" in shown.alt


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("magic", 1), "choose one of sign_imbalance, pinned_rows"),
        (("pinned_rows", 19), "alarms=19"),
        (("pinned_rows", -1), "alarms=-1"),
    ],
)
def test_bad_flags_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        detecting.flag(*call)


def test_the_detectors_plot_has_a_dot_for_each_model_and_a_rim_on_each_that_is_flagged():
    shown = detecting.flag("pinned_rows", 2)
    assert shown.plot.count("<circle") == 36
    assert shown.plot.count('stroke="currentColor"/></g>') + shown.plot.count('stroke="currentColor"/><circle') == sum(
        counted(shown)
    )
    line = float(re.search(r'<line x1="([\d.]+)%', shown.plot)[1])
    for place, rim in re.findall(r'cx="([-\d.]+)%" cy="\d+" r="6"( stroke="currentColor")?/>', shown.plot):
        assert 0 <= float(place) <= 100
        assert (float(place) > line) == bool(rim) or float(place) == line
    assert not re.search(r"#[0-9a-f]{3,6}|white|black", shown.plot)  # colours are the page's


def decibels(shown):
    """Mean and worst PSNR, as the inversion explorer prints them."""
    mean, worst = re.match(r"([\d.]+) \(([\d.]+)\) dB$", shown.numbers["PSNR, mean (worst)"]).groups()
    return float(mean), float(worst)


def test_inverting_shows_what_the_library_measures(monkeypatch):
    from privlab import models
    from privlab.attacks import inverting_gradients

    monkeypatch.setattr(inverting, "TOTAL", 40)
    monkeypatch.setattr(inverting, "WEIGHTS", (0.02,))
    inverting._run.cache_clear()
    shown = inverting.invert(2, 0.02, 40)
    client = data.load("digits").sample(2, 0)
    model = models.lenet(client.shape, 10, filters=(12, 12), fc=(), pool="stride", seed=0)
    sent = federated.gradient(model, client.images, client.labels)
    found = inverting_gradients.reconstruct(
        model, sent, client.labels.sort().values[None], shape=client.shape, alpha=0.02, iterations=40, ease=False
    )
    inverting._run.cache_clear()
    drawn = [panel.images for panel in shown.panels]
    assert np.array_equal(drawn[0], pixels(client.images))
    guesses = found.best()[0]
    guesses = guesses[reconstruction.match(guesses, client.images)]
    drawn = torch.from_numpy(drawn[1]).permute(0, 3, 1, 2) / 255
    assert reconstruction.psnr(drawn, guesses).min() > 39  # remembered in half precision, shown in 32 levels
    quality = reconstruction.psnr(guesses, client.images)
    assert decibels(shown) == (
        pytest.approx(quality.mean().item(), abs=0.06),
        pytest.approx(quality.min().item(), abs=0.06),
    )
    assert float(shown.numbers["server's own loss"]) == pytest.approx(found.loss.item(), abs=6e-5)
    whole = float(shown.numbers["cosine distance in it"]) + 0.02 * float(shown.numbers["total variation"])
    assert whole == pytest.approx(found.loss.item(), abs=2e-4)


def test_inverting_gets_nearer_with_iterations_and_a_large_weight_is_flat():
    path = [inverting.invert(1, 0.01, seen) for seen in inverting.SEEN]
    qualities = [decibels(shown)[0] for shown in path]
    assert qualities == sorted(qualities)
    assert qualities[-1] > qualities[0] + 20
    losses = [float(shown.numbers["server's own loss"]) for shown in path]
    assert losses == sorted(losses, reverse=True)
    flat = [float(inverting.invert(1, weight, 300).numbers["total variation"]) for weight in inverting.WEIGHTS]
    assert flat == sorted(flat, reverse=True)
    assert decibels(inverting.invert(1, 0.01, 300))[0] > decibels(inverting.invert(1, 1, 300))[0] + 5


@pytest.mark.parametrize(
    ("call", "words"),
    [((9, 0.01, 30), "batch=9"), ((1, -1, 30), "tv=-1"), ((1, 0.01, 301), "iterations=301")],
)
def test_inverting_by_bad_settings_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        inverting.invert(*call)


PLAIN_LENET = "LeNet with strides"


def leaked_decibels(shown):
    return int(shown.numbers["PSNR at the end"].split()[0])


def test_a_guess_gets_better_with_every_step_that_is_shown():
    for activation in ("sigmoid", "tanh"):
        shown = leaking.leak(1, activation, PLAIN_LENET)
        qualities = [int(number) for number in re.search(r": ([\d, ]+) dB", shown.alt)[1].split(", ")]
        assert qualities == sorted(qualities)
        assert qualities[1] > qualities[0] + 5
        assert qualities[-1] == leaked_decibels(shown) > 40


def test_through_relu_one_image_leaks_and_a_batch_does_not():
    one, two, four = (leaking.leak(batch, "relu", PLAIN_LENET) for batch in (1, 2, 4))
    assert leaked_decibels(one) > 28
    assert leaked_decibels(four) < leaked_decibels(two) < 28
    assert "where the attack ended" in four.numbers["iterations"]


def test_a_deep_network_leaks_with_tanh_and_not_with_sigmoid():
    assert leaked_decibels(leaking.leak(1, "tanh", "AlexNet with strides")) > 40
    shown = leaking.leak(1, "sigmoid", "AlexNet with strides")
    assert leaked_decibels(shown) < 15
    assert float(shown.numbers["server's own loss"]) < leaking.MATCHED  # at grey, before any step
    assert shown.numbers["iterations"] == "0, where the attack ended"


def test_where_no_step_helps_the_beginning_is_shown():
    """Through eight sigmoids no derivative arrives."""
    deep = {"eight": functools.partial(models.lenet, filters=(12,) * 8, fc=(), pool="stride")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaking, "ARCHITECTURES", deep)
        shown = leaking.leak(1, "sigmoid", "eight")
    assert shown.numbers["iterations"] == "0, where the attack ended"
    assert leaked_decibels(shown) < 10


def test_the_leak_explorer_shows_what_the_library_measures(monkeypatch):
    monkeypatch.setattr(leaking, "ITERATIONS", (5, 37))
    shown = leaking.leak(2, "sigmoid", PLAIN_LENET)
    client = data.load("digits").sample(2, 0)
    how = {"filters": (12, 12, 12), "fc": (), "pool": "stride", "activation": "sigmoid", "seed": 0}
    model = models.lenet(client.shape, 10, **how)
    sent = federated.gradient(model, client.images, client.labels)
    labels = client.labels.sort().values[None]
    found = deep_leakage.reconstruct(model, sent, shape=client.shape, labels=labels, restarts=1, iterations=37)
    guess = found.images[0, 0].clamp(0, 1)
    guess = guess[reconstruction.match(guess, client.images)]
    assert leaked_decibels(shown) == pytest.approx(reconstruction.psnr(guess, client.images).mean().item(), abs=0.6)
    assert float(shown.numbers["server's own loss"]) == pytest.approx(found.loss.item(), rel=0.5)  # one digit is shown
    assert shown.numbers["labels read right"] == "2 of 2"
    first, *_, last = shown.panels
    assert [panel.title for panel in shown.panels] == ["the client's", "after 5", "after 37"]
    assert np.array_equal(first.images, pixels(client.images))
    drawn = torch.from_numpy(last.images).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(drawn, guess, atol=0.5 / (LEVELS - 1) + 1e-2, rtol=0)
    assert last.note == shown.numbers["PSNR at the end"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ((9, "tanh", PLAIN_LENET), "batch=9"),
        ((1, "cosine", PLAIN_LENET), "activation"),
        ((1, "tanh", "LeNet-99"), "LeNet-99.*max pooling"),
    ],
)
def test_bad_leaks_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        leaking.leak(*call)


def _numbers(text):
    text = text if isinstance(text, str) else " ".join(text)
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?", text)]


@pytest.mark.parametrize("name", explore.STORED)
def test_stored_frames_are_whole_and_are_what_the_function_makes(name, monkeypatch):
    """Each was made by a training, or a long optimisation; another processor rounds a little elsewhere.

    Two opposite corners are made again, so that each end of each slider occurs.
    """
    # Of hiding in the crowd the plane has every setting, each a federation: the corners alone are made again.
    monkeypatch.setattr(mingling, "_places", lambda name, seed: dict.fromkeys(mingling.MITIGATIONS, [(0, 1)] * 4))
    # Of a poisoned round each frame has fifteen trainings: two of the five rules are made again.
    rules = {rule: poisoning.RULES[rule] for rule in ("mean", "multi-Krum")}
    monkeypatch.setattr(poisoning, "RULES", rules)
    made = explore.STORED[name]()
    assert made.stored.keys() == {key(setting) for setting in made.grid()}
    ends = [made.corners()[0], made.corners()[-1]]
    if name == "decode":  # a wide one takes most of a minute
        ends[1]["width"] = ends[0]["width"]
    for setting in ends:
        frame, again = made.stored[key(setting)], made.function(**setting)
        for one, other in zip(frame.panels, again.panels, strict=True):
            assert (one.title, one.images.shape, one.columns) == (other.title, other.images.shape, other.columns)
        if frame.panels:
            assert np.array_equal(frame.panels[0].images, again.panels[0].images)  # the truth
        stored, fresh = frame.numbers, again.numbers
        stored = {title: stored[title] for title in rules} if name == "poison" else stored
        assert stored.keys() == fresh.keys()
        if name == "leak":  # what an optimisation ends at depends on every rounding: found or not must be the same
            assert stored["labels read right"] == fresh["labels read right"]
            ends = [_numbers(part["PSNR at the end"])[0] for part in (stored, fresh)]
            assert (ends[0] >= 30) == (ends[1] >= 30)
            continue
        limits = {"PSNR": 1.0, "class read off": 6, "accuracy": 4, "accuracy of the network": 4}
        limits["noise, relative to the activations"] = 0.15  # printed to a tenth: the last digit may be the next one
        limits |= {f"right on {whose}": 6 for whose in ("its own images", "new ones")}
        limits |= {"named right": 6, "times random scores": 0.5, "named right (a guess: 10%)": 6}
        limits |= {"accuracy of the task": 4, "gone of the attack's gain": 8, "left of the accuracy": 9}
        limits |= {"read wrongly": 6, "accuracy with nothing changed": 3}
        limits["members found at 1 % false alarms"] = 3
        limits |= dict.fromkeys(rules, 8)
        for title, value in fresh.items():
            limit = limits.get(title, 0.06)
            found, expected = _numbers(stored[title]), _numbers(value)
            assert len(found) == len(expected)
            # The first is of the same kind of images; a decoder with strange ones is less sure of itself.
            for place, (one, other) in enumerate(zip(found, expected, strict=True)):
                assert one == pytest.approx(other, abs=limit * (1 + bool(place))), (setting, title)


def test_frames_are_made_once_and_a_stopped_run_goes_on(tmp_path):
    made = []

    def draw(a):
        made.append(a)
        if a == 3 and made.count(3) == 1:
            raise KeyboardInterrupt
        return frame(a=str(a))

    def explorer():
        return explore.Explorer(draw, [explore.Knob("a", "A", (1, 2, 3))], start={"a": 1}, name="x", title="t")

    with pytest.raises(KeyboardInterrupt):
        frames.render("some", explorer, {"code": "x"}, folder=tmp_path)
    path = frames.render("some", explorer, {"code": "x"}, folder=tmp_path)
    assert [each.numbers["a"] for each in frames.load("some", tmp_path).values()] == ["1", "2", "3"]
    assert json.loads(path.read_text())["provenance"]["code"] == "x"
    assert made.count(2) == 1
    frames.render("some", explorer, {"code": "y"}, folder=tmp_path, again=True)
    assert made.count(2) == 2


def test_a_stored_frame_is_shown_and_other_settings_are_computed(monkeypatch):
    stored = {"1": frame(alt="kept", level=1.0)}
    knob = explore.Knob("a", "A", (1, 2), live=(1, 9, 1))
    made = explore.Explorer(
        lambda a: frame(alt=f"made {a}"), [knob], start={"a": 1}, name="x", title="t", stored=stored
    )
    assert made.first["frames"][""]["alt"] == "kept"
    page = unpack(on_page(made.html()))
    assert [shown.alt for shown in page.values()] == ["kept", "made 2"]
    assert [shown.panels[0].images.max() for shown in page.values()] == [255, 128]
    sent = []
    monkeypatch.setattr(made, "send", sent.append)
    made._answer(made, {"kind": "frame", "id": 1, "settings": {"a": 7}}, [])
    assert sent[0]["page"]["frames"][""]["alt"] == "made 7"


def test_a_later_cut_blurs_and_a_strangers_prior_too_and_width_helps():
    stored = explore.decode_explorer().stored

    def decibels(cut, width="6 and 16 filters"):
        """With the adversary's images of the same kind, and with photographs."""
        return _numbers(stored[key({"cut": cut, "pool": "max", "width": width})].numbers["PSNR"])

    own, stranger = decibels("pool2")
    late_own, late_stranger = decibels("relu4")
    assert min(own - late_own, own - stranger, stranger - late_stranger) > 2
    assert decibels("pool2", "2 and 5 filters")[0] < own - 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("pool9", "max", "6 and 16 filters"), "cut='pool9' is not known; choose one of conv1"),
        (("pool2", "mean", "6 and 16 filters"), "choose one of max, average"),
        (("pool2", "max", "8 filters"), "choose one of 2 and 5 filters"),
    ],
)
def test_bad_cuts_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        explore.decode(*call)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: explore.adapt([1], "dlg"), r"adaptation=\[1\] is not known; choose one of more_clients, "),
        (lambda: explore.adapt("deeper_model", "dcl"), "attack='dcl' is not known; choose one of decoder, dlg"),
        (
            lambda: explore.adapt("deeper_model", "dlg", name="cifar10"),
            r"no stored rows of deeper_model against dlg on 'cifar10', but on digits, mnist; `privlab run zen/table-10",
        ),
        (lambda: explore.spend(1, 1, 1, name="manual"), "spend reads images; 'manual' holds text"),
        (lambda: explore.spend(1, 1, 0), "epochs=0"),
        (lambda: explore.spend(-1, 1, 1), "noise=-1"),
    ],
)
def test_what_cannot_be_adapted_or_spent_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_too_few_images_to_train_eight_networks_are_refused(tmp_path):
    path = tmp_path / "own.npz"
    images = np.random.default_rng(0).integers(0, 256, (300, 9, 9)).astype("u1")
    np.savez(path, train_images=images, train_labels=np.arange(300) % 3)
    with pytest.raises(ValueError, match=r"spend needs 700 examples or more; '.*own.npz' holds 300"):
        explore.spend(1, 1, 1, name=str(path))


def test_the_epsilon_shown_is_that_of_the_network_that_spends_most(monkeypatch):
    """Each of the eight, by its own images and steps, as `dp_sgd.train` takes them."""
    used = []
    inner = spending.dp_sgd.train

    def train(model, client, **how):
        used.append(len(client.labels))
        return inner(model, client, **{**how, "epochs": 1})

    monkeypatch.setattr(spending.dp_sgd, "train", train)
    spending._trained.__wrapped__(1.0, 1.0, 20, "digits", 3)
    each = [
        spending.dp_sgd.epsilon(1.0, spending.DELTA, sample_rate=50 / count, steps=20 * math.ceil(count / 50))
        for count in used
    ]
    assert len(set(used)) > 2
    assert spending.spent(1.0, 20, 3) == max(each) > min(each) + 0.5
    assert spending.spent(0, 20) == math.inf


def test_an_adversary_who_knows_of_the_noise_sees_more_and_nopeek_lowers_the_correlation():
    unaware, aware = (explore.hide(1.0, 0.0, who).numbers for who in hiding.ADVERSARIES)
    assert _numbers(aware["PSNR"])[0] > _numbers(unaware["PSNR"])[0] + 2
    assert aware["accuracy"] == unaware["accuracy"]
    plain, hidden = (explore.hide(0.0, a, "knows of the noise").numbers["distance correlation"] for a in (0.0, 1.0))
    assert _numbers(hidden)[0] < _numbers(plain)[0] - 0.05
    with pytest.raises(ValueError, match="adversary='god'"):
        explore.hide(0.0, 0.0, "god")


def test_users_who_differ_in_nothing_are_not_named_and_hands_and_likes_together_are_named_best():
    stored = explore.link_explorer().stored

    def precision(differ, attack):
        return _numbers(
            stored[key({"differ": differ, "attack": attack, "layer": "output"})].numbers["average precision"]
        )

    for attack in ("knn", "svm", "mlp"):
        nothing, random = precision("nothing", attack)
        assert abs(nothing - random) < 0.05
        hands, likes, both = (precision(differ, attack)[0] for differ in ("hands", "likes", "hands and likes"))
        assert random + 0.1 < min(hands, likes) <= max(hands, likes) < both
    assert explore.link("nothing", "knn", "fc1").numbers["named right"].endswith("(a guess: 10%)")


def test_more_of_a_mitigation_hides_more_and_noise_alone_costs_the_task_most():
    stored = explore.mingle_explorer().stored

    def share(mitigation, alpha, title):
        return _numbers(stored[key({"mitigation": mitigation, "alpha": alpha})].numbers[title])[0]

    for mitigation in mingling.MITIGATIONS:
        gone = [share(mitigation, alpha, "gone of the attack's gain") for alpha in (mingling.AMOUNTS[0], "most")]
        assert gone[1] > gone[0] + 10
    left = {each: share(each, "most", "left of the accuracy") for each in mingling.MITIGATIONS}
    assert max(left["noise"], left["dp"]) + 20 < min(left[each] for each in ("bkg-repl", "rand-aug", "mm-aug"))


def test_who_waits_gets_most_back_where_noise_hid_each_update():
    """What the chapter says under its explorer."""
    back = {}
    for setting, frame in explore.mingle_explorer().stored.items():
        with_it = {title.partition(" (")[0]: values[1] for title, values in frame.numbers.items()}
        back[setting] = float(with_it["precision of who waits"]) - float(with_it["average precision"])
    assert max(back, key=back.get) == key({"mitigation": "noise", "alpha": "much"})


def test_the_matrix_of_users_and_the_numbers_beside_it_are_of_the_same_scores():
    for setting in (("none", ""), ("bkg-repl", "most")):
        named, found = mingling._named(*setting, "digits", 0), mingling._measured(*setting, "digits", 0)
        assert torch.allclose(named.sum(1), torch.ones(10))
        assert named.diagonal().mean().item() == pytest.approx(found["top1"], abs=0.1)  # users have a few updates each
    page = mingling._matrices(torch.eye(10), torch.zeros(10, 10))
    assert page.count("h14v14h-14z") == 10  # zeros are not drawn


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: explore.link("names", "knn", "fc1"), "differ='names'.*nothing, hands"),
        (lambda: explore.link("hands", "chance", "fc1"), "attack='chance'.*knn, svm, mlp"),
        (lambda: explore.link("hands", "knn", "conv"), "layer='conv'.*fc1, output"),
        (lambda: explore.mingle("hope", "some"), "mitigation='hope'.*noise, bkg-repl"),
        (lambda: explore.mingle("noise", "all"), "alpha='all'.*a little, some"),
    ],
)
def test_what_cannot_be_linked_or_mingled_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_what_the_chapter_says_of_a_crowd_is_what_the_explorer_shows():
    def read(crowd, server):
        return int(explore.gather(crowd, server).numbers["read of this client"].split()[0])

    assert (read(2, "honest"), read(20, "honest")) == (5, 0)  # half, and none
    assert read(32, "plants traps") > 0
    alone = read(1, "plants traps")
    for server in ("silences the others", "invents the others"):
        assert {read(crowd, server) for crowd in (1, 2, 5, 10, 20, 32)} == {alone}


def test_a_sum_in_the_explorer_reads_what_the_gradient_of_all_clients_images_at_once_gives():
    """The slow, obvious way: one mini-batch of everybody's images, by the truth."""
    images = data.load("patches").sample(320, 0)[:50]
    honest = models.fully_connected(images.shape, 10, widths=(300,), seed=0)
    together = federated.gradient(honest, images.images, images.labels)
    rows = together["fc1.weight"] / together["fc1.bias"][:, None]
    found = (torch.cdist(rows[rows.isfinite().all(1)].double(), images.images.flatten(1).double()) < 1e-4).any(0)
    shown = explore.gather(5, "honest")
    assert shown.panels[0].marked == tuple(found[:10].nonzero().flatten().tolist())
    assert shown.numbers["read of all clients"] == f"{int(found.sum())} of 50 images"
    with pytest.raises(ValueError, match="crowd=33 is out of range"):
        explore.gather(33, "honest")


def test_what_the_network_reads_is_framed_where_it_is_wrong_and_noise_fools_less():
    stored = explore.fool_explorer().stored

    def wrong(attack, training, epsilon):
        shown = stored[key({"attack": attack, "training": training, "epsilon": epsilon})]
        said = shown.panels[2].note.split()
        mistakes = tuple(place for place in range(8) if said[place] != str(place))
        assert shown.panels[2].marked == (mistakes or None)
        assert f"as: {shown.panels[2].note}." in shown.alt
        return _numbers(shown.numbers["read wrongly"])[0]

    for epsilon in (0.05, 0.1, 0.15):
        assert wrong("noise", "plain", epsilon) + 20 < wrong("FGSM", "plain", epsilon) <= wrong("PGD", "plain", epsilon)
        assert wrong("PGD", "adversarial", epsilon) + 15 < wrong("PGD", "plain", epsilon)
    clean = {wrong(attack, "plain", 0.0) for attack in ("noise", "FGSM", "PGD")}
    assert len(clean) == 1
    start = stored[key({"attack": "PGD", "training": "plain", "epsilon": 0.0})]
    assert np.array_equal(start.panels[0].images, pixels(data.load("digits", split="test").images[[*_firsts()]]))


def poisoned(attack, liars, holding=poisoning.HOLDINGS[0]):
    """By rule what a stored frame says: accuracy while none lies, accuracy, and of a backdoor its rate, in percent."""
    numbers = explore.poison_explorer().stored[key({"attack": attack, "liars": liars, "holding": holding})].numbers
    return {rule: [float(each.partition("%")[0]) for each in values] for rule, values in numbers.items()}


def test_what_the_chapter_says_of_liars_is_what_the_explorer_shows():
    alike, unlike = poisoning.HOLDINGS
    one = {rule: values[1] for rule, values in poisoned("sign flipping", 1).items()}
    assert one.pop("mean") < 15
    assert min(one.values()) > 90
    honest = {rule: values[1] for rule, values in poisoned("sign flipping", 0, unlike).items()}
    assert max(honest["median"], honest["multi-Krum"]) + 5 < honest["mean"]
    assert poisoned("tailored lie", 6)["multi-Krum"][1] + 15 < poisoned("sign flipping", 6)["multi-Krum"][1]
    assert poisoned("tailored lie", 6)["median"][1] > 85
    assert max(values[1] for values in poisoned("tailored lie", 6, unlike).values()) < 20
    for holding in (alike, unlike):
        found = poisoned("backdoor", 6, holding)["mean"]
        assert found[1] > found[0] - 5
        assert found[2] > 70
    assert poisoned("backdoor", 6)["median"][2] < 5


def test_clients_who_differ_hold_three_parts_of_one_kind_and_each_digit_once():
    alike, unlike = (poisoning._federation(holding, "digits", 0) for holding in poisoning.HOLDINGS)
    for clients in (alike, unlike):
        assert {len(each.labels) for each in clients} == {45}
    rows = [torch.cat([each.images.flatten(1) for each in clients]).numpy() for clients in (alike, unlike)]
    assert sorted(map(bytes, rows[0])) == sorted(map(bytes, rows[1]))
    assert min(len(each.labels.unique()) for each in alike) >= 8
    assert max(len(each.labels.unique()) for each in unlike) <= 6  # a part may hold the end of one kind and the next


def test_those_who_flip_their_sign_turn_the_mean_around_and_no_honest_client_is_changed():
    clients = poisoning._federation(poisoning.HOLDINGS[0], "digits", 0)
    before = list(clients)
    model = models.fully_connected((1, 28, 28), 10, widths=(8,), seed=0)
    how = {"epochs": 1, "batch": 45, "lr": 0.1}
    honest = poisoning._lying("sign flipping", clients, 0, 10, None)(model, clients, random=_random(), **how)
    sent = poisoning._lying("sign flipping", clients, 4, 10, None)(model, clients, random=_random(), **how)
    for name in honest[0]:
        assert all(torch.equal(one[name], other[name]) for one, other in zip(honest[4:], sent[4:], strict=True))
        mean = torch.stack([each[name] for each in honest[:4]]).mean(0)
        assert torch.allclose(sent[0][name], -5 * mean)
    poisoning._lying("backdoor", clients, 3, 10, None)
    assert [one is other for one, other in zip(clients, before, strict=True)] == [False] * 3 + [True] * 17
    assert [(each.images[:, 0, -3:, -3:] == 1).all((1, 2)).sum() for each in clients[:3]] == [22] * 3


def test_a_network_that_blew_up_counts_as_a_guess():
    model = models.fully_connected((1, 28, 28), 10, widths=(4,), seed=0)
    model.fc1.weight.data[0, 0] = float("nan")
    assert poisoning._scored(model, data.load("digits", split="test")) == (0.1, 0.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("hope", 1, "a mixture of all"), "attack='hope'.*label flipping, sign flipping"),
        (("backdoor", 9, "a mixture of all"), "liars=9"),
        (("backdoor", 1, "one kind"), "holding='one kind'.*three kinds each"),
    ],
)
def test_what_cannot_be_poisoned_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        explore.poison(*call)


def _random():
    return torch.Generator().manual_seed(0)


def _firsts():
    labels = data.load("digits", split="test").labels.tolist()
    return [labels.index(kind) for kind in range(8)]


def test_a_rank_counts_images_until_it_reaches_the_width():
    few, many = (explore.rank(batch, 100) for batch in (4, 32))
    assert few.numbers["rank"] == "4 of at most 100"
    assert few.numbers["come out"] == "4 of 4 images"
    assert few.numbers["certified"] == "yes"
    assert few.panels[0].marked == (0, 1, 2, 3)
    assert many.numbers["come out"] == "0 of 32 images"
    assert (many.numbers["certified"], many.panels[0].marked) == ("no", ())
    full = explore.rank(12, 10)
    assert full.numbers["submatrices tried"] == "0"
    assert int(full.numbers["rank"].split()[0]) <= 10
