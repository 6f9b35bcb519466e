"""`Cite this page`: BibTeX of the page and of the course, folded, at the foot of each page.

What it says of the course comes from `CITATION.cff` and `_config.yml`. An address stands in it only where there is one.
"""

import re
from html import escape
from pathlib import Path

import yaml
from links import has_address

ROOT = Path(__file__).resolve().parents[2]
# Braces keep capitals; these would end a field or begin a command.
SPECIAL = str.maketrans({"&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "{": "", "}": "", "\\": ""})


def course():
    """What `CITATION.cff` says of the course."""
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def address(url, branch, folder, docname):
    """Of the page's source, where the repository has an address; else nothing."""
    return f"{url.rstrip('/')}/blob/{branch}/{folder}/{docname}.md" if has_address(url) else ""


def entry(key, kind, fields):
    """One BibTeX entry; empty fields are left out."""
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def entries(title, book, docname, url, source):
    """BibTeX of a page, and of the course that it stands in."""
    about = course()
    authors = " and ".join(f"{{{author['name'].translate(SPECIAL)}}}" for author in about["authors"])
    year, version = str(about["date-released"])[:4], f"version {about['version']}"
    book = book.translate(SPECIAL)
    whole = {"author": authors, "title": f"{{{book}}}", "year": year, "note": version, "url": url}
    made = [entry("privlab", "misc", whole)]
    if docname:
        key = "privlab-" + re.sub(r"[^a-z0-9]+", "-", docname.rpartition("/")[2])
        page = {"author": authors, "title": f"{{{title.translate(SPECIAL)}}}", "year": year}
        page |= {"howpublished": f"A page of {{{book}}}, {version}", "url": source}
        made.insert(0, entry(key, "misc", page))
    return "\n\n".join(made)


def _append(app, pagename, templatename, context, doctree):
    if doctree is None or "body" not in context:
        return
    config, options = app.config, app.config.html_theme_options
    url = options.get("repository_url", "")
    source = address(url, options.get("repository_branch", "main"), options.get("path_to_docs", "book"), pagename)
    title = app.env.titles[pagename].astext() if pagename in app.env.titles else config.html_title
    own = "" if pagename == config.root_doc else pagename
    text = entries(title, config.html_title, own, url if has_address(url) else "", source)
    context["body"] += (
        f'<details class="cite-page"><summary>Cite this page</summary><pre>{escape(text, quote=False)}</pre></details>'
    )


def setup(app):
    """Register with Sphinx, after the pages' bodies are mended."""
    app.connect("html-page-context", _append, priority=950)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
