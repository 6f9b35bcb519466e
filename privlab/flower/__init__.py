"""Flower: the same attacks and defences in a framework that people deploy. Needs the extra `privlab[flower]`.

An honest client (`client_app`), servers that read (`Eavesdropper`, `Malicious`), a client's guard (`audit_mod`), and
three ways to run them: in this process (`LocalGrid`), in Flower's simulation (`simulate`), and as processes
(`Deployment`).
"""

try:
    import flwr  # noqa: F401
except ImportError:
    raise ImportError("privlab.flower needs Flower: python -m pip install 'privlab[flower]'") from None


from privlab.flower.auditing import Audit, audit, audit_mod, traps
from privlab.flower.client import client_app
from privlab.flower.deployment import Deployment, write_app
from privlab.flower.local import LocalGrid, quietly, simulate
from privlab.flower.records import difference, load, record
from privlab.flower.running import Round, finished, rounds
from privlab.flower.servers import Eavesdropper, Heard, Malicious

__all__ = [
    "Audit",
    "Deployment",
    "Eavesdropper",
    "Heard",
    "LocalGrid",
    "Malicious",
    "Round",
    "audit",
    "audit_mod",
    "client_app",
    "difference",
    "finished",
    "load",
    "quietly",
    "record",
    "rounds",
    "simulate",
    "traps",
    "write_app",
]
