"""Each chapter's slides, opened from the disk in headless Chromium: keys move them, nothing is asked for outside."""

import pytest

from .pages import CHAPTERS, ROOT

pytestmark = pytest.mark.browser
SLIDES = ROOT / "_build" / "slides"
STEMS = [page.stem for page in CHAPTERS]
CUT = """[...document.querySelectorAll("main > section:not([hidden]) :is(.html, pre, .formula)")]
    .filter(box => box.scrollHeight > box.clientHeight + 2 || box.scrollWidth > box.clientWidth + 2)
    .map(box => box.innerText.slice(0, 80))"""
SHOWN = (
    "[...document.querySelectorAll('main > section')].filter(slide => slide.offsetHeight).map(slide => slide.innerText)"
)


@pytest.fixture(params=STEMS)
def opened(visit, request):
    file = SLIDES / f"{request.param}.html"
    assert file.exists(), "no slides; run `python -m nox -s slides`"
    tab = visit(file)  # an absolute path stays one
    tab.evaluate("async () => { await MathJax.startup.promise }")
    return tab


def test_one_slide_is_shown_and_the_keys_move(opened):
    count = opened.locator("main > section").count()
    assert 4 <= count <= 12
    seen = []
    for _ in range(count):
        shown = opened.evaluate(SHOWN)
        assert len(shown) == 1
        assert len(shown[0].strip()) > 10
        seen.append(opened.locator("output").inner_text())
        opened.keyboard.press("ArrowRight")
    assert seen == [f"{number} / {count}" for number in range(1, count + 1)]
    opened.keyboard.press("ArrowLeft")
    assert opened.locator("output").inner_text() == f"{count - 1} / {count}"
    opened.keyboard.press("Home")
    assert opened.locator("output").inner_text() == f"1 / {count}"
    assert opened.problems == []


def test_pictures_are_there_with_words_and_formulas_are_set(opened):
    broken = opened.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).length")
    bare = opened.evaluate("[...document.images].filter(i => i.alt.length < 20).length")
    assert broken == bare == 0
    unset = "[...document.querySelectorAll('mjx-container')].filter(formula => !formula.querySelector('svg')).length"
    assert opened.evaluate(unset) == 0
    assert opened.locator("mjx-container").count() >= opened.locator(".formula").count()
    assert "\\frac" not in opened.evaluate("document.querySelector('main').textContent")
    assert opened.locator("mjx-merror").count() == 0


def test_nothing_is_cut_on_a_projector(opened):
    opened.set_viewport_size({"width": 1280, "height": 720})
    wide = "document.documentElement.scrollWidth - innerWidth"
    low = "document.documentElement.scrollHeight - innerHeight"
    for _ in range(opened.locator("main > section").count()):
        assert opened.evaluate(wide) <= 0
        assert opened.evaluate(low) <= 0, opened.locator("output").inner_text()
        assert opened.evaluate(CUT) == []
        opened.keyboard.press("ArrowRight")


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
