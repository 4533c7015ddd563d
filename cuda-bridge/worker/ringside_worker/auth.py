"""Who may connect: the token, the origins of pages, and the addresses that may be listened on."""

import hmac
import ipaddress
import os
import secrets
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

SHORTEST_TOKEN = 16
TOKEN_VARIABLE = "RINGSIDE_TOKEN"


class Refusal(Exception):
    """Why the worker does not start."""


def read_token(file: str | None) -> tuple[str, str | None]:
    """The token and where it is from: a file, the environment, or (None) made here. It leaves the environment, which child processes inherit."""
    given = os.environ.pop(TOKEN_VARIABLE, None)
    if file is not None:
        try:
            given, source = Path(file).read_text("utf-8"), file
        except (OSError, UnicodeDecodeError) as error:
            raise Refusal(f"--token-file: {error}") from None
    elif given is not None:
        source = TOKEN_VARIABLE
    else:
        return secrets.token_urlsafe(32), None
    token = given.strip()
    if not SHORTEST_TOKEN <= len(token) <= 256:
        raise Refusal(
            f"the token of {source}: found {len(token)} characters, expected {SHORTEST_TOKEN} to 256. A good one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return token, source


def same_token(found: str, expected: str) -> bool:
    """Compares in a time that does not tell how much of it is right."""
    return hmac.compare_digest(found.encode("utf-8", "surrogatepass"), expected.encode("utf-8"))


def is_loopback(host: str) -> bool:
    """Do all addresses of this host stay on this machine?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)} if host else set()
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(address.split("%")[0]).is_loopback for address in found)


def read_address(text: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`. Port 0 takes a free one."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise Refusal(f'--listen: found "{text}", expected HOST:PORT, for example 127.0.0.1:8787 or [::1]:8787')
    return host, int(port)


def check_exposure(host: str, tls: bool, insecure: bool) -> None:
    """Beyond this machine the token must not travel in the clear."""
    if not (tls or insecure or is_loopback(host)):
        raise Refusal(
            f"--listen {host}: others than this machine could reach the worker, and without TLS token and data would travel in the clear. "
            "Give --cert and --key; or listen on 127.0.0.1 and use an SSH tunnel (ssh -L 8787:127.0.0.1:8787 HOST); or, on a network where nobody listens, say --insecure"
        )


def tls_context(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    """From PEM files; None without them."""
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise Refusal("--cert and --key: found one of them, expected both")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Tickets of TLS 1.3 come while a client's first message leaves; one that reads and writes in two threads, with a
    # Python that does not lock between them, loses it.
    context.num_tickets = 0
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise Refusal(
            f"--cert {cert} --key {key}: expected a certificate chain and its key as PEM files; {error}"
        ) from None
    return context


class Origins:
    """Which pages may connect: those of this machine, and those named. What is no browser sends no Origin, and has the token to show."""

    def __init__(self, named: list[str]):
        self.named = set()
        for origin in named:
            parts = urlsplit(origin)
            if (
                parts.scheme not in ("http", "https")
                or not parts.hostname
                or f"{parts.scheme}://{parts.netloc}" != origin
            ):
                raise Refusal(
                    f'--origin: found "{origin}", expected scheme and host as a browser sends them, for example https://example.org'
                )
            self.named.add(origin.lower())

    def allows(self, sent: list[str]) -> bool:
        """`sent`: the Origin headers of a request; more than one are nobody's."""
        if not sent:
            return True
        return len(sent) == 1 and (sent[0].lower() in self.named or self._local(sent[0]))

    @staticmethod
    def _local(origin: str) -> bool:
        try:
            parts = urlsplit(origin)
            host = parts.hostname
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or host is None:
            return False
        # By name alone: "localhost" and loopback literals. Nothing here is looked up.
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False
