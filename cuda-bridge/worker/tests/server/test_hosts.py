"""
Two hosts as Debian and containers set them up: network namespaces, each with its own name and /etc/hosts.

Traffic stays between the two.
"""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import pytest
from harness import PATIENCE, WORKER, readme_commands

HERE = Path(__file__).parent
ASK = textwrap.dedent("""
    import sys
    from harness import Client, attend
    from real_engine import check, inputs
    with Client(sys.argv[1], sys.argv[2]) as client:
        for ranks, variant in ((2, "pass-q"), (2, "pass-kv"), (1, "pass-kv")):
            value, tensors = client.result(client.call("attend", attend(ranks=ranks, variant=variant)))
            check(tensors, *inputs(8, 12))
        print("RIGHT", client.welcome["facts"]["hosts"])
""")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)


class Host:
    """A namespace of network, name and mounts. An idle process keeps it alive."""

    def __init__(self, name, hosts):
        hold = 'hostname "$0" && mount --make-rprivate / && mount --bind "$1" /etc/hosts && ip link set lo up'
        hold += " && echo up && exec sleep 300"
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--uts", "--mount", "sh", "-c", hold, name, str(hosts)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self._holder.pid
        if self._holder.stdout.readline() != "up\n":
            raise OSError(self._holder.communicate()[1].strip())

    def inside(self, *command):
        return ["nsenter", "--target", str(self.pid), "--net", "--uts", "--mount", *command]

    def address(self, text):
        run(*self.inside("ip", "address", "add", text, "dev", "eth0"))
        run(*self.inside("ip", "link", "set", "eth0", "up"))

    def close(self):
        self._holder.kill()
        self._holder.communicate()


LOOKUPS = {
    "a name that is 127.0.1.1": ("alpha", "127.0.1.1 alpha\n10.77.0.2 beta\n", "127.0.1.1 beta\n10.77.0.1 alpha\n"),
    "a name that does not resolve": ("10.77.0.1", "", ""),
}


@pytest.fixture(params=LOOKUPS.values(), ids=LOOKUPS)
def two_hosts(request, tmp_path):
    """
    Two hosts with a cable between them, and the name of the first.

    If the system allows no namespaces, the summary lists the test as untested.
    """
    master, *files = request.param
    missing = [tool for tool in ("ip", "unshare", "nsenter") if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(
            f"two hosts: network namespaces need root and ip, unshare, nsenter; found {', '.join(missing) or 'no root'}"
        )
    made = []
    try:
        try:
            for name, text in zip(("alpha", "beta"), files):
                (tmp_path / name).write_text(f"127.0.0.1 localhost\n{text}")
                made.append(Host(name, tmp_path / name))
            run(
                *made[0].inside(
                    "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", str(made[1].pid)
                )
            )
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(
                f"two hosts: this system allows no network namespaces ({getattr(error, 'stderr', None) or error})"
            )
        made[0].address("10.77.0.1/24")
        made[1].address("10.77.0.2/24")
        yield master, made
    finally:
        for host in made:
            host.close()


def test_two_hosts(two_hosts, tmp_path):
    """The two commands of the README."""
    master, hosts = two_hosts
    processes, logs = [], [(tmp_path / f"log {i}").open("w+") for i in range(2)]
    try:
        for host, command, log in zip(hosts, readme_commands("--node-rank"), logs, strict=True):
            words = [
                "1" if before == "--nproc-per-node" else master if word == "HOST0" else word
                for before, word in pairwise(command)
            ]
            arguments = host.inside(
                sys.executable,
                "-m",
                "torch.distributed.run",
                *words,
                "--listen",
                "127.0.0.1:0",
                "--device",
                "cpu",
                "--json",
            )
            env = {
                name: value
                for name, value in os.environ.items()
                if name not in ("RINGSIDE_TOKEN", "GLOO_SOCKET_IFNAME")
            } | {
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(WORKER),
            }
            processes.append(
                subprocess.Popen(
                    arguments, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
                )
            )
        line = processes[0].stdout.readline()
        assert line, "\n".join(Path(log.name).read_text() for log in logs)
        said = json.loads(line)
        path = os.pathsep.join([str(HERE), str(WORKER)])
        asked = subprocess.run(
            hosts[0].inside(sys.executable, "-c", ASK, said["address"], said["token"]),
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert asked.stdout == "RIGHT 2\n", asked.stderr
        processes[0].terminate()
        for process in processes:
            process.wait(PATIENCE)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for log in logs:
            log.close()
