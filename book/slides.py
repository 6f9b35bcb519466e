"""Slides of each chapter, out of the chapter itself: `python book/slides.py` writes `_build/slides/<chapter>.html`.

`slides.yml` says what is shown. Pictures and numbers come from the executed chapter, which the book's build keeps. A
file needs no network and no other file: arrows move, `d` changes between light and dark, printing gives a slide a page.
"""

import argparse
import base64
import html
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

BOOK = Path(__file__).resolve().parent
sys.path.insert(0, str(BOOK))
import build  # noqa: E402
import clean  # noqa: E402
from _ext import figures  # noqa: E402

OUT = build.ROOT / "_build" / "slides"
KINDS = ("drawing", "equation", "figure", "explorer", "output")


@dataclass(frozen=True)
class Slide:
    """One slide. kind: one of KINDS; name: what of that kind is shown."""

    title: str
    kind: str
    name: str
    say: str = ""


def chapters() -> list[Path]:
    """The pages that teach, in the order of the book: those that say how many minutes they take."""
    return [page for page in build.chapters() if "minutes" in about(page)]


def about(page: Path) -> dict:
    """A page's front matter."""
    return yaml.safe_load(page.read_text().split("---")[1])


def read(entries: list[dict] | None = None) -> list[Slide]:
    """`slides.yml`, or these entries. Raises ValueError for a slide that shows nothing, or two things."""
    made = []
    for entry in entries or yaml.safe_load((BOOK / "slides.yml").read_text()):
        shown = [kind for kind in KINDS if kind in entry]
        unknown = set(entry) - {"title", "say", *KINDS}
        if len(shown) != 1 or unknown or "title" not in entry:
            raise ValueError(f"{entry} is no slide; it needs a title and one of {', '.join(KINDS)}, and may have say")
        made.append(Slide(entry["title"], shown[0], entry[shown[0]], entry.get("say", "")))
    return made


def _holds(page: Path, slide: Slide) -> bool:
    text = page.read_text()
    if slide.kind == "output":
        return any(slide.name in cell.source for cell in build.read(page).cells if cell.cell_type == "code")
    sought = {
        "drawing": rf"^```\{{drawing\}} {re.escape(slide.name)}$",
        "equation": rf"^\$\$ *\({re.escape(slide.name)}\) *$",
        "figure": rf"^ +name: {re.escape(slide.name)}$",
        "explorer": rf"\bexplore\.{re.escape(slide.name)}\(",
    }
    return re.search(sought[slide.kind], text, re.M) is not None


def of_chapters(entries: list[dict] | None = None) -> dict[Path, list[Slide]]:
    """The slides of each chapter. Raises ValueError for a slide whose thing stands in no chapter, or in two."""
    pages = chapters()
    made: dict[Path, list[Slide]] = {page: [] for page in pages}
    for slide in read(entries):
        found = [page for page in pages if _holds(page, slide)]
        if len(found) != 1:
            where = ", ".join(page.stem for page in found) or "no chapter"
            raise ValueError(f"slide {slide.title!r}: {slide.kind} {slide.name!r} stands in {where}")
        made[found[0]].append(slide)
    return made


def _markdown() -> MarkdownIt:
    def formula(content: str, options: dict) -> str:
        display = options.get("display_mode")
        return ("\\[{}\\]" if display else "\\({}\\)").format(html.escape(content.strip()))

    return MarkdownIt("commonmark").use(dollarmath_plugin, renderer=formula, double_inline=True)


def words(text: str, page: Path) -> str:
    """Markdown of the book as HTML: roles and links become their words."""
    plain = clean.LINK.sub(lambda found: found[1], clean.Cleaner(page).text(text))
    return _markdown().render(re.sub(r'<a id="[^"]*"></a>', "", plain))


def _cell(notebook: nbformat.NotebookNode, slide: Slide) -> nbformat.NotebookNode:
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        named = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
        called = slide.kind == "explorer" and f"explore.{slide.name}(" in cell.source
        printed = slide.kind == "output" and slide.name in cell.source
        if called or printed or (slide.kind == "figure" and named == slide.name):
            return cell
    raise ValueError(f"no cell for {slide}")


def _outputs(cell: nbformat.NotebookNode) -> str:
    """What a cell showed: pictures with their alt text, tables and explorers as they are, printed lines."""
    made, shown = [], cell.metadata.get("mystnb", {})
    for output in cell.outputs:
        if output.output_type == "stream" and not shown.get("figure"):
            made.append(f"<pre>{html.escape(output.text.rstrip())}</pre>")
        data = output.get("data", {})
        if "text/html" in data:
            made.append(f'<div class="html">{data["text/html"]}</div>')
        elif "image/png" in data:
            alt = html.escape(shown.get("image", {}).get("alt", ""), quote=True)
            png = data["image/png"].replace("\n", "")
            made.append(f'<img class="{figures.kind(cell.source)}" alt="{alt}" src="data:image/png;base64,{png}">')
    if not made:
        raise ValueError(f"a cell that is to be shown has no output:\n{cell.source}")
    return "\n".join(made)


