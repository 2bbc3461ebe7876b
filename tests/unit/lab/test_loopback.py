"""Loopback addresses."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrun.errors import LabError
from mimrun.lab import loopback


@pytest.mark.parametrize(
    "net", ["10.0.0", "128.0.0", "127.0", "127.0.0.0", "", "::1", "127.0.256", "127.0.0/8"]
)
def test_a_net_off_loopback_is_refused(net: str) -> None:
    with pytest.raises(LabError, match="not on loopback"):
        loopback.addresses(net, 1)


def test_more_hosts_than_addresses_are_refused() -> None:
    assert len(loopback.addresses("127.9.9", 250)) == 250
    with pytest.raises(LabError, match="has room for 250 hosts"):
        loopback.addresses("127.9.9", 251)


def test_no_port_is_given_twice() -> None:
    ports = loopback.free_ports(["127.0.0.1"] * 50)
    assert len(set(ports)) == 50


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(LabError, match=r"192\.0\.2\.1 cannot be used"):
        loopback.free_ports(["127.0.0.1", "192.0.2.1"])


@given(st.integers(1, 254), st.integers(1, 65535))
def test_the_kernels_form_has_the_address_turned_round(last: int, port: int) -> None:
    assert loopback.kernel_form(f"127.0.1.{last}", port) == f"{last:02X}01007F:{port:04X}"


def test_the_kernel_lists_a_listening_socket_in_that_form() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        form = loopback.kernel_form(*server.getsockname())
        with Path("/proc/net/tcp").open() as table:
            assert any(line.split()[1] == form and line.split()[3] == "0A" for line in list(table)[1:])
