"""Mend what others write into the pages: empty headers of tables, the bibliography's roles and its labels."""

import re

from pybtex.markup import LaTeXParser
from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style
from pybtex.style.labels import BaseLabelStyle

EMPTY_HEADER = re.compile(r"<th\b([^>]*)>\s*(?:&nbsp;|\xa0|<p></p>)?\s*</th>")
# In a wide table a spread may stand below its number, but its sign not alone.
SPREAD = re.compile(r"(?<=\d) ± (?=\d)")
CITED = re.compile(r'<div [^>]*class="citation[^>]*>')
ROLES = re.compile(r' role="(?:doc-biblioentry|list|listitem)"')


def mended(body):
    """Empty headers become cells, a number keeps its spread, references are plain paragraphs, as what they are read."""
    body = EMPTY_HEADER.sub(lambda match: f"<td{match[1]}></td>", body)
    body = SPREAD.sub(" ±\xa0", body)
    return CITED.sub(lambda match: ROLES.sub("", match[0]), body)


def renamed(page):
    """The theme's buttons are called what they show: the search says "Search", and icons have no names of their own."""
    page = re.sub(r'(<button class="[^"]*search-button-field[^>]*?) aria-label="Search"', r"\1", page)
    return re.sub(r'(<i class="theme-switch[^>]*?)\s+title="[^"]*"', r"\1", page)


def _rename(app, problem):
    if not problem and app.builder.format == "html":
        for path in app.outdir.rglob("*.html"):
            page = path.read_text()
            if (new := renamed(page)) != page:
                path.write_text(new)


def _mend(app, pagename, templatename, context, doctree):
    if "body" in context:
        context["body"] = mended(context["body"])


class AuthorYear(BaseLabelStyle):
    """`Zhu et al., 2019`: what the chapters' citations say."""

    def format_labels(self, entries):
        """One label an entry. Where two would be the same the title begins too: citations have no letters."""
        labels = [self._label(entry) for entry in entries]
        for entry, label in zip(entries, labels, strict=True):
            title = str(LaTeXParser(entry.fields["title"]).parse()).split()
            yield label if labels.count(label) == 1 else f"{label}, {title[0]} {title[1]} …"

    def _label(self, entry):
        names = [" ".join([*person.prelast_names, *person.last_names]) for person in entry.persons["author"]]
        who = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
        return str(LaTeXParser(f"{who}, {entry.fields['year']}").parse())


class CourseStyle(Style):
    """Sphinx's usual style, with these labels, by author and year."""

    default_label_style = AuthorYear
    default_sorting_style = "author_year_title"


def setup(app):
    """Register with Sphinx and pybtex."""
    register_plugin("pybtex.style.formatting", "course", CourseStyle)
    app.connect("html-page-context", _mend, priority=900)
    app.connect("build-finished", _rename)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
