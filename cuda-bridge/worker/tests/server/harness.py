"""What the server's tests share: a worker process, and a small client that checks every message against the schema."""

import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import numpy
from fake_compute import seeded
from ringside_worker.wire import HEAD, read_frame, read_message, write_frame, write_message
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

HERE = Path(__file__).parent
WORKER = HERE.parents[1]
EXAMPLES = WORKER.parent / "protocol" / "examples"
DEPLOYED = WORKER.parent / "examples"
README = (WORKER.parent / "README.md").read_text("utf-8")
#: Seconds. A slow machine must not fail a test.
PATIENCE = 60


class Worker:
    """A worker process. `fake`: with fake_compute.py's compute processes. `files`: its limit of open files."""

    def __init__(
        self,
        *arguments: str,
        fake: bool = True,
        env: dict | None = None,
        json_line: bool = True,
        cwd: Path = WORKER,
        files: int | None = None,
    ):
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - stays open as long as the worker; __exit__ closes it
        program = [str(HERE / "fake_worker.py")] if fake else ["-m", "ringside_worker"]
        clean = {
            name: value
            for name, value in os.environ.items()
            if name not in ("RINGSIDE_TOKEN", "RANK", "WORLD_SIZE", "MASTER_ADDR")
        }
        self.process = subprocess.Popen(
            [
                sys.executable,
                *program,
                *([] if "--listen" in arguments else ["--listen", "127.0.0.1:0"]),
                *(["--json"] if json_line else []),
                *arguments,
            ],
            cwd=cwd,
            env=clean | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            preexec_fn=None  # noqa: PLW1509 - sets one limit; no test starts a worker while its threads hold locks
            if files is None
            else lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (min(64, files), files)),
        )
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(PATIENCE)
            raise AssertionError(f"the worker did not start: status {self.process.returncode}\n{self.log()}")
        self.said = json.loads(line) if json_line else {"line": line}
        self.address, self.token = self.said.get("address"), self.said.get("token")

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def client(self, **options: object) -> "Client":
        return Client(self.address, self.token, **options)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
        self.process.stdout.close()
        self._log.close()


