"""Addresses and ports on 127.0.0.0/8, where every part of the lab listens."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from typing import Final

from mimrun.errors import LabError

NET: Final = "127.0.1"
"""Where the lab's hosts have their addresses unless a caller says otherwise."""

MOST: Final = 250


def addresses(net: str, count: int) -> list[str]:
    """Give the first addresses of a loopback net.

    Arguments:
        net: the first three numbers, "127.0.1".
        count: how many, up to 250.

    Raises:
        LabError: the net is not on loopback, or there are too many hosts for it.
    """
    try:
        inside = ipaddress.ip_address(f"{net}.1") in ipaddress.ip_network("127.0.0.0/8")
    except ValueError:
        inside = False
    if not inside:
        raise LabError(f"lab net {net!r} is not on loopback; give three numbers such as {NET!r}")
    if count > MOST:
        raise LabError(f"lab net {net} has room for {MOST} hosts, {count} were asked for; use two nets")
    return [f"{net}.{n}" for n in range(1, count + 1)]


def free_ports(hosts: Sequence[str]) -> list[int]:
    """Find one free TCP port on each address.

    The sockets are all held until every port is known, so no port is given twice.

    Raises:
        LabError: an address cannot be bound (127.0.0.0/8 needs no set-up on Linux; other systems do).
    """
    held: list[socket.socket] = []
    try:
        for host in hosts:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            held.append(sock)
            sock.bind((host, 0))
        return [int(sock.getsockname()[1]) for sock in held]
    except OSError as error:
        raise LabError(
            f"lab address {hosts[len(held) - 1]} cannot be used: {error}; the lab needs Linux"
        ) from error
    finally:
        for sock in held:
            sock.close()


def accepts(host: str, port: int, *, seconds: float = 0.5) -> bool:
    """Say whether something accepts TCP connections there."""
    try:
        with socket.create_connection((host, port), timeout=seconds):
            return True
    except OSError:
        return False


def greeting(host: str, port: int, *, seconds: float = 0.5) -> bytes:
    """Give the first bytes that a server says by itself (SSH, SMTP), or b"" when there are none."""
    try:
        with socket.create_connection((host, port), timeout=seconds) as sock:
            return sock.recv(256)
    except OSError:
        return b""


def kernel_form(host: str, port: int) -> str:
    """Write an address as /proc/net/tcp does: each four bytes turned round, in upper-case hex.

    Source: Linux, Documentation/networking/proc_net_tcp.rst (on a little-endian machine).
    """
    number = int.from_bytes(socket.inet_aton(host), "little")
    return f"{number:08X}:{port:04X}"
