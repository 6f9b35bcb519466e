import base64
import dataclasses
import functools
import io
import itertools
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from privlab import data, explore, models
from privlab.attacks import deep_leakage, noisy_extraction
from privlab.defences import clip, gaussian, perturbation
from privlab.explore import detecting, figures, frames, hiding, inverting, leaking, noise, stealing
from privlab.explore.explorer import key
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
}


@pytest.fixture(scope="module")
def explorer():
    return explore.steal_explorer()


@functools.cache  # sixty frames, of which each takes an attack
def made_page(name):
    made = EXPLORERS[name]()
    return made, made.html()


def frame(alt="a picture", **numbers):
    return explore.Frame(b"webp", alt, numbers)


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_explorer_works_at_the_corners_of_its_grid(name):
    made = EXPLORERS[name]()
    corners = made.corners()
    assert len(corners) == 2 ** len(made.knobs)
    for setting in corners:
        shown = made.stored[key(setting)] if made.stored else made.function(**setting).as_json()
        picture = base64.b64decode(shown["image"].rpartition(",")[2])
        assert Image.open(io.BytesIO(picture)).size == tuple(made.spec["size"])
        assert len(shown["alt"]) > 20
        assert shown["numbers"]


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_explorer_stays_small(name):
    made, page = made_page(name)
    assert len(made.grid()) <= 60
    frames = json.loads(re.search(r"frames = (\{.*?\});\n", page)[1].replace("<\\/", "</"))
    assert len(frames) == len(made.grid())
    assert sum(len(f["image"]) for f in frames.values()) <= 400_000
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_the_page_shows_the_first_frame_as_an_image_with_alt_text():
    explorer, page = made_page("steal")
    first = explorer.function(**explorer.start)
    image = re.search(r'<img src="data:image/webp;base64,[^"]+" alt="([^"]+)">', page)
    assert image[1] == first.alt


def test_a_setting_shows_what_the_attack_measures():
    shown = stealing.steal(50, 0.95, 1000)
    batch = data.load("patches").sample(200, 0)[:50]
    from privlab import models
    from privlab.attacks import gradient_extraction, trap_weights

    model = trap_weights.plant(models.fully_connected((3, 32, 32), 7, widths=(1000,), seed=0), 0.95, seed=0)
    rows = gradient_extraction.candidates(federated.gradient(model, batch.images, batch.labels))
    score = extraction.score(rows, batch.images, neurons=1000)
    assert shown.numbers["stolen (recall R)"] == f"{round(50 * score.recall)} of 50 ({score.recall:.2f})"
    assert shown.numbers["precision P"] == f"{score.precision:.2f}"


def test_larger_batches_hide_images_better():
    shares = [stealing.steal(batch, 0.95).numbers["stolen (recall R)"] for batch in (20, 200)]
    small, large = (float(re.search(r"\((.*)\)", share)[1]) for share in shares)
    assert small > 2 * large


def test_the_papers_value_is_shown_where_it_has_one():
    label = "paper's A / P / R (CIFAR-10)"
    assert stealing.steal(100, 0.95).numbers[label] == "0.73 / 0.41 / 0.54"
    assert stealing.steal(20, 0.95, 200).numbers[label] == "0.45 / 0.67 / 0.69"
    assert stealing.steal(20, 0.97, 200).numbers[label] == "–"


def test_settings_off_the_grid_are_computed_and_bad_ones_answered(explorer, monkeypatch):
    sent = []
    monkeypatch.setattr(explorer, "send", sent.append)
    settings = {"batch": 37, "s": 0.943, "neurons": 300}
    explorer._answer(explorer, {"kind": "frame", "id": 5, "settings": settings}, [])
    assert sent[0]["id"] == 5
    assert sent[0]["frame"]["alt"].startswith("Mini-batch of 37 images")
    explorer._answer(explorer, {"kind": "frame", "id": 6, "settings": {**settings, "s": 3}}, [])
    assert sent[1]["kind"] == "error"
    assert "out of range" in sent[1]["text"]
    explorer._answer(explorer, {"kind": "other"}, [])
    assert len(sent) == 2


def test_frames_stay_out_of_the_widgets_state(explorer):
    state = json.dumps(explorer.get_state(), default=str)
    assert len(state) < 60_000  # the front end, the first frame, and no other


def test_a_grid_that_is_too_large_or_a_start_beside_it_is_refused():
    knob = explore.Knob("a", "A", tuple(range(61)))
    with pytest.raises(ValueError, match="61 settings; keep it to 60"):
        explore.Explorer(lambda a: frame(), [knob], start={"a": 0}, size=(4, 4), title="t")
    with pytest.raises(ValueError, match=r"start\['a'\]=9"):
        explore.Explorer(lambda a: frame(), [explore.Knob("a", "A", (1, 2))], start={"a": 9}, size=(4, 4), title="t")


