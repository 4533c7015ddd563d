"""
How the processes of a worker find each other before they form a group: the store, who has arrived, the interface.

The store is torch.distributed's. If one server started all processes (`--processes`), it is a file, so that nothing
has to listen. Otherwise it is that of torchrun, or of rank 0, at MASTER_ADDR:MASTER_PORT. torchrun's store outlives its
processes. An attempt must not read what the previous one left there, so each attempt has its own keys.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import socket
import struct
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CannotMeet

if TYPE_CHECKING:
    import torch.distributed as dist

STORE_FILE = "RINGSIDE_STORE"
"""Environment variable: the file of a FileStore."""
INTERFACE = "GLOO_SOCKET_IFNAME"
SAY_SECONDS = 15
"""After waiting this long we print a line that says for what."""


def open_store(rank: int, world: int, seconds: float) -> dist.Store:
    """The store of this attempt. Raises CannotMeet."""
    import torch.distributed as dist

    file = os.environ.get(STORE_FILE)
    if file:
        return dist.FileStore(file, world)
    host, port = os.environ.get("MASTER_ADDR", ""), int(os.environ.get("MASTER_PORT", "29500"))
    deadline = time.monotonic() + seconds
    resolved(host, deadline)
    try:
        # We don't use dist.rendezvous: in it rank 0 waits for the others before anyone can say who is missing.
        serves = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        left = timedelta(seconds=max(1.0, deadline - time.monotonic()))
        store = dist.TCPStore(host, port, world, serves, left, wait_for_workers=False, multi_tenant=True)
    except (RuntimeError, ValueError) as error:
        raise CannotMeet(
            f"rank {rank} cannot reach the store at {host}:{port} within {seconds:g} s ({first_line(error)}): "
            "check that rank 0 runs there and that no firewall blocks the port"
        ) from None
    return dist.PrefixStore(f"ringside-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def resolved(host: str, deadline: float) -> None:
    """Waits until the master's name has an address: in a cluster it may get one late. Raises CannotMeet."""
    begun, said = time.monotonic(), False
    while True:
        try:
            socket.getaddrinfo(host, None)
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise CannotMeet(
                    f'MASTER_ADDR: found "{host}", which has no address ({error}), expected the host of rank 0 '
                    "by a name that this host can look up, or by its address"
                ) from None
            if not said and time.monotonic() - begun > SAY_SECONDS:
                said = True
                print(
                    f'ringside worker: MASTER_ADDR "{host}" has no address yet ({error}); waiting',
                    file=sys.stderr,
                    flush=True,
                )
        time.sleep(0.5)


def wait_for_all(store: dist.Store, rank: int, world: int, seconds: float) -> None:
    """Announces this rank and waits for the others, which may still load or compile. Raises CannotMeet."""
    store.set(f"here/{rank}", json.dumps(reach()))
    keys, begun, said = [f"here/{k}" for k in range(world)], time.monotonic(), False
    while not store.check(keys):
        waited = time.monotonic() - begun
        if waited > seconds or (waited > SAY_SECONDS and not said and rank == 0):
            missing = ", ".join(str(k) for k, key in enumerate(keys) if not store.check([key]))
            if waited > seconds:
                raise CannotMeet(
                    f"found no sign of rank {missing} within {seconds:g} s, expected all of {world} ranks: "
                    "see what they printed, or wait longer with --start-timeout"
                )
            said = True
            print(f"ringside worker: waiting for rank {missing}", file=sys.stderr, flush=True)
        time.sleep(0.05)


def choose_interface(store: dist.Store, world: int) -> None:
    """
    Chooses the interface for gloo, unless the user named one. Raises CannotMeet.

    Gloo itself would take the interface of this host's name. On Debian that is loopback (127.0.1.1), and in a container
    the name may have no address at all.
    """
    if os.environ.get(INTERFACE):
        return
    address = reach()["own"]
    if is_loopback(address):
        # Either this is the master, whose name means loopback here, or all ranks are on one host. How the others reach
        # the master tells which.
        others = [json.loads(store.get(f"here/{k}")) for k in range(world)]
        address = next((other["master"] for other in others if not is_loopback(other["own"])), address)
    name = LOOPBACK if is_loopback(address) else next((name for name, found in interfaces() if found == address), None)
    if name is None:
        candidates = ", ".join(sorted({name for name, found in interfaces() if not is_loopback(found)})) or "none"
        raise CannotMeet(
            f"found no network interface with {address}, the address by which the ranks reach each other: "
            f"name one in {INTERFACE} (here: {candidates}), and in NCCL_SOCKET_IFNAME for GPUs"
        )
    os.environ[INTERFACE] = name


LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


def reach() -> dict[str, str]:
    """The master's address as this host sees it, and this host's address on the way there. Sends nothing."""
    host = os.environ.get("MASTER_ADDR")
    if not host:
        return {"own": "127.0.0.1", "master": "127.0.0.1"}
    why = None
    for family, kind, proto, _, address in socket.getaddrinfo(
        host, int(os.environ.get("MASTER_PORT", "29500")), type=socket.SOCK_DGRAM
    ):
        try:
            with socket.socket(family, kind, proto) as probe:
                probe.connect(address)
                return {"own": probe.getsockname()[0], "master": address[0]}
        except OSError as error:
            why = error
    raise CannotMeet(f'MASTER_ADDR: found "{host}", to which this host has no route ({why}), expected a reachable host')


def is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.split("%")[0]).is_loopback


def interfaces() -> list[tuple[str, str]]:
    """This host's network interfaces with their addresses: the first IPv4 address of each, and all of IPv6."""
    SIOCGIFADDR = 0x8915
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found.append((name, socket.inet_ntoa(answer[20:24])))
            except OSError:
                pass  # It has no IPv4 address.
    try:
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            digits, *_, name = line.split()
            found.append((name, str(ipaddress.IPv6Address(bytes.fromhex(digits)))))
    except OSError:
        pass
    return found


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
