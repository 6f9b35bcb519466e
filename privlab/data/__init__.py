"""Data sets: embedded ones that need no network, real ones, and your own.

`load(name, split=...)` looks in the folder named by PRIVLAB_DATA, then in the user's cache, then at
the publisher's address; `prefetch(name)` downloads ahead of that.
"""

from privlab.data.album import albums
from privlab.data.catalogue import CATALOGUE, Entry
from privlab.data.dataset import Dataset, Signals, Table, Text, resized
from privlab.data.fetch import available, prefetch
from privlab.data.loading import fingerprint, load, of_profile
from privlab.data.names import entry_of
from privlab.data.splits import Device, by_label, devices, dirichlet, disjoint, iid
from privlab.data.users import made_users

__all__ = ["CATALOGUE", "Dataset", "Device", "Entry", "Signals", "Table", "Text", "albums", "available", "by_label"]
__all__ += ["devices", "dirichlet", "disjoint", "entry_of", "fingerprint", "iid", "load", "made_users", "of_profile"]
__all__ += ["prefetch", "resized"]
