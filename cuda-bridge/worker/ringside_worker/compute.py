"""
A compute process: the engine of one rank, apart from the server, so that whatever happens to it leaves the server answering.

Rank 0 hears of runs over a Link and says there what comes of them; the other ranks obey rank 0. Started by group.py, or, on ranks other than 0, by torchrun.
"""

import json
import os
import queue
import signal
import socket
import sys
import threading
import traceback

from .errors import Alone, Cancelled, Refused
from .link import Block, Link


def end_with_parent() -> None:
    """On Linux the kernel ends this process when the one that started it ends, however that was."""
    if sys.platform == "linux":
        import ctypes

        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def watch_stdin() -> None:
    """Ends this process when its standard input does: where there is no such signal, and for a parent that was gone before it was asked for."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(engine_class: type, arguments: list[str]) -> None:
    """`arguments`: the options of Engine.start as JSON, and for rank 0 the file descriptor of its Link."""
    end_with_parent()
    watch_stdin()
    # Ctrl-C is for the server, which then ends its engine in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    options = json.loads(arguments[0])
    if len(arguments) == 1:
        obey(engine_class, options)
    else:
        # What the engine's libraries print must not get between the lines of the server.
        os.dup2(2, 1)
        Desk(Link(socket.socket(fileno=int(arguments[1])))).serve(engine_class, options)


LOST = 75
"""Status of a rank other than 0 that lost the others: it is not the one that failed."""


def obey(engine_class: type, options: dict) -> None:
    """A rank other than 0."""
    try:
        engine = engine_class.start(**options)
    except Alone as error:
        sys.exit(f"ringside worker: {error}")
    if not engine.serve():
        # Not in order: that would wait for those that are lost.
        sys.stderr.flush()
        os._exit(LOST)
    engine.close()


class Desk:
    """Rank 0's side of the Link: one run after the other in this thread, cancels from another."""

    def __init__(self, link: Link):
        self._link = link
        self._work: queue.Queue = queue.Queue()
        self._cancelled: set[int] = set()
        self._engine = self._running = None

    def serve(self, engine_class: type, options: dict) -> None:
        threading.Thread(target=self._read, daemon=True).start()
        try:
            engine = engine_class.start(**options)
            facts = engine.facts()
        except Alone as error:
            self._link.send({"failed": str(error)})
            sys.exit(1)
        except Exception as error:
            traceback.print_exc()
            self._link.send({"failed": f"{type(error).__name__}: {error}"})
            sys.exit(1)
        self._engine = engine
        self._link.send({"ready": facts})
        while (work := self._work.get()) is not None:
            self._run(engine, *work)
        engine.close()

    def _read(self) -> None:
        """In a thread of its own. Without it no cancel would be heard, so this process ends with it, however that came."""
        try:
            while (received := self._link.receive()) is not None:
                message, fds = received
                if "cancel" in message:
                    self._cancel(message["cancel"])
                elif "close" in message:
                    self._work.put(None)
                else:
                    self._work.put(
                        (
                            message,
                            [Block(tensor["bytes"], fd) for tensor, fd in zip(message["inputs"], fds, strict=True)],
                        )
                    )
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    def _cancel(self, number: int) -> None:
        # The engine's number is taken before it is known whose run it is: should the next begin meanwhile, it is not
        # meant.
        run = self._engine.number if self._engine is not None else 0
        self._cancelled.add(number)
        if number == self._running:
            self._engine.cancel(run)

    def _run(self, engine: object, message: dict, blocks: list[Block]) -> None:
        """One run and its answer. Whatever a run raises is that run's failure alone; the engine says itself when it is lost."""
        number, outputs = message["run"], []
        self._running = number
        try:
            inputs = {
                tensor["name"]: as_array(tensor, block) for tensor, block in zip(message["inputs"], blocks, strict=True)
            }
            value, tensors = engine.run(
                message["method"],
                message["params"],
                inputs,
                lambda event: self._link.send({"emit": number, "event": event}),
                lambda: number in self._cancelled,
            )
            answer = {"done": number, "value": value, "tensors": []}
            for name, array in tensors.items():
                described, block = as_block(name, array)
                answer["tensors"].append(described)
                outputs.append(block)
            json.dumps(answer, allow_nan=False)
        except Cancelled:
            answer = {"cancelled": number}
        except Refused as error:
            answer = {"refused": number, "code": error.code, "message": error.message, "details": error.details}
        except Exception as error:
            traceback.print_exc()
            answer = {
                "refused": number,
                "code": "worker-failed",
                "message": f"{type(error).__name__}: {error}",
                "details": {},
            }
        self._link.send(answer, outputs if "done" in answer else [])
        self._cancelled.discard(number)
        inputs = None
        for block in [*blocks, *outputs]:
            block.close()


def as_array(tensor: dict, block: Block) -> object:
    """Shared bytes as a NumPy array, or, for bf16, which NumPy has not, as a torch tensor. No copy."""
    import numpy

    if tensor["dtype"] == "bf16":
        import torch

        if not block.size:
            return torch.empty(tensor["shape"], dtype=torch.bfloat16)
        return torch.frombuffer(block.view, dtype=torch.bfloat16).reshape(tensor["shape"])
    return numpy.frombuffer(block.view, dtype={"f32": "<f4", "f16": "<f2"}[tensor["dtype"]]).reshape(tensor["shape"])


def as_block(name: str, array: object) -> tuple[dict, Block]:
    """An f32 array with its description, copied into shared memory."""
    import numpy

    array = numpy.asarray(array, dtype="<f4")
    block = Block(array.nbytes)
    if array.nbytes:
        numpy.copyto(numpy.frombuffer(block.view, dtype="<f4").reshape(array.shape), array)
    return {"name": name, "dtype": "f32", "shape": list(array.shape), "bytes": array.nbytes}, block


if __name__ == "__main__":
    from .engine import Engine

    main(Engine, sys.argv[1:])
