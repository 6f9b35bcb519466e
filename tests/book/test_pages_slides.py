"""Each chapter's slides, opened from the disk in headless Chromium: keys move them, nothing is asked for outside."""

import pytest

from .pages import ROOT

pytestmark = pytest.mark.browser
SLIDES = ROOT / "_build" / "slides"
CUT = """[...document.querySelectorAll("main > section:not([hidden]) :is(.html, pre, .formula)")]
    .filter(box => box.scrollHeight > box.clientHeight + 2 || box.scrollWidth > box.clientWidth + 2)
    .map(box => box.innerText.slice(0, 80))"""
SHOWN = (
    "[...document.querySelectorAll('main > section')].filter(slide => slide.offsetHeight).map(slide => slide.innerText)"
)


def test_one_slide_is_shown_and_the_keys_move(slides):
    count = slides.locator("main > section").count()
    assert 4 <= count <= 12
    slides.keyboard.press("Home")
    seen = []
    for _ in range(count):
        shown = slides.evaluate(SHOWN)
        assert len(shown) == 1
        assert len(shown[0].strip()) > 10
        seen.append(slides.locator("output").inner_text())
        slides.keyboard.press("ArrowRight")
    assert seen == [f"{number} / {count}" for number in range(1, count + 1)]
    slides.keyboard.press("ArrowLeft")
    assert slides.locator("output").inner_text() == f"{count - 1} / {count}"
    slides.keyboard.press("Home")
    assert slides.locator("output").inner_text() == f"1 / {count}"
    assert slides.problems == []


def test_pictures_are_there_with_words_and_formulas_are_set(slides):
    broken = slides.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).length")
    bare = slides.evaluate("[...document.images].filter(i => i.alt.length < 20).length")
    assert broken == bare == 0
    unset = "[...document.querySelectorAll('mjx-container')].filter(formula => !formula.querySelector('svg')).length"
    assert slides.evaluate(unset) == 0
    assert slides.locator("mjx-container").count() >= slides.locator(".formula").count()
    assert "\\frac" not in slides.evaluate("document.querySelector('main').textContent")
    assert slides.locator("mjx-merror").count() == 0


def test_nothing_is_cut_on_a_projector(slides):
    slides.set_viewport_size({"width": 1280, "height": 720})
    slides.keyboard.press("Home")
    wide = "document.documentElement.scrollWidth - innerWidth"
    low = "document.documentElement.scrollHeight - innerHeight"
    for _ in range(slides.locator("main > section").count()):
        assert slides.evaluate(wide) <= 0
        assert slides.evaluate(low) <= 0, slides.locator("output").inner_text()
        assert slides.evaluate(CUT) == []
        slides.keyboard.press("ArrowRight")


def test_an_explorer_on_a_slide_keeps_its_arrows(visit):
    tab = visit(SLIDES / "a-gradient-is-a-photograph.html")
    place = tab.evaluate(
        "[...document.querySelectorAll('main > section')].findIndex(s => s.querySelector('.pl-explorer'))"
    )
    for _ in range(place):
        tab.keyboard.press("ArrowRight")
    before, at = tab.inner_text(".pl-numbers"), tab.locator("output").inner_text()
    tab.get_by_label("Batch size").press("ArrowRight")
    assert tab.inner_text(".pl-numbers") != before
    assert tab.locator("output").inner_text() == at
    assert tab.problems == []


def test_d_changes_the_colours_and_paper_gets_a_page_a_slide(visit):
    tab = visit(SLIDES / "who-is-listening.html", color_scheme="dark")
    theme = "document.documentElement.dataset.theme"
    assert tab.evaluate(theme) == "dark"
    tab.keyboard.press("d")
    assert tab.evaluate(theme) == "light"
    pages = tab.pdf(prefer_css_page_size=True).count(b"/Type /Page\n")
    assert pages == tab.locator("main > section").count()