class Client:
    """A connection. With `token=None` it sends no hello."""

    def __init__(self, address: str, token: str | None, **options: object):
        self._context = connect(
            address,
            **{"subprotocols": ["ringside-1"], "compression": None, "max_size": None, "close_timeout": 1, **options},
        )
        self.socket = self._context.__enter__()
        self.heard: list[dict] = []
        self.number = self.stream = 0
        self.close_code: int | None = None
        self._streams: dict[int, bytearray] = {}
        if token is not None:
            self.send({"type": "hello", "protocol": 1, "token": token, "client": "a test"})
            self.welcome = self.expect("welcome")

    def send(self, message: dict) -> None:
        self.socket.send(write_message(message))

    def receive(self, timeout: float = PATIENCE) -> dict | bytes:
        """The next message or frame. Raises ConnectionClosed once there is none."""
        data = self.socket.recv(timeout)
        if isinstance(data, bytes):
            return data
        message = read_message(data, "serverMessage")
        self.heard.append(message)
        return message

    def expect(self, kind: str, number: int | None = None) -> dict:
        """The next message of this type (and of this call). Skips others."""
        while True:
            message = self.receive()
            if isinstance(message, dict) and message["type"] == kind and message.get("id") == number:
                return message

    def call(self, method: str, params: dict) -> int:
        self.number += 1
        self.send({"type": "call", "id": self.number, "method": method, "params": params})
        return self.number

    def tensor(self, array: numpy.ndarray) -> dict:
        self.stream += 1
        return {
            "stream": self.stream,
            "dtype": {2: "f16", 4: "f32"}[array.itemsize],
            "shape": list(array.shape),
            "bytes": array.nbytes,
        }

    def upload(self, tensor: dict, array: numpy.ndarray) -> None:
        """Sends all its frames, within the window. Skips acknowledgements of other tensors."""
        data, sent, leave = array.tobytes(), 0, self.welcome["limits"]["window"]
        payload = self.welcome["limits"]["frameBytes"] - HEAD.size
        while sent < len(data):
            if sent == leave:
                message = self.receive()
                if isinstance(message, dict) and message["type"] == "ack" and message["stream"] == tensor["stream"]:
                    leave = message["received"] + self.welcome["limits"]["window"]
                assert not (isinstance(message, dict) and message["type"] == "error"), message
                continue
            part = data[sent : min(sent + payload, leave)]
            self.socket.send(write_frame(tensor["stream"], sent, part))
            sent += len(part)

    def end(self, number: int) -> dict:
        """A call's result or error, whichever comes."""
        while True:
            message = self.receive()
            if isinstance(message, dict) and message["type"] in ("result", "error") and message.get("id") == number:
                return message

    def result(self, number: int) -> tuple[dict, dict[str, numpy.ndarray]]:
        """A call's value and tensors. Acknowledges them as the protocol requires."""
        end = self.end(number)
        assert end["type"] == "result", end
        tensors = {name: (tensor, bytearray()) for name, tensor in end["tensors"].items()}
        by_stream = {tensor["stream"]: (tensor, data) for tensor, data in tensors.values()}
        while any(len(data) < tensor["bytes"] for tensor, data in tensors.values()):
            frame = self.receive()
            if isinstance(frame, dict):
                continue
            stream, offset, payload = read_frame(frame, self.welcome["limits"]["frameBytes"])
            _, data = by_stream[stream]
            assert offset == len(data)
            data += payload
            self.send({"type": "ack", "stream": stream, "received": len(data)})
        return end["value"], {
            name: numpy.frombuffer(data, dtype="<f4").reshape(tensor["shape"])
            for name, (tensor, data) in tensors.items()
        }

    def health(self) -> dict:
        return self.result(self.call("health", {}))[0]

    def closed(self) -> tuple[int, str | None]:
        """Waits for the close. Returns its code, and the code of the error before it."""
        error = None
        try:
            while True:
                message = self.receive()
                if isinstance(message, dict) and message["type"] == "error" and "id" not in message:
                    error = message["code"]
        except ConnectionClosed as closed:
            return (closed.rcvd.code if closed.rcvd else 1006), error

    def close(self) -> None:
        self._context.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def readme_commands(word: str) -> list[list[str]]:
    """The command lines of cuda-bridge/README.md that contain a word."""
    lines = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    return [shlex.split(line) for line in lines if word in line]


def attend(**changes: object) -> dict:
    """Parameters of a small attend. A value of None removes a field."""
    params = {
        "sequences": [{"new": 8, "cached": 4}],
        "heads": 4,
        "kvHeads": 2,
        "headDim": 16,
        "variant": "pass-kv",
        "causal": True,
        "dtype": "f32",
        "ranks": 2,
        "output": "full",
        "seed": 1,
    } | changes
    return {name: value for name, value in params.items() if value is not None}


def lasting(seconds: float, **changes: object) -> dict:
    """Parameters of an attend that takes so long."""
    return attend(link={"bandwidth": 1e9, "latency": seconds}, **changes)


SESSION = {"ranks": 2, "heads": 4, "kvHeads": 2, "headDim": 16, "dtype": "f32", "capacity": 64, "variant": "auto"}


def prefill(session: int, new: int = 8, **changes: object) -> dict:
    return {"session": session, "batch": [{"sequence": 0, "new": new}], "output": "full", "seed": 1} | changes


def alive(pid: int) -> bool:
    """Whether this process runs. A zombie doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: list[int], seconds: float = 20) -> bool:
    """Whether all of them end within so many seconds."""
    end = time.monotonic() + seconds
    while any(alive(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def until(true, seconds: float = 30) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def seeded_qkv(seed=1, first=0, new=8, keys=12, heads=4, kv_heads=2, dim=16):
    """q, k and v of the seeded calls above, f64."""
    return (
        seeded(seed, 0, first, new, heads, dim),
        seeded(seed, 1, first, keys, kv_heads, dim),
        seeded(seed, 2, first, keys, kv_heads, dim),
    )


def close_to(found, expected) -> None:
    numpy.testing.assert_allclose(found, expected, atol=1e-6, rtol=1e-6)
