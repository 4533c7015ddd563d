"""How processes find each other: the interface for gloo, and the errors if they cannot."""

import os

import pytest
import torch.distributed as dist
from ringside_worker import rendezvous
from ringside_worker.errors import CannotMeet

HOSTS = {"eth0": "10.1.0.2", "ib0": "192.168.7.2", "docker0": "172.17.0.1", "lo": "127.0.0.1"}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(rendezvous, "interfaces", lambda: list(HOSTS.items()))
    monkeypatch.delenv(rendezvous.INTERFACE, raising=False)
    yield dist.FileStore(str(tmp_path / "store"), 2)
    os.environ.pop(rendezvous.INTERFACE, None)


def chosen(store, monkeypatch, *seen):
    """The interface that rank 0 chooses. `seen`: for each rank, its own address and the master's."""
    for rank, (own, master) in enumerate(seen):
        store.set(f"here/{rank}", rendezvous.json.dumps({"own": own, "master": master}))
    own, master = seen[0]
    monkeypatch.setattr(rendezvous, "reach", lambda: {"own": own, "master": master})
    rendezvous.choose_interface(store, len(seen))
    return os.environ[rendezvous.INTERFACE]


def test_the_interface_that_reaches_the_master(store, monkeypatch):
    assert chosen(store, monkeypatch, ("192.168.7.2", "192.168.7.1"), ("192.168.7.1", "192.168.7.1")) == "ib0"


def test_a_master_whose_own_name_is_loopback_asks_how_the_others_reach_it(store, monkeypatch):
    """Debian's /etc/hosts: the name of this host is 127.0.1.1."""
    assert chosen(store, monkeypatch, ("127.0.0.1", "127.0.1.1"), ("10.1.0.3", "10.1.0.2")) == "eth0"


def test_one_host_speaks_over_loopback(store, monkeypatch):
    assert chosen(store, monkeypatch, ("127.0.0.1", "127.0.1.1"), ("127.0.0.1", "127.0.1.1")) == rendezvous.LOOPBACK


def test_a_named_interface_stays(store, monkeypatch):
    monkeypatch.setenv(rendezvous.INTERFACE, "wlan0")
    assert chosen(store, monkeypatch, ("10.1.0.2", "10.1.0.2")) == "wlan0"


def test_no_interface_says_which_variable_to_set(store, monkeypatch):
    with pytest.raises(
        CannotMeet,
        match=r"10\.9\.9\.9.*name one in GLOO_SOCKET_IFNAME \(here: docker0, eth0, ib0\), and in NCCL_SOCKET_IFNAME",
    ):
        chosen(store, monkeypatch, ("10.9.9.9", "10.9.9.1"))


def test_reach_and_interfaces_of_this_host(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert rendezvous.reach() == {"own": "127.0.0.1", "master": "127.0.0.1"}
    monkeypatch.delenv("MASTER_ADDR")
    assert rendezvous.is_loopback(rendezvous.reach()["own"])
    assert (rendezvous.LOOPBACK, "127.0.0.1") in rendezvous.interfaces()
    assert rendezvous.is_loopback("::1") and not rendezvous.is_loopback("fe80::1%eth0")


def test_a_master_without_an_address_is_named(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "no-such-host.invalid")
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(CannotMeet, match='MASTER_ADDR: found "no-such-host.invalid", which has no address'):
        rendezvous.open_store(0, 2, 0.1)


def test_attempts_do_not_share_keys(monkeypatch):
    """torchrun's store outlives its processes."""
    monkeypatch.delenv(rendezvous.STORE_FILE, raising=False)
    server = dist.TCPStore("127.0.0.1", 0, None, True)
    for name, value in {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(server.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }.items():
        monkeypatch.setenv(name, value)
    for attempt in ("0", "1"):
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", attempt)
        store = rendezvous.open_store(0, 2, 5)
        assert not store.check(["here/0"])
        store.set("here/0", "x")
