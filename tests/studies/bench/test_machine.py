import pytest
import torch

from privlab.studies.bench import machine


def test_device_is_the_cpu_where_there_is_no_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.device() == torch.device("cpu")
    with pytest.raises(RuntimeError, match="no CUDA card here; use --device cpu"):
        machine.device("cuda")
    with pytest.raises(ValueError, match="not known to torch"):
        machine.device("gpu0")


def test_device_can_be_set_from_outside(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name, expected in (("cpu", "cpu"), ("cuda:1", "cuda:1"), ("", "cuda")):
        monkeypatch.setenv("PRIVLAB_DEVICE", name)
        assert machine.device() == torch.device(expected)
