"""Interactive explorers: a function from settings to a small picture and numbers, and the settings worth showing."""

from privlab.explore.detecting import flag, flag_explorer
from privlab.explore.explorer import Explorer, Frame, Knob
from privlab.explore.figures import gallery, show_images, style
from privlab.explore.inverting import invert, invert_explorer
from privlab.explore.leaking import leak, leak_explorer
from privlab.explore.noise import blur, blur_explorer
from privlab.explore.stealing import steal, steal_explorer

__all__ = [
    "Explorer",
    "Frame",
    "Knob",
    "blur",
    "blur_explorer",
    "flag",
    "flag_explorer",
    "gallery",
    "invert",
    "invert_explorer",
    "leak",
    "leak_explorer",
    "show_images",
    "steal",
    "steal_explorer",
    "style",
]
