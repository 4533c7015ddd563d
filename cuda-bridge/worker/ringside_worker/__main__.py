"""`python -m ringside_worker`: the command line of the worker. Prints its address and token, serves until Ctrl-C or SIGTERM."""

import argparse
import asyncio
import dataclasses
import json
import os
import signal
import sys

from .auth import TOKEN_VARIABLE, Origins, Refusal, check_exposure, read_address, read_token, tls_context
from .compute import end_with_parent
from .door import files_needed, raise_files
from .group import COMMAND, Died, Group
from .limits import Limits
from .server import Server
from .wire import BadMessage, check_limits

VERSION = "0.1.0"
#: How long after a dead rank's connections broke the server knows of it at the latest.
DEATH_SECONDS = 4.0
#: Of --timeout and --start-timeout: torch.distributed counts its own in milliseconds of 32 bits at places.
MOST_SECONDS = 86400


def parser() -> argparse.ArgumentParser:
    names = ", ".join(f"{field.name.replace('_', '-')}={field.default:g}" for field in dataclasses.fields(Limits))
    made = argparse.ArgumentParser(
        prog="python -m ringside_worker",
        description="Runs Ringside's experiments with PyTorch on this machine. Many GPUs or hosts: see cuda-bridge/README.md.",
        allow_abbrev=False,
    )
    made.add_argument(
        "--listen", metavar="HOST:PORT", default="127.0.0.1:8787", help="port 0 takes a free one (default %(default)s)"
    )
    made.add_argument(
        "--token-file",
        metavar="FILE",
        help="its content is the token; else RINGSIDE_TOKEN is; else a fresh one is made and printed",
    )
    made.add_argument(
        "--origin",
        metavar="ORIGIN",
        action="append",
        default=[],
        help="a page that may connect beside those of this machine, as https://example.org; may be repeated",
    )
    made.add_argument("--cert", metavar="FILE", help="certificate chain, PEM: serves wss://")
    made.add_argument("--key", metavar="FILE", help="its key, PEM")
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
        help="ranks, each a process of this host: one a GPU, or N on the CPU (default 1, which simulates as many as are asked for)",
    )
    made.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda if there is a GPU")
    made.add_argument(
        "--timeout",
        type=float,
        default=30,
        metavar="S",
        help="seconds after which a rank that is silent in a run is given up (default %(default)g)",
    )
    made.add_argument(
        "--start-timeout",
        type=float,
        default=1800,
        metavar="S",
        help="the same at the start and while a call is prepared, where a rank may load or compile for minutes (default %(default)g)",
    )
    made.add_argument("--memory-limit", type=int, metavar="BYTES", help="that a run may take, in place of what is free")
    made.add_argument(
        "--limit", metavar="NAME=VALUE", action="append", default=[], help=f"may be repeated; defaults: {names}"
    )
    made.add_argument(
        "--json", action="store_true", help="print one line of JSON in place of words: address, token, pid, facts"
    )
    return made


def read_limits(settings: list[str]) -> Limits:
    fields = {field.name.replace("_", "-"): field for field in dataclasses.fields(Limits)}
    chosen = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in fields:
            raise Refusal(f'--limit: found "{name}", expected one of {", ".join(fields)}')
        field = fields[name]
        try:
            number = field.type(value)
        except ValueError:
            number = -1
        if not 0 <= number < float("inf"):
            raise Refusal(
                f'--limit {name}: found "{value}", expected a {"whole number" if field.type is int else "number of seconds"} of 0 or more'
            )
        chosen[field.name] = number
    limits = Limits(**chosen)
    if limits.pending < 1:
        raise Refusal(
            "--limit pending: found 0, expected at least 1: a client, too, says hello only once it is connected"
        )
    try:
        check_limits(limits.told())
    except BadMessage as error:
        raise Refusal(f"--limit: {error}") from None
    return limits


def under_torchrun() -> bool:
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))