def test_text_in_a_frame_cannot_break_out_of_the_page():
    knob = explore.Knob("a", "A", (1.0, 2.0))
    hostile = '"><script>alert(1)</script>'
    made = explore.Explorer(lambda a: frame(alt=hostile), [knob], start={"a": 1.0}, size=(4, 4), title="t")
    page = made.html()
    assert hostile not in page
    assert page.count("</script>") == 1
    assert '"1":' in page  # JavaScript prints 1.0 as 1


def test_a_gallery_shows_stolen_images_in_full_and_others_dim():
    images = torch.rand(10, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    stolen = [True] * 5 + [False] * 5
    picture = np.asarray(Image.open(io.BytesIO(figures.gallery(images, stolen))), dtype=float)
    assert picture.shape == (240, 480, 3)
    top, bottom = picture[30:100], picture[140:210]
    assert top.mean() > 1.8 * bottom.mean()
    assert top.std(axis=2).mean() > 4 * bottom.std(axis=2).mean()  # colour against grey


@pytest.mark.parametrize("count", [1, 2, 7, 10, 50, 100, 199, 200])
def test_a_gallery_has_room_for_every_image(count):
    images = torch.ones(count, 1, 8, 8)
    picture = np.asarray(Image.open(io.BytesIO(figures.gallery(images, [True] * count))).convert("L"))
    assert (picture > 90).mean() > 0.45  # one square in a frame twice as wide fills half of it
    with pytest.raises(ValueError, match="one per image"):
        figures.gallery(images, [True] * (count + 1))


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
    assert int(numbers["server's own count"]) == int(numbers["stolen (recall R)"].split()[0]) + 1


def test_the_seed_chooses_the_batch(monkeypatch):
    seen, honest = [], stealing.gallery
    monkeypatch.setattr(stealing, "gallery", lambda images, *rest: seen.append(images) or honest(images, *rest))
    for seed in (0, 1):
        stealing.steal(10, 0.95, 200, seed=seed)
    assert not torch.equal(*seen)


def seen(setting, title):
    """Quality in dB and how many of 20 are recognised, as the explorer prints it."""
    quality, count = re.match(r"(\d+) dB; recognised (\d+) of 20$", setting.numbers[title]).groups()
    return int(quality), int(count)


TITLES = ("one row", "rows combined")


@pytest.fixture
def shown_images(monkeypatch):
    """What is drawn, as tensors."""
    drawn, honest = [], noise.labelled
    monkeypatch.setattr(noise, "labelled", lambda images, size: drawn.append(dict(images)) or honest(images, size))
    return drawn


def test_without_noise_the_guesses_are_the_clients_image(shown_images):
    for clipping in (0.1, 100):
        shown = noise.blur(0, clipping)
        assert [seen(shown, title)[0] for title in TITLES] == [99, 99]
        truth = shown_images[-1]["the client's image"]
        assert list(shown_images[-1]) == ["the client's image", *TITLES]
        for title in TITLES:
            torch.testing.assert_close(shown_images[-1][title], truth)
        assert min(seen(shown, title)[1] for title in TITLES) > 10


def test_the_image_that_is_watched_is_the_first_that_is_read_without_noise(shown_images):
    noise.blur(0.001, 1)
    client = data.load("digits").sample(1000, 0).images[:20]
    places = [i for i, image in enumerate(client) if torch.equal(image, shown_images[0]["the client's image"])]
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
        quality = reconstruction.psnr(nearest, images[victim]).item()
        assert shown.numbers[title] == f"{quality:.0f} dB; recognised {round(20 * score.identified)} of 20"
        assert shown.numbers[title] in shown.alt
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
def test_false_alarms_stay_within_what_is_allowed_and_more_of_them_never_catch_less(detector, monkeypatch):
    monkeypatch.setattr(detecting, "_strips", lambda *_: b"")  # the numbers are what counts here
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


def test_labelled_images_stand_side_by_side_in_their_order():
    greys = (0.0, 0.5, 1.0)
    images = {str(grey): torch.full((1, 8, 8), grey) for grey in greys}
    picture = Image.open(io.BytesIO(figures.labelled(images, (480, 190))))
    assert picture.size == (480, 190)
    pixels = np.asarray(picture.convert("L"), dtype=float) / 255
    centres = [pixels[80:140, 80 + 160 * place - 30 : 80 + 160 * place + 30].mean() for place in range(3)]
    assert centres == pytest.approx(greys, abs=0.05)
    assert pixels[6:20].max() > 0.7  # titles above them
    blank = Image.open(io.BytesIO(figures.labelled({"": images["0.5"]}, (480, 190)))).convert("L")
    assert np.asarray(blank)[6:20].max() < 150


@pytest.mark.parametrize("count", [1, 2, 5])
def test_labelled_images_are_whole_whatever_their_number_and_colour(count):
    colours = torch.eye(3)[torch.arange(count) % 3]
    images = {str(place): colour[:, None, None].expand(3, 4, 4) for place, colour in enumerate(colours)}
    pixels = np.asarray(Image.open(io.BytesIO(figures.labelled(images, (400, 120)))).convert("RGB"), dtype=float)
    side = min(400 // count, 94) - 8
    for channel in range(3):
        strong = (pixels[26:, :, channel] > 150) & (pixels[26:].sum(2) < 450)
        expected = sum(1 for place in range(count) if place % 3 == channel) * side**2
        assert strong.sum() == pytest.approx(expected, rel=0.1, abs=10)


def decibels(shown):
    """Mean and worst PSNR, as the inversion explorer prints them."""
    mean, worst = re.match(r"([\d.]+) \(([\d.]+)\) dB$", shown.numbers["PSNR, mean (worst)"]).groups()
    return float(mean), float(worst)


def test_inverting_shows_what_the_library_measures(monkeypatch):
    from privlab import models
    from privlab.attacks import inverting_gradients

    monkeypatch.setattr(inverting, "TOTAL", 40)
    monkeypatch.setattr(inverting, "ALPHAS", (0.02,))
    inverting._run.cache_clear()
    drawn, honest = [], inverting._two_rows
    monkeypatch.setattr(inverting, "_two_rows", lambda rows, size: drawn.append(dict(rows)) or honest(rows, size))
    shown = inverting.invert(2, 0.02, 40)
    client = data.load("digits").sample(2, 0)
    model = models.lenet(client.shape, 10, filters=(12, 12), fc=(), pool="stride", seed=0)
    sent = federated.gradient(model, client.images, client.labels)
    found = inverting_gradients.reconstruct(
        model, sent, client.labels.sort().values[None], shape=client.shape, alpha=0.02, iterations=40, ease=False
    )
    inverting._run.cache_clear()
    assert torch.equal(drawn[0]["client"], client.images)
    guesses = found.best()[0]
    guesses = guesses[reconstruction.match(guesses, client.images)]
    torch.testing.assert_close(drawn[0]["server"], guesses, atol=1e-3, rtol=0)  # remembered in half precision
    quality = reconstruction.psnr(guesses, client.images)
    assert decibels(shown) == (
        pytest.approx(quality.mean().item(), abs=0.06),
        pytest.approx(quality.min().item(), abs=0.06),
    )
    assert float(shown.numbers["server's own loss"]) == pytest.approx(found.loss.item(), abs=6e-5)
    whole = float(shown.numbers["of it cosine distance"]) + 0.02 * float(shown.numbers["total variation"])
    assert whole == pytest.approx(found.loss.item(), abs=2e-4)


def test_inverting_gets_nearer_with_iterations_and_a_large_alpha_is_flat():
    path = [inverting.invert(1, 0.01, seen) for seen in inverting.SEEN]
    qualities = [decibels(shown)[0] for shown in path]
    assert qualities == sorted(qualities)
    assert qualities[-1] > qualities[0] + 20
    losses = [float(shown.numbers["server's own loss"]) for shown in path]
    assert losses == sorted(losses, reverse=True)
    flat = [float(inverting.invert(1, alpha, 300).numbers["total variation"]) for alpha in inverting.ALPHAS]
    assert flat == sorted(flat, reverse=True)
    assert decibels(inverting.invert(1, 0.01, 300))[0] > decibels(inverting.invert(1, 1, 300))[0] + 5


@pytest.mark.parametrize(
    ("call", "words"),
    [((9, 0.01, 30), "batch=9"), ((1, -1, 30), "alpha=-1"), ((1, 0.01, 301), "iterations=301")],
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
    drawn, honest = [], leaking.labelled
    monkeypatch.setattr(leaking, "labelled", lambda images, size, **how: drawn.append(images) or honest(images, size))
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
    assert list(drawn[0]) == ["the client's", "after 5", "after 37"]
    for title, images in (("the client's", client.images), ("after 37", guess)):
        for place, image in enumerate(images):
            part = drawn[0][title][:, :28, 29 * place : 29 * place + 28]
            torch.testing.assert_close(part, image, atol=0.5 / (leaking.GREYS - 1) + 1e-2, rtol=0)
        assert (drawn[0][title][:, 29:] < 0.15).all()  # places without an image are dark


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
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?", text)]


@pytest.mark.parametrize("name", explore.STORED)
def test_stored_frames_are_whole_and_are_what_the_function_makes(name):
    """Each was made by a training, or a long optimisation; another processor rounds a little elsewhere.

    Two opposite corners are made again, so that each end of each slider occurs.
    """
    made = explore.STORED[name]()
    assert made.stored.keys() == {key(setting) for setting in made.grid()}
    for setting in (made.corners()[0], made.corners()[-1]):
        stored, fresh = made.stored[key(setting)], made.function(**setting).as_json()
        assert stored["numbers"].keys() == fresh["numbers"].keys()
        if name == "leak":  # what an optimisation ends at depends on every rounding: found or not must be the same
            assert stored["numbers"]["labels read right"] == fresh["numbers"]["labels read right"]
            ends = [_numbers(part["numbers"]["PSNR at the end"])[0] for part in (stored, fresh)]
            assert (ends[0] >= 30) == (ends[1] >= 30)
            continue
        limits = {"PSNR": 1.0, "class read off": 6, "accuracy": 4, "accuracy of the network": 4}
        limits["noise, relative to the activations"] = 0.15  # printed to a tenth: the last digit may be the next one
        for title, value in fresh["numbers"].items():
            limit = limits.get(title, 0.06)
            found, expected = _numbers(stored["numbers"][title]), _numbers(value)
            assert len(found) == len(expected)
            # The first is of the same kind of images; a decoder with strange ones is less sure of itself.
            for place, (one, other) in enumerate(zip(found, expected, strict=True)):
                assert one == pytest.approx(other, abs=limit * (1 + bool(place))), (setting, title)
    page = made.html()
    assert all(frame["image"] in page for frame in made.stored.values())


def test_frames_are_made_once_and_a_stopped_run_goes_on(tmp_path):
    made = []

    def draw(a):
        made.append(a)
        if a == 3 and made.count(3) == 1:
            raise KeyboardInterrupt
        return frame(a=str(a))

    def explorer():
        return explore.Explorer(draw, [explore.Knob("a", "A", (1, 2, 3))], start={"a": 1}, size=(4, 4), title="t")

    with pytest.raises(KeyboardInterrupt):
        frames.render("some", explorer, {"code": "x"}, folder=tmp_path)
    path = frames.render("some", explorer, {"code": "x"}, folder=tmp_path)
    found = json.loads(path.read_text())
    assert [each["numbers"]["a"] for each in found["frames"].values()] == ["1", "2", "3"]
    assert found["provenance"]["code"] == "x"
    assert made.count(2) == 1
    frames.render("some", explorer, {"code": "y"}, folder=tmp_path, again=True)
    assert made.count(2) == 2


def test_a_stored_frame_is_shown_and_other_settings_are_computed(monkeypatch):
    stored = {"1": {"image": "data:,kept", "alt": "kept", "numbers": {}}}
    knob = explore.Knob("a", "A", (1, 2), live=(1, 9, 1))
    made = explore.Explorer(
        lambda a: frame(alt=f"made {a}"), [knob], start={"a": 1}, size=(4, 4), title="t", stored=stored
    )
    assert made.first["alt"] == "kept"
    page = made.html()
    assert "data:,kept" in page
    assert "made 2" in page
    sent = []
    monkeypatch.setattr(made, "send", sent.append)
    made._answer(made, {"kind": "frame", "id": 1, "settings": {"a": 7}}, [])
    assert sent[0]["frame"]["alt"] == "made 7"


def test_a_later_cut_blurs_and_a_strangers_prior_too_and_width_helps():
    stored = explore.decode_explorer().stored

    def decibels(cut, width="6 and 16 filters"):
        """With the adversary's images of the same kind, and with photographs."""
        shown = stored[key({"cut": cut, "pool": "max", "width": width})]
        return [float(number) for number in re.findall(r"[\d.]+", shown["numbers"]["PSNR"])]

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


def test_an_adversary_who_knows_of_the_noise_sees_more_and_nopeek_lowers_the_correlation():
    unaware, aware = (explore.hide(1.0, 0.0, who).numbers for who in hiding.ADVERSARIES)
    assert _numbers(aware["PSNR"])[0] > _numbers(unaware["PSNR"])[0] + 2
    assert aware["accuracy"] == unaware["accuracy"]
    plain, hidden = (explore.hide(0.0, a, "knows of the noise").numbers["distance correlation"] for a in (0.0, 1.0))
    assert _numbers(hidden)[0] < _numbers(plain)[0] - 0.05
    with pytest.raises(ValueError, match="adversary='god'"):
        explore.hide(0.0, 0.0, "god")


def test_rows_of_images_stand_under_one_another():
    white, black = torch.ones(10, 1, 8, 8), torch.zeros(10, 1, 8, 8)
    picture = np.asarray(Image.open(io.BytesIO(figures.rows_of({"a": white, "b": black}, (480, 150)))), dtype=float)
    assert picture.shape == (150, 480, 3)
    assert picture[30:60].mean() > 200
    assert picture[105:135].mean() < 40