def _body(slide: Slide, page: Path, notebook: nbformat.NotebookNode) -> str:
    text = page.read_text()
    if slide.kind == "equation":
        found = re.search(rf"^\$\$\n((?:(?!\$\$).)*?)\n\$\$ *\({re.escape(slide.name)}\)", text, re.M | re.S)
        return f'<div class="formula">\\[{html.escape(found[1])}\\]</div>'
    if slide.kind == "drawing":
        said = re.search(rf"^```\{{drawing\}} {re.escape(slide.name)}\n(.*?)\n```$", text, re.M | re.S)[1]
        drawn = (BOOK / "drawings" / f"{slide.name}.svg").read_text()
        return f'<div class="drawn" role="img" aria-label="{html.escape(said, quote=True)}">{drawn}</div>'
    cell = _cell(notebook, slide)
    caption = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")
    return _outputs(cell) + (f'<div class="caption">{words(caption, page)}</div>' if caption else "")


def _listed(items: list[str], page: Path) -> str:
    return words("\n".join(f"- {item}" for item in items), page)


def _sections(page: Path, slides: list[Slide], notebook: nbformat.NotebookNode) -> list[tuple[str, str]]:
    """Each slide as (title, HTML): what the chapter promises, what is shown, what it came to."""
    matter = about(page)
    first = f"<p>{html.escape(str(matter['paper']))}</p>{_listed(matter['objectives'], page)}"
    made = [(clean.title(page), first)]
    for slide in slides:
        asked = f'<div class="say">{words(slide.say, page)}</div>' if slide.say else ""
        made.append((slide.title, _body(slide, page, notebook) + asked))
    recap = page.read_text().partition("\n## Recap\n")[2].partition("\n**Further reading**")[0]
    return [*made, ("Recap", words(recap, page))]


def _script(path: Path) -> str:
    return path.read_text().replace("</script", "<\\/script")


def mathjax() -> Path:
    """The formula setter that the book's pages use, in its form that loads no fonts and no extensions."""
    package = importlib.util.find_spec("sphinx-mathjax-offline")
    return Path(next(iter(package.submodule_search_locations))) / "static" / "mathjax" / "tex-svg-full.js"


def page_of(page: Path, slides: list[Slide], notebook: nbformat.NotebookNode) -> str:
    """The slides of a chapter as one file."""
    config = yaml.safe_load((build.ROOT / "_config.yml").read_text())
    sections = _sections(page, slides, notebook)
    made = []
    for number, (title, body) in enumerate(sections, 1):
        kind = ' class="first"' if number == 1 else ""
        level = "h1" if number == 1 else "h2"
        made.append(
            f'<section{kind} aria-roledescription="slide" aria-label="{number} of {len(sections)}">'
            f'<{level} tabindex="-1">{html.escape(title)}</{level}>{body}</section>'
        )
    icon = base64.b64encode((BOOK / "favicon.svg").read_bytes()).decode()
    given = {
        "TITLE": html.escape(f"{sections[0][0]} · {config['title']}"),
        "BOOK": html.escape(config["title"]),
        "LICENCE": html.escape(config["sphinx"]["config"]["print_licence"]),
        "ICON": f"data:image/svg+xml;base64,{icon}",
        "STYLE": (BOOK / "slides.css").read_text(),
        "MATHJAX": _script(mathjax()),
        "SCRIPT": _script(BOOK / "slides.js"),
        "SLIDES": "\n".join(made),
    }
    return re.sub(r"@(\w+)@", lambda found: given.get(found[1], found[0]), PAGE)


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@TITLE@</title>
<link rel="icon" href="@ICON@">
<style>@STYLE@</style>
<script>
const asked = new URLSearchParams(location.search).get("theme");
const dark = asked ? asked === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
document.documentElement.dataset.theme = dark ? "dark" : "light";
MathJax = { svg: { fontCache: "local" }, options: { enableMenu: false } };
</script>
<script>@MATHJAX@</script>
</head>
<body>
<main>
@SLIDES@
</main>
<footer>
<span>@BOOK@ · @LICENCE@</span>
<nav aria-label="Slides">
<button type="button" data-go="-1" aria-label="Previous slide">←</button>
<output aria-live="polite"></output>
<button type="button" data-go="1" aria-label="Next slide">→</button>
<button type="button" data-theme-button aria-label="Light or dark">◐</button>
</nav>
</footer>
<script>@SCRIPT@</script>
</body>
</html>
"""


def write(only: str = "") -> list[Path]:
    """Write the slides of all chapters, or of those whose name holds `only`; chapters not yet executed are executed."""
    OUT.mkdir(parents=True, exist_ok=True)
    wanted = of_chapters()
    for stale in OUT.glob("*.html"):
        if stale.stem not in {page.stem for page in wanted}:
            stale.unlink()
    made = []
    for page, slides in wanted.items():
        if only not in page.stem:
            continue
        target = OUT / f"{page.stem}.html"
        target.write_text(page_of(page, slides, build.execute(page)))
        made.append(target)
        print(f"{target.relative_to(build.ROOT)}: {len(slides)} slides, {target.stat().st_size / 1e6:.1f} MB")
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapter", nargs="?", default="", help="a part of a chapter's name; default: all")
    try:
        write(parser.parse_args().chapter)
    except (ValueError, build.ChapterError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
