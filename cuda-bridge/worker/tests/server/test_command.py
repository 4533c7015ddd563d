"""The command line: what it prints, what it refuses before anything listens, TLS, and the README's commands."""

import dataclasses
import os
import re
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib
from harness import HERE, PATIENCE, README, SESSION, WORKER, Client, Worker, attend, readme_commands
from ringside_worker.__main__ import parser
from ringside_worker.auth import Origins, check_exposure, is_loopback, read_address, same_token
from ringside_worker.errors import CannotStart
from ringside_worker.limits import Limits
from websockets.sync.client import connect


def refused(*arguments, env=None):
    """Status and standard error of a worker that doesn't start."""
    done = subprocess.run(
        [sys.executable, str(HERE / "fake_worker.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | (env or {}),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "0.0.0.0:0"], "and no TLS: token and data would travel in the clear. Pass --cert and --key"),
        (["--listen", "[::]:0"], "--insecure"),
        (["--listen", "8787"], 'found "8787", expected HOST:PORT'),
        (["--listen", "127.0.0.1:99999"], "expected HOST:PORT"),
        (["--cert", "x.pem"], "found one of them, expected both"),
        (["--cert", "/nowhere/x.pem", "--key", "/nowhere/y.pem"], "No such file"),
        (["--token-file", "/nowhere/token"], "No such file"),
        (["--origin", "example.org"], 'found "example.org", expected scheme and host'),
        (["--origin", "https://example.org/page"], "expected scheme and host"),
        (["--limit", "frames=3"], 'found "frames", expected one of frame-bytes'),
        (["--limit", "pending=0"], "--limit pending: found 0, expected at least 1"),
        (["--limit", "queue=-1"], 'found "-1", expected a whole number'),
        (["--limit", "run-seconds=inf"], "expected a number of seconds"),
        (["--limit", "frame-bytes=10"], "frameBytes: found 10, expected at least 1024"),
        (["--processes", "0"], "found 0, expected 1 or more"),
        (["--timeout", "0"], "--timeout: found 0, expected a number of seconds of more than 0"),
        (["--start-timeout", "nan"], "--start-timeout: found nan"),
        (["--start-timeout", "1e999"], "--start-timeout: found inf"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused_at_start(arguments, said):
    status, error = refused(*arguments)
    assert status == 2 and said in error and error.count("\n") == 1, error


def test_a_short_token_is_refused_and_not_shown(tmp_path):
    (tmp_path / "token").write_text("hunter2\n")
    for status, error in (refused("--token-file", str(tmp_path / "token")), refused(env={"RINGSIDE_TOKEN": "hunter2"})):
        assert status == 2 and "found 7 characters, expected 16 to 256" in error and "hunter2" not in error


def test_a_taken_port():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        status, error = refused("--listen", f"127.0.0.1:{holder.getsockname()[1]}")
    assert status == 2 and "Address already in use" in error


def test_compute_that_does_not_start(tmp_path):
    status, error = refused("--listen", "127.0.0.1:0", "--device", "cuda", env={"FAKE_FAILS_IF": str(tmp_path)})
    assert status == 2 and "the compute processes cannot be started: RuntimeError: no CUDA device" in error


def test_what_is_printed(tmp_path):
    with Worker(json_line=False) as worker:
        lines = [worker.said["line"], worker.process.stdout.readline(), worker.process.stdout.readline()]
        address, token = (
            re.fullmatch(rf"{name}: +(\S+)\n", line).group(1) for name, line in zip(("address", "token"), lines)
        )
        assert lines[2].startswith("machine: 1 x NumPy; ")
        assert len(token) == 43
        with Client(address, token) as client:
            assert client.health()["state"] == "ready"
        assert token not in worker.log()
    with Worker() as first, Worker() as second:
        assert first.token != second.token
    (tmp_path / "token").write_text("a token of one's own\n")
    with (
        Worker("--token-file", str(tmp_path / "token")) as worker,
        Client(worker.address, "a token of one's own") as client,
    ):
        assert "token" not in worker.said and client.health()


def test_the_token_is_not_in_the_environment_of_compute():
    with Worker(env={"RINGSIDE_TOKEN": "0123456789abcdef"}) as worker:
        assert b"0123456789abcdef" not in Path(f"/proc/{worker.said['ranks'][0]}/environ").read_bytes()
        assert b"0123456789abcdef" not in Path(f"/proc/{worker.said['ranks'][0]}/cmdline").read_bytes()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for localhost, made with the README's command."""
    folder = tmp_path_factory.mktemp("tls")
    [command] = readme_commands("openssl")
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=PATIENCE)
    return folder / "cert.pem", folder / "key.pem"


def test_tls(certificate):
    cert, key = map(str, certificate)
    with Worker("--cert", cert, "--key", key) as worker:
        assert worker.address.startswith("wss://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=cert)
        with Client(worker.address, worker.token, ssl=trusted, server_hostname="localhost") as client:
            assert client.result(client.call("attend", attend()))
            assert client.socket.socket.version() in ("TLSv1.2", "TLSv1.3")
        with pytest.raises(ssl.SSLError), connect(worker.address, ssl=ssl.create_default_context()):
            pass
        # Plain bytes on the port, and sockets that stay silent, do no harm.
        host, port = worker.address.removeprefix("wss://").split(":")
        with socket.create_connection((host, int(port))) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with Client(worker.address, worker.token, ssl=trusted, server_hostname="localhost") as client:
            assert client.result(client.call("session.open", SESSION))


def test_insecure_is_said_aloud():
    with Worker("--listen", "0.0.0.0:0", "--insecure") as worker:
        assert "WARNING: --insecure" in worker.log()


def test_addresses():
    assert read_address("[::1]:8787") == ("::1", 8787)
    assert read_address("localhost:0") == ("localhost", 0)
    for host, loopback in {
        "127.0.0.1": True,
        "127.9.9.9": True,
        "::1": True,
        "localhost": True,
        "0.0.0.0": False,
        "::": False,
        "192.168.0.1": False,
        "": False,
    }.items():
        assert is_loopback(host) is loopback, host
        if not loopback:
            with pytest.raises(CannotStart):
                check_exposure(host, tls=False, insecure=False)
        check_exposure(host, tls=True, insecure=False)
        check_exposure(host, tls=False, insecure=True)


def test_same_token():
    assert (
        same_token("abc", "abc")
        and not same_token("abd", "abc")
        and not same_token("", "abc")
        and not same_token("\udcff", "abc")
    )


def test_origins():
    named = Origins(["https://Example.org"])
    assert named.allows(["https://example.org"]) and named.allows([]) and not named.allows(["https://example.org:444"])


# The README


@pytest.mark.parametrize(
    "command", [command for command in readme_commands("ringside_worker") if command[0] == "python"], ids=" ".join
)
def test_a_command_of_the_readme(command, certificate, tmp_path):
    """As written, but on a free port and with fake compute processes. (test_torchrun.py runs those with torchrun.)"""
    (tmp_path / "token").write_text("the token of a test")
    for file in certificate:
        os.symlink(file, tmp_path / file.name)
    assert command[1:3] == ["-m", "ringside_worker"]
    arguments = command[3:]
    if "--listen" in arguments:
        at = arguments.index("--listen")
        assert arguments[at + 1].endswith(":8787")
        arguments[at + 1] = arguments[at + 1].replace(":8787", ":0")
    ranks = int(arguments[arguments.index("--processes") + 1]) if "--processes" in arguments else 1
    with Worker(*arguments, cwd=tmp_path) as worker:
        assert len(worker.said["ranks"]) == worker.said["facts"]["processes"] == ranks
        assert worker.address.startswith("wss" if "--cert" in arguments else "ws")
        worker.process.kill()


def test_the_readme_begins_with_its_installation():
    """test_package.py installs it. The packages that pip then fetches come first in requirements.txt."""
    [command] = readme_commands("pip install")
    assert command == ["python", "-m", "pip", "install", "cuda-bridge/worker"] and README.index(
        "pip install"
    ) < README.index("python -m ringside_worker")
    needed = tomllib.loads((WORKER / "pyproject.toml").read_text())["project"]["dependencies"]
    rows = [line for line in (WORKER / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert [re.match(r"[a-z]+", word).group() for word in needed] == [
        re.match(r"[a-z]+", row).group() for row in rows[: len(needed)]
    ]


def test_what_the_readme_names_exists():
    """Options of the worker, and the variables of gloo, NCCL, Node and Deno."""
    options = {word for action in parser()._actions for word in action.option_strings}
    shown = {word for word in re.findall(r"`(--[a-z-]+)", README)}
    assert {"--timeout", "--start-timeout", "--memory-limit", "--limit"} <= shown & options
    assert shown - options <= {"--remote", "--token", "--max-restarts", "--only"}
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "NODE_EXTRA_CA_CERTS", "DENO_CERT"):
        assert f"`{name}" in README


def test_the_limits_of_the_readme_and_of_the_help():
    rows = dict(re.findall(r"^\| `([a-z-]+)` +\| (\d+) +\|", README, re.MULTILINE))
    assert rows == {field.name.replace("_", "-"): f"{field.default}" for field in dataclasses.fields(Limits)}
    [option] = [action for action in parser()._actions if "--limit" in action.option_strings]
    assert all(f"{name}={value}" in option.help for name, value in rows.items())


def test_what_the_readme_says_is_printed():
    with Worker(json_line=False) as worker:
        printed = worker.said["line"] + worker.process.stdout.readline() + worker.process.stdout.readline()
    shown = re.search(r"^```\n(address:.*?)^```$", README, re.MULTILINE | re.DOTALL).group(1)
    pattern = r"address: ws://\S+\ntoken:   .+\nmachine: 1 x [^;]+; 1 processes, single; torch \S+; kernel \S+\n"
    assert re.fullmatch(pattern, printed) and re.fullmatch(pattern, shown)
