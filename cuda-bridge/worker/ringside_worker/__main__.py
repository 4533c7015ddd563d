"""
`python -m ringside_worker`: the worker's command line.

Prints its address and token, then serves until Ctrl-C or SIGTERM.
"""

import argparse
import asyncio
import dataclasses
import json
import os
import signal
import sys
from collections import Counter

from .needs import require

require()  # before the imports below, which need PyTorch and the rest

from .auth import TOKEN_VARIABLE, Origins, check_exposure, read_address, read_token, tls_context
from .compute import end_with_parent
from .errors import CannotStart
from .limits import Limits
from .open_files import files_needed, raise_files
from .processes import COMMAND, ComputeProcesses, Died
from .server import Server
from .wire import BadMessage, check_limits

#: The server knows of a dead rank at most this long after the rank's connections broke.
DEATH_SECONDS = 4.0
#: The longest --timeout and --start-timeout: in places torch.distributed keeps its limits in 32-bit milliseconds.
MOST_SECONDS = 86400


def parser() -> argparse.ArgumentParser:
    names = ", ".join(f"{field.name.replace('_', '-')}={field.default}" for field in dataclasses.fields(Limits))
    made = argparse.ArgumentParser(
        prog="python -m ringside_worker",
        description="Runs Ringside's experiments with PyTorch on this machine. "
        "For several GPUs or hosts see cuda-bridge/README.md.",
        allow_abbrev=False,
    )
    made.add_argument(
        "--listen",
        metavar="HOST:PORT",
        default="127.0.0.1:8787",
        help="address to serve; port 0 picks a free one (default %(default)s)",
    )
    made.add_argument(
        "--token-file",
        metavar="FILE",
        help="read the token from FILE; default: RINGSIDE_TOKEN if set, else print a fresh one",
    )
    made.add_argument(
        "--origin",
        metavar="ORIGIN",
        action="append",
        default=[],
        help="a page of another host that may connect, for example https://example.org; repeatable",
    )
    made.add_argument("--cert", metavar="FILE", help="certificate chain (PEM); serves wss://")
    made.add_argument("--key", metavar="FILE", help="private key of --cert (PEM)")
    made.add_argument(
        "--insecure",
        action="store_true",
        help="listen beyond this machine without TLS: token and data travel in the clear",
    )
    made.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="processes on this host, one rank each: one a GPU, or N on the CPU "
        "(default 1, which simulates any number of ranks)",
    )
    made.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda if there is a GPU")
    made.add_argument(
        "--timeout",
        type=float,
        default=30,
        metavar="S",
        help="give up a rank that is silent in a run for S seconds (default %(default)g)",
    )
    made.add_argument(
        "--start-timeout",
        type=float,
        default=1800,
        metavar="S",
        help="the same at the start and while a call is prepared, when a rank may load or compile for minutes "
        "(default %(default)g)",
    )
    made.add_argument(
        "--memory-limit", type=int, metavar="BYTES", help="memory that a run may take (default: what is free)"
    )
    made.add_argument(
        "--limit", metavar="NAME=VALUE", action="append", default=[], help=f"repeatable; defaults: {names}"
    )
    made.add_argument(
        "--json", action="store_true", help="print one line of JSON instead of text: address, token, pid, facts"
    )
    return made


def read_limits(settings: list[str]) -> Limits:
    """The limits from `--limit NAME=VALUE`. Raises CannotStart."""
    fields = {field.name.replace("_", "-"): field for field in dataclasses.fields(Limits)}
    chosen = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in fields:
            raise CannotStart(f'--limit: found "{name}", expected one of {", ".join(fields)}')
        field = fields[name]
        try:
            number = field.type(value)
        except ValueError:
            number = -1
        if not 0 <= number < float("inf"):
            kind = "whole number" if field.type is int else "number of seconds"
            raise CannotStart(f'--limit {name}: found "{value}", expected a {kind} of 0 or more')
        chosen[field.name] = number
    limits = Limits(**chosen)
    if limits.pending < 1:
        raise CannotStart(
            "--limit pending: found 0, expected at least 1: every client waits there between connection and hello"
        )
    try:
        check_limits(limits.for_welcome())
    except BadMessage as error:
        raise CannotStart(f"--limit: {error}") from None
    return limits


def under_torchrun() -> bool:
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))


def engine_options(options: argparse.Namespace) -> dict:
    """The options of Engine.start. Raises CannotStart."""
    for name, seconds in (("--timeout", options.timeout), ("--start-timeout", options.start_timeout)):
        if not 0 < seconds <= MOST_SECONDS:
            raise CannotStart(
                f"{name}: found {seconds:g}, expected a number of seconds of more than 0 and at most {MOST_SECONDS}"
            )
    chosen = {
        "device": options.device,
        "memory_limit": options.memory_limit,
        "timeout": options.timeout,
        "patience": options.start_timeout,
    }
    return {name: value for name, value in chosen.items() if value is not None}


