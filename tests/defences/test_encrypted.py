import ast
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from privlab.defences import encrypted

pytest.importorskip("tenseal")
pytest.importorskip("mpyc")

SUM = """
import numpy as np
from mpyc.runtime import mpc

async def main():
    number = mpc.SecFxp(64, 32)
    await mpc.start()
    shared = mpc.input(number.array(np.load(f"input{mpc.pid}.npy")))
    total = await mpc.output(sum(shared[1:], shared[0]))
    np.save(f"result{mpc.pid}.npy", total)
    await mpc.shutdown()

mpc.run(main())
"""


def vectors(count=3, length=5000, norm=1.0):
    made = torch.randn(count, length, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return list(norm * made / made.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("norm", [1e-6, 1e-3, 1.0, 1e3])
def test_a_sum_of_ciphertexts_errs_as_little_as_is_said_however_large_the_updates(norm):
    sent = vectors(norm=norm)
    bound = max(each.abs().max().item() for each in sent)
    found = encrypted.ckks_sum(sent, bound=bound)
    error = (found.total - sum(sent)).abs().max().item()
    assert 0 < error <= 3 * bound * 1e-7
    assert error / sum(sent).norm() < 1e-6


def test_the_bound_is_what_the_error_goes_by():
    sent = vectors(norm=1e-8)
    largest = sum(sent).abs().max()
    errors = [(encrypted.ckks_sum(sent, bound=bound).total - sum(sent)).abs().max() for bound in (1.0, 1e-8)]
    assert errors[0] > largest  # the sum is lost
    assert errors[1] < largest * 1e-6


def test_vectors_longer_than_a_ciphertext_are_split_and_each_client_sends_the_same():
    sent = vectors(length=2 * encrypted.SLOTS + 1)
    found = encrypted.ckks_sum([each.float() for each in sent])
    assert [len(each) for each in found.received] == [3, 3, 3]
    assert found.total.dtype == torch.float32
    assert found.total.shape == sent[0].shape
    assert found.bytes == max(sum(len(part) for part in each) for each in found.received)
    assert (found.total - sum(sent)).abs().max() < 1e-6


def test_the_server_cannot_open_what_it_has_and_a_ciphertext_does_not_show_its_numbers():
    import tenseal as ts

    sent = [torch.zeros(100, dtype=torch.float64)] * 2
    found = encrypted.ckks_sum(sent)
    assert found.received[0][0] != found.received[1][0]  # the same numbers, encrypted anew
    stranger = ts.context(ts.SCHEME_TYPE.CKKS, encrypted.DEGREE, coeff_mod_bit_sizes=list(encrypted.MODULI))
    stranger.global_scale = encrypted.SCALE
    opened = torch.tensor(ts.ckks_vector_from(stranger, found.received[0][0]).decrypt())
    assert opened.abs().median() > 1  # with another key it is noise, not zeros
    stranger.make_context_public()
    with pytest.raises(ValueError, match="secret"):
        ts.ckks_vector_from(stranger, found.received[0][0]).decrypt()


@pytest.mark.parametrize(
    ("sent", "how", "message"),
    [
        ([], {}, "the vectors are none"),
        ([torch.zeros(3), torch.zeros(4)], {}, r"the vectors are \(3,\), \(4,\)"),
        ([torch.zeros(2, 2)], {}, r"give one vector \(L,\)"),
        ([torch.zeros(3), torch.full((3,), 2.0)], {}, "client 1 has a number of 2, beyond bound=1"),
        ([torch.full((3,), float("nan"))], {}, "client 0 has a number of nan"),
        ([torch.zeros(3)], {"bound": 0.0}, "bound=0.0 is out of range"),
    ],
)
def test_what_cannot_be_encrypted_is_refused(sent, how, message):
    with pytest.raises(ValueError, match=message):
        encrypted.ckks_sum(sent, **how)


def test_processes_sum_what_each_of_them_alone_has_read():
    own = [each.numpy() for each in vectors(length=50)]
    found = encrypted.parties(SUM, own)
    assert len(found.results) == 3
    numbered = SUM.replace('npy", total)', 'npy", [mpc.pid])')
    assert [each.item() for each in encrypted.parties(numbered, own).results] == [0, 1, 2]
    for each in found.results:
        assert np.abs(each - sum(own)).max() < 3 * 2.0**-32
    assert found.bytes > 50 * 8  # each number to each other party, as a share
    assert found.seconds > 0


def test_a_party_that_fails_ends_the_others_and_its_words_are_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(encrypted.tempfile, "tempdir", str(tmp_path))
    broken = SUM.replace("await mpc.start()", "assert mpc.pid != 1, 'no wish to go on'\n    await mpc.start()")
    with pytest.raises(RuntimeError, match="no wish to go on"):
        encrypted.parties(broken, [np.zeros(2)] * 3)
    assert not list(tmp_path.iterdir())


def test_parties_that_never_end_are_ended_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(encrypted.tempfile, "tempdir", str(tmp_path))
    started = []
    whole = encrypted.subprocess.Popen
    monkeypatch.setattr(encrypted.subprocess, "Popen", lambda *a, **k: started.append(whole(*a, **k)) or started[-1])
    with pytest.raises(TimeoutError, match=r"did not end in 0\.5 seconds"):
        encrypted.parties("import time\ntime.sleep(60)\n", [np.zeros(1)] * 2, timeout=0.5)
    assert len(started) == 2
    assert all(each.returncode is not None for each in started)
    assert not list(tmp_path.iterdir())


def test_an_interrupt_ends_them_too(monkeypatch):
    started = []
    whole = encrypted.subprocess.Popen
    monkeypatch.setattr(encrypted.subprocess, "Popen", lambda *a, **k: started.append(whole(*a, **k)) or started[-1])

    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(encrypted.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encrypted.parties("import time\ntime.sleep(60)\n", [np.zeros(1)] * 2)
    assert len(started) == 2
    assert all(each.returncode is not None for each in started)


@pytest.mark.parametrize(
    ("missing", "call"),
    [
        ("tenseal", lambda: encrypted.ckks_sum([torch.zeros(3)] * 2)),
        ("mpyc", lambda: encrypted.parties(SUM, [np.zeros(1)])),
    ],
)
def test_a_missing_library_is_named_with_what_to_install(missing, call, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(encrypted.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=re.escape(f"{missing} is not installed; run pip install 'privlab[encrypt]'")):
        call()


def test_the_package_is_imported_without_either():
    """MPyC reads a program's arguments and begins to log as soon as it is imported."""
    tree = ast.parse(Path(encrypted.__file__).read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    named = {alias.name for node in nodes for alias in node.names} | {getattr(node, "module", None) for node in nodes}
    assert "numpy" in named
    assert not {"tenseal", "mpyc"} & named
