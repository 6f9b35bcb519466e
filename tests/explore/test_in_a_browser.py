"""The front end in headless Chromium: two explorers of one kind on one page, opened from the disk with no kernel."""

import io
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from privlab import explore
from privlab.explore.frame import mosaic, pixels

pytestmark = pytest.mark.browser
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SIDE = 8


def image(size, kind):
    generator = torch.Generator().manual_seed(int(size) + 100 * (kind == "colour"))
    drawn = torch.rand(2, 3, SIDE, SIDE, generator=generator)
    return pixels(drawn if kind == "colour" else drawn.mean(1, keepdim=True).expand(-1, 3, -1, -1))


def show(size, kind):
    panels = (mosaic("one", image(size, kind)[:1]), mosaic("two", image(size, kind)[1:], "a note"))
    numbers = {"both": (f"{size} m", f"{size + 1} m"), "kind": kind}
    return explore.Frame(panels, f"A picture of {size} in {kind}.", numbers, heads=("here", "there"), beside=True)


def make():
    knobs = (
        explore.Knob("size", "Size", (1, 2.5, 30), unit="metres"),
        explore.Knob("kind", "Kind", ("grey", "colour"), choice=True),
    )
    return explore.Explorer(show, knobs, start={"size": 1, "kind": "grey"}, name="try", title="A try")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    text = "<p style='height: 150vh'>before</p><h2 id='below'>below</h2><p style='height: 150vh'>after</p>"
    head = "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><body>"
    path.write_text(head + make().html() + text + make().html() + f"<style>.pl-tiles {{ width: {SIDE * 8}px }}</style>")
    return path.as_uri()


@pytest.fixture(scope="module")
def chromium():
    assert CHROMIUM, "no Chromium here"
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, address):
    contexts = []

    def go(link="", **options):
        context = chromium.new_context(**{"viewport": {"width": 900, "height": 700}, **options})
        contexts.append(context)
        tab = context.new_page()
        tab.problems = []
        tab.on("pageerror", lambda error: tab.problems.append(str(error)))
        tab.goto(address + link)
        if options.get("java_script_enabled", True):
            tab.wait_for_selector(".pl-knobs")
        return tab

    yield go
    for context in contexts:
        context.close()


def shown(tab, place=0):
    return tab.locator(".pl-picture").nth(place).get_attribute("aria-label")


def test_ids_and_groups_are_apart_and_each_control_has_one_name(visit):
    tab = visit()
    names = tab.evaluate("[...document.querySelectorAll('input')].map(i => [...i.labels].map(l => l.innerText.trim()))")
    assert [len(each) for each in names] == [1] * 6
    assert all(each[0] for each in names)
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    tab.get_by_label("colour").nth(1).check()
    assert shown(tab, 0) == "A picture of 1 in grey."
    assert shown(tab, 1) == "A picture of 1 in colour."
    tab.get_by_text("Size").nth(1).click()
    assert tab.evaluate("document.activeElement === document.querySelectorAll('input[type=range]')[1]")
    assert tab.problems == []


def test_the_keyboard_moves_a_slider_and_the_buttons_and_reset_goes_back(visit):
    tab = visit()
    slider = tab.get_by_role("slider", name="Size", exact=True).first
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "2.5 metres"  # value and unit, not the label again
    assert shown(tab) == "A picture of 2.5 in grey."
    assert "3.5 m" in tab.inner_text(".pl-numbers table")
    tab.get_by_role("radio", name="grey").first.press("ArrowRight")
    assert shown(tab) == "A picture of 2.5 in colour."
    tab.get_by_role("button", name="Reset").first.click()
    assert shown(tab) == "A picture of 1 in grey."
    assert slider.get_attribute("aria-valuetext") == "1 metre"


def test_a_change_is_spoken_once(visit):
    tab = visit()
    live = "[...document.querySelectorAll('section')][0].querySelectorAll('output, [role=status], [aria-live]')"
    assert tab.evaluate(f"{live}.length") == 1
    assert tab.evaluate(f"{live}[0].textContent") == ""  # nothing before a change
    tab.get_by_label("Size").first.press("ArrowRight")
    assert tab.evaluate(f"{live}[0].textContent") == shown(tab)


def test_the_setting_stands_in_the_link_and_anchors_stay_anchors(visit):
    tab = visit()
    tab.get_by_label("Size").first.press("ArrowRight")
    assert tab.evaluate("location.hash") == "#try?size=2.5&kind=grey"
    tab.get_by_label("colour").nth(1).check()
    assert tab.evaluate("location.hash") == "#try-2?size=1&kind=colour"
    tab.evaluate("location.hash = '#below'")
    tab.wait_for_function("Math.abs(document.querySelector('#below').getBoundingClientRect().top) < 60")
    assert shown(tab, 0) == "A picture of 2.5 in grey."
    opened = visit("#try-2?size=30&kind=colour")
    assert (shown(opened, 0), shown(opened, 1)) == ("A picture of 1 in grey.", "A picture of 30 in colour.")
    assert opened.evaluate("scrollY") > 700
    nonsense = visit("#try?size=7&kind=none&x=<b>")
    assert shown(nonsense) == "A picture of 1 in grey."
    assert tab.problems == opened.problems == nonsense.problems == []


@pytest.mark.parametrize("script", [True, False])
def test_the_pixels_on_the_screen_are_those_of_the_array(visit, script):
    tab = visit(java_script_enabled=script)
    assert shown(tab) == "A picture of 1 in grey."
    for place in range(2):
        picture = Image.open(io.BytesIO(tab.locator(".pl-tile").nth(place).screenshot())).convert("RGB")
        pixel = np.asarray(picture)[4::8, 4::8][:SIDE, :SIDE]  # the middle of each pixel, eight wide
        assert np.array_equal(pixel, image(1, "grey")[place])


@pytest.mark.parametrize(("width", "height"), [(390, 800), (640, 450)])
def test_it_fits_a_phone_and_a_page_at_200_per_cent(visit, width, height):
    tab = visit(viewport={"width": width, "height": height})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def luminance(colour):
    parts = [int(each) / 255 for each in colour[4:-1].split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(("theme", "page"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(18, 18, 18)")])
@pytest.mark.parametrize("control", ["input[type=range]", "input[type=radio]", ".pl-reset"])
def test_the_focus_ring_can_be_seen(visit, theme, page, control):
    tab = visit()
    tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    tab.locator("input[type=range]").first.press("Tab")  # from here on the keyboard is in use
    tab.locator(control).first.focus()
    look = "getComputedStyle(e.type === 'radio' ? e.nextSibling : e)"
    style, colour = tab.locator(control).first.evaluate(f"e => [{look}.outlineStyle, {look}.outlineColor]")
    assert style == "solid"
    low, high = sorted((luminance(colour), luminance(page)))
    assert (high + 0.05) / (low + 0.05) >= 3
