"""What a page says about itself: the landing page's title and preview, the logo's text, head and foot in print."""

from html import escape


def _name(app, config):
    config.html_theme_options.setdefault("logo", {})["text"] = config.html_title


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _describe(app, pagename, templatename, context, doctree):
    config, title = app.config, app.config.html_title
    top, bottom = _quoted(title), _quoted(config.print_licence)
    tags = [f"<style>@page {{ @top-left {{ content: {top} }} @bottom-left {{ content: {bottom} }} }}</style>"]
    if pagename == config.root_doc:
        context["docstitle"] = ""  # else the book's title would stand twice in the window's
        about = {"og:title": title, "og:type": "website", "og:site_name": title, "og:description": config.description}
        tags += [f'<meta name="description" content="{escape(config.description)}" />']
        tags += [f'<meta property="{key}" content="{escape(value)}" />' for key, value in about.items()]
    context["metatags"] = context.get("metatags", "") + "\n".join(tags)


def setup(app):
    """Register with Sphinx; both values are set in `_config.yml`."""
    app.add_config_value("description", "", "html")
    app.add_config_value("print_licence", "", "html")
    app.connect("config-inited", _name)
    app.connect("html-page-context", _describe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