def engine_options(options: argparse.Namespace) -> dict:
    for name, seconds in (("--timeout", options.timeout), ("--start-timeout", options.start_timeout)):
        if not 0 < seconds <= MOST_SECONDS:
            raise Refusal(
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
    host, port = read_address(options.listen)
    tls = tls_context(options.cert, options.key)
    check_exposure(host, tls is not None, options.insecure)
    limits, origins = read_limits(options.limit), Origins(options.origin)
    raise_files(files_needed(limits, options.processes))
    token, source = read_token(options.token_file)
    if options.processes < 1:
        raise Refusal(f"--processes: found {options.processes}, expected 1 or more")
    joined = under_torchrun()
    if joined and options.processes != 1:
        raise Refusal(
            f"--processes: found {options.processes} under torchrun, which has started {os.environ['WORLD_SIZE']} processes already"
        )
    if options.insecure and tls is None:
        print(
            "ringside worker: WARNING: --insecure: whoever is on the network's way can read token and data, and use this worker",
            file=sys.stderr,
            flush=True,
        )

    ending: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end_on, number, ending, joined)
    group = Group(0 if joined else options.processes, engine_options(options), command, options.start_timeout)
    server = Server(group, token, origins, limits)
    starting = asyncio.create_task(server.start(host, port, tls))
    await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
        return 0
    try:
        port = starting.result()
    except Died as died:
        raise Refusal(f"the compute processes cannot be started: {died}") from None
    except OSError as error:
        raise Refusal(f"--listen {options.listen}: {error}") from None
    tell(options, f"{'wss' if tls else 'ws'}://{f'[{host}]' if ':' in host else host}:{port}", token, source, group)
    await asyncio.wait({ending, server.broken}, return_when=asyncio.FIRST_COMPLETED)
    if joined and not server.broken.done():
        # torchrun also ends a rank because another died, often before this one has seen that: a client is told which it
        # was.
        await asyncio.wait({server.broken}, timeout=DEATH_SECONDS)
    why = server.broken.result() if server.broken.done() else "the worker was told to end"
    if server.broken.done():
        print(f"ringside worker: {why}", file=sys.stderr, flush=True)
    await server.stop(why)
    return 1 if server.broken.done() else 0


def end_on(number: int, ending: asyncio.Future, joined: bool) -> None:
    """The first signal ends the worker in order, the second at once: its compute processes end with it. torchrun passes on a Ctrl-C that came here too, and kills by itself what stays."""
    if ending.done():
        if not joined:
            os._exit(128 + number)
        return
    ending.set_result(signal.Signals(number).name)


def tell(options: argparse.Namespace, address: str, token: str, source: str | None, group: Group) -> None:
    facts = group.facts
    if options.json:
        shown = {"token": token} if source is None else {}
        return print(
            json.dumps({"address": address, **shown, "pid": os.getpid(), "ranks": group.pids, "facts": facts}),
            flush=True,
        )
    devices = {}
    for device in facts["devices"]:
        devices[device["name"]] = devices.get(device["name"], 0) + 1
    chosen = (
        ", ".join(sorted({kernel["name"].split(",")[0] for kernel in facts["kernels"] if kernel.get("chosen")}))
        or "none"
    )
    print(f"address: {address}")
    print(f"token:   {token if source is None else f'that of {source}'}")
    print(
        f"machine: {', '.join(f'{count} x {name}' for name, count in devices.items())}; {facts['processes']} processes, {facts['backend']}; torch {facts['torch']}; kernel {chosen}",
        flush=True,
    )


def main(arguments: list[str] | None = None, command: tuple[str, ...] = COMMAND) -> int:
    """`command` starts a compute process."""
    options = parser().parse_args(arguments)
    if under_torchrun():
        # torchrun ends its processes in order; if it is killed itself, nobody would.
        end_with_parent()
    try:
        if under_torchrun() and os.environ["RANK"] != "0":
            return obey(engine_options(options))
        return asyncio.run(serve(options, command))
    except Refusal as refusal:
        print(f"ringside worker: {refusal}", file=sys.stderr)
        return 2


def obey(options: dict) -> int:
    """A rank of torchrun's other than 0."""
    if TOKEN_VARIABLE in os.environ:
        # Such a rank needs no token, and what a process was started with stays to be read: so it begins once more
        # without.
        del os.environ[TOKEN_VARIABLE]
        os.execv(sys.executable, sys.orig_argv)
    from .compute import obey
    from .engine import Engine

    obey(Engine, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
