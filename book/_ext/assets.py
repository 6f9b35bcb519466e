"""Leave out of the built site what no page uses: of Font Awesome all but a dozen icons, parts of MathJax."""

import re
import shutil

# Icons that scripts put in, beside those that stand in the pages.
FROM_SCRIPTS = {"xmark", "sun", "moon", "circle-half-stroke"}
ICON = re.compile(r'"?([a-z0-9-]+)"?:\[\d+,\d+,\[([^\]]*)\],"[0-9a-f]*",(?:"[^"]*"|\[[^\]]*\])\],?')
MATHJAX = {"tex-chtml.js", "output", "input"}


def subset(script, names):
    """Font Awesome's script with only the icons of these names (or older names)."""

    def keep(match):
        return match[0] if {match[1], *re.findall(r'"([a-z0-9-]+)"', match[2])} & names else ""

    return re.sub(r",\}", "}", ICON.sub(keep, script))


def _prune(app, problem):
    if problem or app.builder.format != "html":
        return
    static = app.outdir / "_static"
    pages = [page.read_text() for page in app.outdir.rglob("*.html") if static not in page.parents]
    names = {name for page in pages for name in re.findall(r"\bfa-([a-z0-9-]+)", page)} | FROM_SCRIPTS
    script = static / "scripts" / "fontawesome.js"
    if script.exists():
        script.write_text(subset(script.read_text(), names))
    for left in [*static.rglob("*.map"), *static.rglob("*.ttf"), *(static / "mathjax").glob("*")]:
        if left.parent.name == "mathjax" and left.name in MATHJAX:
            continue
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    for folder in (static / "locales", static / "mathjax" / "input" / "mml", static / "mathjax" / "output" / "svg"):
        shutil.rmtree(folder, ignore_errors=True)


def setup(app):
    """Register with Sphinx, after the extensions that copy files."""
    app.connect("build-finished", _prune, priority=999)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
