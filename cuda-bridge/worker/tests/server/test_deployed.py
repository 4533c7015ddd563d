"""The examples for Slurm, Kubernetes and Ray. We cannot run them here, but every flag and variable has to exist."""

import ast
import re
import shlex
import subprocess

import pytest
import yaml
from harness import DEPLOYED, README
from ringside_worker.__main__ import parser
from torch.distributed.run import get_args_parser

#: Variables of each example: those that the scheduler sets, and its own.
VARIABLES = {
    "slurm.sh": {"SLURM_JOB_NODELIST", "SLURM_NNODES", "SLURM_NODEID", "HOME", "HOST0"},
    "kubernetes.yaml": {"JOB_COMPLETION_INDEX"},
    "on_ray.py": set(),
}
LIBRARIES = {"GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"}


def command_of_slurm():
    text = (DEPLOYED / "slurm.sh").read_text()
    subprocess.run(["bash", "-n", str(DEPLOYED / "slurm.sh")], check=True)
    words = shlex.split(text, comments=True)
    return shlex.split(words[words.index("srun") + 3].replace("\\\n", " "))


def command_of_kubernetes():
    service, job = yaml.safe_load_all((DEPLOYED / "kubernetes.yaml").read_text())
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["command"] == ["sh", "-c"] and service["spec"]["clusterIP"] == "None"
    command = shlex.split(container["args"][0])
    # The name by which pods find rank 0, and the number of pods, must match the rest of the file.
    assert (
        command[command.index("--master-addr") + 1] == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
        and pod["subdomain"] == service["metadata"]["name"]
    )
    assert spec["completionMode"] == "Indexed" and service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert int(command[command.index("--nnodes") + 1]) == spec["completions"] == spec["parallelism"]
    assert int(command[command.index("--nproc-per-node") + 1]) == container["resources"]["limits"]["nvidia.com/gpu"]
    assert {row["name"] for row in container["env"]} <= LIBRARIES
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    return command[command.index("torchrun") :]


def command_of_ray():
    tree = ast.parse((DEPLOYED / "on_ray.py").read_text())
    compile(tree, "on_ray.py", "exec")
    lists = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, (ast.Assign, ast.AugAssign)) and isinstance(node.value, ast.List)
    ]
    # "1" stands for what the program fills in.
    return [element.value if isinstance(element, ast.Constant) else "1" for one in lists for element in one.elts]


COMMANDS = {"slurm.sh": command_of_slurm, "kubernetes.yaml": command_of_kubernetes, "on_ray.py": command_of_ray}


@pytest.mark.parametrize("file", COMMANDS)
def test_the_command_is_one_that_torchrun_and_the_worker_take(file):
    command = COMMANDS[file]()
    assert command[0] == "torchrun" and command.count("-m") == 1
    at = command.index("-m")
    numbered = ["1" if word.startswith("$SLURM") or word == "$JOB_COMPLETION_INDEX" else word for word in command[1:]]
    torchrun = get_args_parser().parse_args(numbered)
    assert (
        torchrun.training_script == "ringside_worker"
        and torchrun.module
        and torchrun.master_port
        and torchrun.max_restarts == 3
    )
    assert parser().parse_args(command[at + 2 :]).token_file
    for word in command[1:at]:
        assert not word.startswith("--") or word in get_args_parser().format_help(), word


@pytest.mark.parametrize("file", COMMANDS)
def test_variables_exist_and_the_readme_names_the_file(file):
    text = (DEPLOYED / file).read_text()
    code = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    used = set(re.findall(r"\$\{?([A-Z][A-Z0-9_]+)", code))
    assert used <= VARIABLES[file] and VARIABLES[file] <= used
    assert set(re.findall(r"\b(?:GLOO|NCCL)_[A-Z_]+", text)) <= LIBRARIES
    assert f"(examples/{file})" in README


def test_every_example_is_read():
    # ring_dump.py starts no worker: it writes what `ringside compare` reads, and test/unit/compare/torch.test.ts runs it.
    assert {file.name for file in DEPLOYED.iterdir()} == {*COMMANDS, "ring_dump.py"}
