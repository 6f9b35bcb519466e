"""Explorers whose every setting takes a training: their frames are made once, and kept beside this file."""

import datetime
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from privlab.explore.explorer import Explorer, key
from privlab.explore.frame import Frame, pack, unpack

FOLDER = Path(__file__).parent / "frames"


def load(name: str, folder: Path = FOLDER) -> dict[str, Frame]:
    """The stored frames of an explorer by their settings; none where it has not been rendered yet."""
    path = folder / f"{name}.json"
    return unpack(json.loads(path.read_text())) if path.is_file() else {}


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
    found = {} if again else load(name, folder)
    grid = {key(setting): setting for setting in explorer.grid()}
    for setting in tqdm([s for k, s in grid.items() if k not in found], desc=name, unit="frame"):
        found[key(setting)] = explorer.function(**setting)
        today = datetime.date.today().isoformat()
        packed = pack({k: found[k] for k in grid if k in found})
        text = json.dumps({"provenance": {**provenance, "date": today}, **packed}, indent=0, ensure_ascii=False)
        part = path.with_suffix(".part")
        part.write_text(text)
        part.replace(path)
    return path
