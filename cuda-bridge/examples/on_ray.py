"""
Ringside's worker on a Ray cluster of two hosts with eight GPUs each.

Run `python on_ray.py` on the head, or submit it with `ray job submit`. It starts one torchrun on each host, as without
Ray. Rank 0 serves on the loopback of the host that this program prints. Forward its port to your machine with
`ssh -L 8787:127.0.0.1:8787 HOST`. Every host needs `pip install cuda-bridge/worker`, and a token in TOKEN_FILE.
"""

import socket
import subprocess

import ray
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

HOSTS, GPUS = 2, 8
TOKEN_FILE = "/etc/ringside/token"


@ray.remote(num_gpus=GPUS, max_restarts=0)
class Host:
    """One host of the worker."""

    def place(self) -> tuple[str, int]:
        """This host's address, and a free port on it."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    def serve(self, rank: int, address: str, port: int) -> int:
        """Runs until the worker ends. Returns torchrun's status."""
        command = ["torchrun", "--nnodes", str(HOSTS), "--nproc-per-node", str(GPUS), "--node-rank", str(rank)]
        command += ["--max-restarts", "3", "--master-addr", address, "--master-port", str(port)]
        command += ["-m", "ringside_worker", "--token-file", TOKEN_FILE]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    ray.init()
    group = placement_group([{"GPU": GPUS, "CPU": GPUS}] * HOSTS, strategy="STRICT_SPREAD")
    ray.get(group.ready())
    hosts = [
        Host.options(
            num_cpus=GPUS, scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=i)
        ).remote()
        for i in range(HOSTS)
    ]
    address, port = ray.get(hosts[0].place.remote())
    print(f"rank 0 is on {address}")
    raise SystemExit(max(ray.get([host.serve.remote(rank, address, port) for rank, host in enumerate(hosts)])))
