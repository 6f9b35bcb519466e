"""One file per attack family. Each attack carries its `ThreatModel`."""
