"""The explorer: one object, live with a kernel and self-contained HTML on a static page."""

import html
import itertools
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from privlab import checks
from privlab.explore.frame import Frame, css, draw, pack

_HERE = Path(__file__).parent
MOST_SETTINGS = 60
_SHIM = """
const spec = {spec}, page = {page};
const module = await import(URL.createObjectURL(new Blob([{esm}], {{ type: "text/javascript" }})));
module.default.render({{ model: {{ page, get: () => spec }}, el: document.getElementById("{id}") }});
"""


@dataclass(frozen=True)
class Knob:
    """One setting. Numbers are a slider; `choice` makes radio buttons, for categories that have no order.

    values: the settings on the static page; live: (low, high, step) with a kernel; unit: said behind the value.
    """

    name: str
    label: str
    values: tuple[Any, ...]
    live: tuple[float, float, float] | None = None
    unit: str = ""
    choice: bool = False


class Explorer(anywidget.AnyWidget):
    """Controls for the settings of `function(**settings) -> Frame`.

    On a static page every setting of the grid is looked up; with a kernel the same object computes settings
    off the grid too. `name` stands in links to a setting (`#name?knob=value`), `start` is the first setting.
    stored: frames made beforehand, by `key`, for settings that each take a training; they are shown as they are.
    Raises ValueError for more than 60 settings, or a start that is not on the grid.
    """

    _esm = _HERE / "explorer.js"
    _css = _HERE / "explorer.css"
    spec = traitlets.Dict().tag(sync=True)
    first = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        function: Callable[..., Frame],
        knobs: Sequence[Knob],
        *,
        start: Mapping[str, Any],
        name: str,
        title: str,
        stored: Mapping[str, Frame] | None = None,
    ) -> None:
        self.function, self.knobs, self.start = function, tuple(knobs), dict(start)
        self.stored = stored or {}
        total = len(self.grid())
        if total > MOST_SETTINGS:
            raise ValueError(f"the grid has {total} settings; keep it to {MOST_SETTINGS}, so that a page stays small")
        for knob in knobs:
            checks.one_of(f"start[{knob.name!r}]", start.get(knob.name), knob.values)
        spec = {"name": name, "title": title, "knobs": [asdict(knob) for knob in knobs], "start": self.start}
        super().__init__(spec=spec, first=pack({"": self.frame(self.start)}))
        self.on_msg(self._answer)

    def grid(self) -> list[dict[str, Any]]:
        """Every setting of the static page."""
        names = [knob.name for knob in self.knobs]
        places = itertools.product(*(knob.values for knob in self.knobs))
        return [dict(zip(names, place, strict=True)) for place in places]

    def corners(self) -> list[dict[str, Any]]:
        """The settings at the ends of every slider."""
        names = [knob.name for knob in self.knobs]
        ends = itertools.product(*((knob.values[0], knob.values[-1]) for knob in self.knobs))
        return [dict(zip(names, end, strict=True)) for end in ends]

    def _answer(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        if message.get("kind") != "frame":
            return
        try:
            page = pack({"": self.frame(message["settings"])})
        except (ValueError, TypeError, RuntimeError) as error:
            self.send({"kind": "error", "id": message["id"], "text": str(error)})
        else:
            self.send({"kind": "frame", "id": message["id"], "page": page})

    def frame(self, settings: Mapping[str, Any]) -> Frame:
        """What is shown for these settings: the stored frame, or one that is computed now."""
        ordered = {knob.name: settings[knob.name] for knob in self.knobs if knob.name in settings}
        return self.stored.get(key(ordered)) or self.function(**settings)

    def html(self) -> str:
        """The explorer as HTML that needs no kernel, no network and no other script."""
        name = f"pl-{uuid.uuid4().hex[:12]}"
        page = pack({key(setting): self.frame(setting) for setting in self.grid()})
        look, first = css(page["sprite"], name), draw(page, key(self.start))
        # The sprite stands in the style alone: a script that repeats it would double the page.
        page["sprite"] = page["sprite"] and {**page["sprite"], "image": ""}
        script = _SHIM.format(
            spec=_script_json(self.spec), page=_script_json(page), esm=_script_json(_text("explorer.js")), id=name
        )
        return (
            f"<style>{_text('explorer.css')}</style>{look}"
            f'<div id="{name}" class="{name}" data-explorer="{html.escape(self.spec["name"], quote=True)}">'
            f'<div class="pl-explorer">{first}</div></div><script type="module">{script}</script>'
        )

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return {**data, "text/html": self.html()}, metadata


def key(settings: Mapping[str, Any]) -> str:
    """A setting as the front end looks it up."""
    return "|".join(str(_plain(value)) for value in settings.values())


def _plain(value: Any) -> Any:
    """A number as JavaScript prints it: 1.0 is 1 there."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _script_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
