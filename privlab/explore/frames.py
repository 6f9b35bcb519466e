"""Explorers whose every setting takes a training: their frames are made once, and kept beside this file."""

import datetime
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from privlab.explore.explorer import Explorer, key

FOLDER = Path(__file__).parent / "frames"


def load(name: str) -> dict[str, dict[str, Any]]:
    """The stored frames of an explorer by their settings; none where it has not been rendered yet."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text())["frames"] if path.is_file() else {}


def render(
    name: str,
    make: Callable[[], Explorer],
    provenance: Mapping[str, Any],
    *,
    folder: Path = FOLDER,
    again: bool = False,
) -> Path:
    """Make every frame of an explorer's grid and store it; a run that was stopped goes on where it was.

    provenance: what is kept beside the frames. again: make those anew that are there. Frames of settings that are no
    longer on the grid are dropped.
    """
    path, explorer = folder / f"{name}.json", make()
    folder.mkdir(exist_ok=True)
    found = {} if again or not path.is_file() else json.loads(path.read_text())["frames"]
    frames = {key(setting): found.get(key(setting)) for setting in explorer.grid()}
    for setting in tqdm([s for s in explorer.grid() if not frames[key(s)]], desc=name, unit="frame"):
        frames[key(setting)] = dict(explorer.function(**setting).as_json())
        today = datetime.date.today().isoformat()
        text = json.dumps({"provenance": {**provenance, "date": today}, "frames": frames}, indent=0)
        part = path.with_suffix(".part")
        part.write_text(text)
        part.replace(path)
    return path
