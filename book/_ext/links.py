"""Buttons that lead to the repository, Binder and Colab: only where `_config.yml` holds an address that exists."""

PLACEHOLDER = "privlab-course/privlab"  # replaced in _config.yml when the repository has a public address
BUTTONS = ("use_repository_button", "use_issues_button", "use_edit_page_button")


def has_address(url):
    """Whether the repository can be reached at this address."""
    return bool(url) and not url.rstrip("/").endswith(PLACEHOLDER)


def _leave_out(app, config):
    if not has_address(config.html_theme_options.get("repository_url", "")):
        for name in BUTTONS:
            config.html_theme_options.pop(name, None)


def _leave_out_launch(app, pagename, templatename, context, doctree):
    # Not by the option: the theme makes the notebook that can be downloaded together with these buttons.
    if not has_address(app.config.html_theme_options.get("repository_url", "")):
        buttons = context.get("header_buttons", [])
        context["header_buttons"] = [each for each in buttons if each.get("label") != "launch-buttons"]


def setup(app):
    """Register with Sphinx, before the theme reads its options and after it has made its buttons."""
    app.connect("config-inited", _leave_out, priority=100)
    app.connect("html-page-context", _leave_out_launch, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
