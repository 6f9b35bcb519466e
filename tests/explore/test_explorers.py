import dataclasses
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from privlab import data, explore
from privlab.explore import figures, stealing
from privlab.metrics import extraction

EXPLORERS = {"steal": explore.steal_explorer}


@pytest.fixture(scope="module")
def explorer():
    return explore.steal_explorer()


def frame(alt="a picture", **numbers):
    return explore.Frame(b"webp", alt, numbers)


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_explorer_works_at_the_corners_of_its_grid(name):
    made = EXPLORERS[name]()
    corners = made.corners()
    assert len(corners) == 2 ** len(made.knobs)
    for setting in corners:
        shown = made.function(**setting)
        assert Image.open(io.BytesIO(shown.picture)).size == tuple(made.spec["size"])
        assert len(shown.alt) > 20
        assert shown.numbers


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_explorer_stays_small(name):
    made = EXPLORERS[name]()
    assert len(made.grid()) <= 60
    page = made.html()
    frames = json.loads(re.search(r"frames = (\{.*?\});\n", page)[1].replace("<\\/", "</"))
    assert len(frames) == len(made.grid())
    assert sum(len(f["image"]) for f in frames.values()) <= 400_000
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_the_page_shows_the_first_frame_as_an_image_with_alt_text(explorer):
    first = explorer.function(**explorer.start)
    image = re.search(r'<img src="data:image/webp;base64,[^"]+" alt="([^"]+)">', explorer.html())
    assert image[1] == first.alt


def test_a_setting_shows_what_the_attack_measures():
    shown = stealing.steal(50, 0.95, 1000)
    batch = data.load("patches").sample(200, 0)[:50]
    from privlab import models
    from privlab.attacks import gradient_extraction, trap_weights
    from privlab.sharing import federated

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
