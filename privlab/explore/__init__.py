"""Interactive explorers: a function from settings to a small picture and numbers, and the settings worth showing."""

from privlab.explore.adapting import adapt, adapt_explorer
from privlab.explore.asking import ask, ask_explorer, matrix
from privlab.explore.carrying import carry, carry_explorer
from privlab.explore.decoding import decode, decode_explorer
from privlab.explore.detecting import flag, flag_explorer
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.figures import show_images, style
from privlab.explore.fooling import fool, fool_explorer
from privlab.explore.frame import Frame, Panel
from privlab.explore.gathering import gather, gather_explorer
from privlab.explore.hiding import hide, hide_explorer
from privlab.explore.inferring import infer, infer_explorer
from privlab.explore.inverting import invert, invert_explorer
from privlab.explore.leaking import leak, leak_explorer
from privlab.explore.linking import link, link_explorer
from privlab.explore.mingling import mingle, mingle_explorer
from privlab.explore.noise import blur, blur_explorer
from privlab.explore.poisoning import poison, poison_explorer
from privlab.explore.ranking import rank, rank_explorer
from privlab.explore.showing import show, show_explorer
from privlab.explore.spending import spend, spend_explorer
from privlab.explore.stealing import steal, steal_explorer

# Those whose frames are made beforehand.
STORED = {
    "decode": decode_explorer,
    "fool": fool_explorer,
    "hide": hide_explorer,
    "infer": infer_explorer,
    "leak": leak_explorer,
    "link": link_explorer,
    "mingle": mingle_explorer,
    "poison": poison_explorer,
    "spend": spend_explorer,
}

__all__ = [
    "STORED",
    "Explorer",
    "Frame",
    "Knob",
    "Panel",
    "adapt",
    "adapt_explorer",
    "ask",
    "ask_explorer",
    "blur",
    "blur_explorer",
    "carry",
    "carry_explorer",
    "decode",
    "decode_explorer",
    "flag",
    "flag_explorer",
    "fool",
    "fool_explorer",
    "gather",
    "gather_explorer",
    "hide",
    "hide_explorer",
    "infer",
    "infer_explorer",
    "invert",
    "invert_explorer",
    "leak",
    "leak_explorer",
    "link",
    "link_explorer",
    "matrix",
    "mingle",
    "mingle_explorer",
    "poison",
    "poison_explorer",
    "rank",
    "rank_explorer",
    "show",
    "show_explorer",
    "show_images",
    "spend",
    "spend_explorer",
    "steal",
    "steal_explorer",
    "style",
]