async def serve(options: argparse.Namespace, command: tuple[str, ...]) -> int:
    """Checks the options, starts processes and server, and waits for the end. Returns the exit status."""
    host, port = read_address(options.listen)
    tls = tls_context(options.cert, options.key)
    check_exposure(host, tls is not None, options.insecure)
    limits, origins = read_limits(options.limit), Origins(options.origin)
    raise_files(files_needed(limits, options.processes))
    token, source = read_token(options.token_file)
    if options.processes < 1:
        raise CannotStart(f"--processes: found {options.processes}, expected 1 or more")
    joined = under_torchrun()
    if joined and options.processes != 1:
        raise CannotStart(
            f"--processes: found {options.processes} under torchrun, "
            f"which has started {os.environ['WORLD_SIZE']} processes already: leave it out"
        )
    if options.insecure and tls is None:
        print(
            "ringside worker: WARNING: --insecure: anyone between client and worker can read token and data, "
            "and use this worker",
            file=sys.stderr,
            flush=True,
        )

    ending: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end_on, number, ending, joined)
    processes = ComputeProcesses(
        0 if joined else options.processes, engine_options(options), command, options.start_timeout
    )
    server = Server(processes, token, origins, limits)
    starting = asyncio.create_task(server.start(host, port, tls))
    await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
        return 0
    try:
        port = starting.result()
    except Died as died:
        raise CannotStart(f"the compute processes cannot be started: {died}") from None
    except OSError as error:
        raise CannotStart(f"--listen {options.listen}: {error}") from None
    address = f"{'wss' if tls else 'ws'}://{f'[{host}]' if ':' in host else host}:{port}"
    announce(options, address, token, source, processes)
    await asyncio.wait({ending, server.broken}, return_when=asyncio.FIRST_COMPLETED)
    if joined and not server.broken.done():
        # When a rank dies, torchrun ends the others too, often before rank 0 has noticed. We wait a little so that the
        # client learns which rank died.
        await asyncio.wait({server.broken}, timeout=DEATH_SECONDS)
    why = server.broken.result() if server.broken.done() else "the worker received a signal to end"
    if server.broken.done():
        print(f"ringside worker: {why}", file=sys.stderr, flush=True)
    await server.stop(why)
    return 1 if server.broken.done() else 0


def end_on(number: int, ending: asyncio.Future, joined: bool) -> None:
    """
    The first signal shuts the worker down properly; the second ends it at once, and its compute processes with it.

    Under torchrun only the first counts: torchrun passes on a Ctrl-C that reached this process already, and kills what
    is still running in the end.
    """
    if ending.done():
        if not joined:
            os._exit(128 + number)
        return
    ending.set_result(signal.Signals(number).name)


def announce(
    options: argparse.Namespace, address: str, token: str, source: str | None, processes: ComputeProcesses
) -> None:
    """Prints address, token and machine. A token that the user gave is not printed."""
    facts = processes.facts
    if options.json:
        shown = {"token": token} if source is None else {}
        return print(
            json.dumps({"address": address, **shown, "pid": os.getpid(), "ranks": processes.pids, "facts": facts}),
            flush=True,
        )
    counts = Counter(device["name"] for device in facts["devices"])
    devices = ", ".join(f"{count} x {name}" for name, count in counts.items())
    chosen = {kernel["name"].split(",")[0] for kernel in facts["kernels"] if kernel.get("chosen")}
    print(f"address: {address}")
    print(f"token:   {token if source is None else f'from {source}'}")
    print(
        f"machine: {devices}; {facts['processes']} processes, {facts['backend']}; torch {facts['torch']}; "
        f"kernel {', '.join(sorted(chosen)) or 'none'}",
        flush=True,
    )


def main(arguments: list[str] | None = None, command: tuple[str, ...] = COMMAND) -> int:
    """`command` starts a compute process."""
    options = parser().parse_args(arguments)
    if under_torchrun():
        # torchrun ends its processes, but if torchrun itself is killed, nobody else does.
        end_with_parent()
    try:
        if under_torchrun() and os.environ["RANK"] != "0":
            return obey(engine_options(options))
        return asyncio.run(serve(options, command))
    except CannotStart as error:
        print(f"ringside worker: {error}", file=sys.stderr)
        return 2


def obey(options: dict) -> int:
    """A rank other than 0 under torchrun."""
    if TOKEN_VARIABLE in os.environ:
        # Such a rank needs no token, and others can read the environment that a process was started with. So we start
        # this process again without the token.
        del os.environ[TOKEN_VARIABLE]
        os.execv(sys.executable, sys.orig_argv)
    from .compute import obey
    from .engine import Engine

    obey(Engine, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
