"""Who may connect: the token, the origins of pages, and the addresses that the worker may listen on."""

import hmac
import ipaddress
import os
import secrets
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from .errors import CannotStart

SHORTEST_TOKEN = 16
TOKEN_VARIABLE = "RINGSIDE_TOKEN"


def read_token(file: str | None) -> tuple[str, str | None]:
    """
    The token and its source: a file, the environment, or None if it was made here.

    Removes it from the environment, which child processes inherit.
    """
    given = os.environ.pop(TOKEN_VARIABLE, None)
    if file is not None:
        try:
            given, source = Path(file).read_text("utf-8"), file
        except (OSError, UnicodeDecodeError) as error:
            raise CannotStart(f"--token-file: {error}") from None
    elif given is not None:
        source = TOKEN_VARIABLE
    else:
        return secrets.token_urlsafe(32), None
    token = given.strip()
    if not SHORTEST_TOKEN <= len(token) <= 256:
        raise CannotStart(
            f"the token of {source}: found {len(token)} characters, expected {SHORTEST_TOKEN} to 256. "
            "This makes a good one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return token, source


def same_token(found: str, expected: str) -> bool:
    """Compares in a time that doesn't reveal how much of the token is right."""
    return hmac.compare_digest(found.encode("utf-8", "surrogatepass"), expected.encode("utf-8"))


def is_loopback(host: str) -> bool:
    """Whether all addresses of this host stay on this machine."""
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
    """Reads `host:port` or `[v6]:port`. Port 0 stands for any free port."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise CannotStart(f'--listen: found "{text}", expected HOST:PORT, for example 127.0.0.1:8787 or [::1]:8787')
    return host, int(port)


def check_exposure(host: str, tls: bool, insecure: bool) -> None:
    """Beyond this machine the token must not travel in the clear."""
    if not (tls or insecure or is_loopback(host)):
        raise CannotStart(
            f"--listen {host}: found an address that other machines can reach, and no TLS: token and data would "
            "travel in the clear. Pass --cert and --key; or listen on 127.0.0.1 and use an SSH tunnel "
            "(ssh -L 8787:127.0.0.1:8787 HOST); or pass --insecure on a network that nobody else can read"
        )


def tls_context(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    """A context from PEM files; None without them."""
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise CannotStart("--cert and --key: found one of them, expected both")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # TLS 1.3 sends session tickets while a client's first message leaves. A client that reads and writes in two threads
    # loses that message if its Python doesn't lock between them.
    context.num_tickets = 0
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise CannotStart(
            f"--cert {cert} --key {key}: expected a certificate chain and its key as PEM files; {error}"
        ) from None
    return context


class Origins:
    """
    Which pages may connect: those of this machine, and those named.

    A client that is no browser sends no Origin; it still has to show the token.
    """

    def __init__(self, named: list[str]):
        self.named = set()
        for origin in named:
            parts = urlsplit(origin)
            if (
                parts.scheme not in ("http", "https")
                or not parts.hostname
                or f"{parts.scheme}://{parts.netloc}" != origin
            ):
                raise CannotStart(
                    f'--origin: found "{origin}", expected scheme and host as a browser sends them, '
                    "for example https://example.org"
                )
            self.named.add(origin.lower())

    def allows(self, sent: list[str]) -> bool:
        """`sent`: the Origin headers of a request. A request with more than one is refused."""
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
        # We compare names only ("localhost" and loopback addresses) and look nothing up.
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False
