"""Leave sphinx-thebe's scripts out of the pages.

Jupyter Book 1 loads that extension whether or not thebe is used, twice: its second copy raises an error in the
browser, and its address is one that the pages must not need.
"""


def _leave_out(app, pagename, templatename, context, doctree):
    scripts = context.get("script_files", [])
    kept = [
        s for s in scripts if "thebe" not in (getattr(s, "filename", None) or "") + str(s.attributes.get("body", ""))
    ]
    context["script_files"] = kept


def setup(app):
    """Register with Sphinx, after every extension that adds scripts."""
    app.connect("html-page-context", _leave_out, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
