"""A client without a library, for tests that break the protocol below the level of messages."""

import socket
import struct

from ringside_worker.wire import write_message


def raw(worker):
    """A TCP socket after upgrade and hello."""
    host, port = worker.address.removeprefix("ws://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    lines = ["GET / HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13"]
    lines += ["Sec-WebSocket-Protocol: ringside-1", "", ""]
    connection.sendall("\r\n".join(lines).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += connection.recv(1)
    assert answer.startswith(b"HTTP/1.1 101")
    send_raw(
        connection, write_message({"type": "hello", "protocol": 1, "token": worker.token, "client": "raw"}).encode(), 1
    )
    return connection


def framed(data, opcode):
    """A WebSocket frame, masked with zeros."""
    size = (
        struct.pack(">BB", 0x80 | opcode, 0x80 | len(data))
        if len(data) < 126
        else struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, len(data))
        if len(data) < 65536
        else struct.pack(">BBQ", 0x80 | opcode, 0x80 | 127, len(data))
    )
    return size + bytes(4) + data


def send_raw(connection, data, opcode):
    connection.sendall(framed(data, opcode))


def reset(connection):
    """Resets a TCP connection: no close frame, no FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
