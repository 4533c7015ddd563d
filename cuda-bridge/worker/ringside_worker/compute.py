"""
A compute process: the engine of one rank, apart from the server, so that the server survives whatever happens here.

Rank 0 gets runs over a pipe and answers there; the other ranks obey rank 0. processes.py starts this program; under
torchrun the ranks other than 0 run `obey` in the process that torchrun started.
"""

import json
import os
import queue
import signal
import socket
import sys
import threading
import traceback

from .errors import Cancelled, CannotMeet, Refused
from .pipe import LOST, Pipe, SharedBytes


def end_with_parent() -> None:
    """On Linux the kernel then ends this process when its parent ends, however that happens."""
    if sys.platform == "linux":
        import ctypes

        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def watch_stdin() -> None:
    """
    Ends this process when its standard input closes.

    For systems without that signal, and for a parent that was gone before we asked for it.
    """

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(engine_class: type, arguments: list[str]) -> None:
    """`arguments`: the options of Engine.start as JSON, and for rank 0 the file descriptor of its pipe."""
    end_with_parent()
    watch_stdin()
    # Ctrl-C is for the server, which then shuts its engine down properly.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    options = json.loads(arguments[0])
    if len(arguments) == 1:
        obey(engine_class, options)
    else:
        # What the engine's libraries print must not mix with the server's lines.
        os.dup2(2, 1)
        RankZero(Pipe(socket.socket(fileno=int(arguments[1])))).serve(engine_class, options)


def obey(engine_class: type, options: dict) -> None:
    """A rank other than 0."""
    try:
        engine = engine_class.start(**options)
    except CannotMeet as error:
        sys.exit(f"ringside worker: {error}")
    if not engine.serve():
        # An orderly shutdown would wait for the lost ranks.
        sys.stderr.flush()
        os._exit(LOST)
    engine.close()


class RankZero:
    """Rank 0's end of the pipe: runs one call after another in this thread; cancels come from another thread."""

    def __init__(self, pipe: Pipe):
        self._pipe = pipe
        self._work: queue.Queue = queue.Queue()
        self._cancelled: set[int] = set()
        self._engine = self._running = None

    def serve(self, engine_class: type, options: dict) -> None:
        threading.Thread(target=self._read, daemon=True).start()
        try:
            engine = engine_class.start(**options)
            facts = engine.facts()
        except CannotMeet as error:
            self._pipe.send({"failed": str(error)})
            sys.exit(1)
        except Exception as error:  # noqa: BLE001 - the server reports whatever kept the engine from starting
            traceback.print_exc()
            self._pipe.send({"failed": f"{type(error).__name__}: {error}"})
            sys.exit(1)
        self._engine = engine
        self._pipe.send({"ready": facts})
        while (work := self._work.get()) is not None:
            self._run(engine, *work)
        engine.close()

    def _read(self) -> None:
        """Reads the pipe, in a separate thread. Without it no cancel would arrive, so its end ends this process."""
        try:
            while (received := self._pipe.receive()) is not None:
                message, fds = received
                if "cancel" in message:
                    self._cancel(message["cancel"])
                elif "close" in message:
                    self._work.put(None)
                else:
                    inputs = zip(message["inputs"], fds, strict=True)
                    self._work.put((message, [SharedBytes(tensor["bytes"], fd) for tensor, fd in inputs]))
        except BaseException:  # noqa: BLE001 - whatever it is, the process ends with it
            traceback.print_exc()
        finally:
            os._exit(1)

    def _cancel(self, number: int) -> None:
        # We read the engine's number before we check whose run it is. If the next run begins in between, we cancel the
        # old number and so nothing.
        run = self._engine.number if self._engine is not None else 0
        self._cancelled.add(number)
        if number == self._running:
            self._engine.cancel(run)

    def _run(self, engine: object, message: dict, given: list[SharedBytes]) -> None:
        """One run and its answer. Whatever a run raises fails only that run; the engine says if it is lost itself."""
        number, outputs = message["run"], []
        self._running = number
        try:
            inputs = {
                tensor["name"]: as_array(tensor, shared)
                for tensor, shared in zip(message["inputs"], given, strict=True)
            }
            value, tensors = engine.run(
                message["method"],
                message["params"],
                inputs,
                lambda event: self._pipe.send({"emit": number, "event": event}),
                lambda: number in self._cancelled,
            )
            answer = {"done": number, "value": value, "tensors": []}
            for name, array in tensors.items():
                described, shared = as_shared(name, array)
                answer["tensors"].append(described)
                outputs.append(shared)
            json.dumps(answer, allow_nan=False)
        except Cancelled:
            answer = {"cancelled": number}
        except Refused as error:
            answer = {"refused": number, "code": error.code, "message": error.message, "details": error.details}
        except Exception as error:  # noqa: BLE001 - it fails this run alone
            traceback.print_exc()
            answer = {
                "refused": number,
                "code": "worker-failed",
                "message": f"{type(error).__name__}: {error}",
                "details": {},
            }
        self._pipe.send(answer, outputs if "done" in answer else [])
        self._cancelled.discard(number)
        inputs = None
        for shared in [*given, *outputs]:
            shared.close()


def as_array(tensor: dict, shared: SharedBytes) -> object:
    """Shared memory as a NumPy array, without a copy. bf16, which NumPy lacks, becomes a torch tensor."""
    import numpy

    if tensor["dtype"] == "bf16":
        import torch

        if not shared.size:
            return torch.empty(tensor["shape"], dtype=torch.bfloat16)
        return torch.frombuffer(shared.view, dtype=torch.bfloat16).reshape(tensor["shape"])
    return numpy.frombuffer(shared.view, dtype={"f32": "<f4", "f16": "<f2"}[tensor["dtype"]]).reshape(tensor["shape"])


def as_shared(name: str, array: object) -> tuple[dict, SharedBytes]:
    """An f32 array's description, and its bytes copied into shared memory."""
    import numpy

    array = numpy.asarray(array, dtype="<f4")
    shared = SharedBytes(array.nbytes)
    if array.nbytes:
        numpy.copyto(numpy.frombuffer(shared.view, dtype="<f4").reshape(array.shape), array)
    return {"name": name, "dtype": "f32", "shape": list(array.shape), "bytes": array.nbytes}, shared


if __name__ == "__main__":
    from .engine import Engine

    main(Engine, sys.argv[1:])
