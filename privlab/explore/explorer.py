"""The explorer: one object, live with a kernel and self-contained HTML on a static page."""

import base64
import html
import itertools
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from privlab import checks

_HERE = Path(__file__).parent
MOST_SETTINGS = 60
_SHIM = """
const spec = {spec}, frames = {frames};
const module = await import(URL.createObjectURL(new Blob([{esm}], {{ type: "text/javascript" }})));
const model = {{ frames, get: () => spec, on() {{}}, send() {{}} }};
module.default.render({{ model, el: document.getElementById("{id}") }});
"""


@dataclass(frozen=True)
class Knob:
    """One slider. `values` are the settings on the static page; `live` is (low, high, step) with a kernel."""

    name: str
    label: str
    values: tuple[Any, ...]
    live: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Frame:
    """What one setting shows: a WebP picture, its alt text, and numbers by name, ready to print."""

    picture: bytes
    alt: str
    numbers: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """The frame as the front end takes it."""
        image = f"data:image/webp;base64,{base64.b64encode(self.picture).decode()}"
        return {"image": image, "alt": self.alt, "numbers": dict(self.numbers)}

    def _repr_html_(self) -> str:
        """The picture alone, for a notebook."""
        frame = self.as_json()
        return f'<img src="{frame["image"]}" alt="{html.escape(self.alt, quote=True)}" class="dark-light" width="100%">'


class Explorer(anywidget.AnyWidget):
    """Sliders over the settings of `function(**settings) -> Frame`.

    On a static page every setting of the grid is looked up; with a kernel the same object computes settings
    off the grid too. `start` is the first setting, `size` the pictures' width and height in pixels.
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
        size: tuple[int, int],
        title: str,
        stored: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.function, self.knobs, self.start = function, tuple(knobs), dict(start)
        self.stored = stored or {}
        total = len(self.grid())
        if total > MOST_SETTINGS:
            raise ValueError(f"the grid has {total} settings; keep it to {MOST_SETTINGS}, so that a page stays small")
        for knob in knobs:
            checks.one_of(f"start[{knob.name!r}]", start.get(knob.name), knob.values)
        keys = [{"name": k.name, "label": k.label, "values": k.values, "live": k.live} for k in knobs]
        spec = {"title": title, "knobs": keys, "start": self.start, "size": size}
        super().__init__(spec=spec, first=self._frame(self.start))
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
            frame = self._frame(message["settings"])
        except (ValueError, TypeError, RuntimeError) as error:
            self.send({"kind": "error", "id": message["id"], "text": str(error)})
        else:
            self.send({"kind": "frame", "id": message["id"], "frame": frame})

    def _frame(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        ordered = {knob.name: settings[knob.name] for knob in self.knobs if knob.name in settings}
        return self.stored.get(key(ordered)) or self.function(**settings).as_json()

    def html(self) -> str:
        """The explorer as HTML that needs no kernel, no network and no other script."""
        name = f"privlab-{uuid.uuid4().hex[:12]}"
        frames = {key(setting): self._frame(setting) for setting in self.grid()}
        first = self.first
        picture = f'<img src="{first["image"]}" alt="{html.escape(first["alt"], quote=True)}">'
        script = _SHIM.format(
            spec=_script_json(self.spec), frames=_script_json(frames), esm=_script_json(_text("explorer.js")), id=name
        )
        style = f"<style>{_text('explorer.css')}</style>"
        return f'{style}<div id="{name}">{picture}</div><script type="module">{script}</script>'

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
    return json.dumps(value).replace("</", "<\\/")


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
