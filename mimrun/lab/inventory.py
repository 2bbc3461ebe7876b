"""The inventory of the lab: an Ansible YAML inventory of what has been started."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from mimrun.lab.haproxy import BACKEND, HaProxy
from mimrun.lab.postgres_server import DATABASE, Instance
from mimrun.lab.sshd import SshHost
from mimrun.lab.systemd_hosts import SystemdHost

Value: TypeAlias = "str | int | Sequence[str] | Mapping[str, Value]"


def database_inventory(
    cluster: str,
    primary: tuple[Instance, SshHost],
    standby: tuple[Instance, SshHost],
    proxy: HaProxy | None = None,
) -> str:
    """Write the inventory of a PostgreSQL pair and what stands in front of it.

    Arguments:
        cluster: the pair's name; its group is `cluster_NAME`.
        primary: the server that is primary now, and the ssh host that it is on.
        standby: the same of the standby.
        proxy: the load balancer, if there is one.

    Returns:
        YAML: `postgres` with the children `primary` and `standby`, `cluster_NAME` with the same, and
        `loadbalancer` with the host `lb`.
    """
    pair: dict[str, Value] = {"primary": {}, "standby": {}}
    groups: dict[str, Value] = {
        "primary": {"hosts": {primary[0].name: _server(*primary)}},
        "standby": {"hosts": {standby[0].name: _server(*standby)}},
        "postgres": {"children": pair},
        f"cluster_{cluster}": {"children": pair, "vars": {"cluster": cluster}},
    }
    if proxy is not None:
        balancer: dict[str, Value] = {
            "haproxy_address": f"{proxy.host}:{proxy.admin_port}",
            "haproxy_backend": BACKEND,
            # Where clients reach the database: whoever asks here takes their way.
            "postgres_host": proxy.host,
            "postgres_port": proxy.port,
            **_database_login(primary[0]),
        }
        groups["loadbalancer"] = {"hosts": {"lb": balancer}}
    return write({"all": {"children": groups}})


def hosts_inventory(hosts: Sequence[SystemdHost]) -> str:
    """Write the inventory of systemd hosts: the group `web`, with each host's service and its address."""
    members: dict[str, Value] = {
        host.name: {**ssh_variables(host), "service_unit": host.unit, "service_url": host.web_url}
        for host in hosts
    }
    return write({"all": {"children": {"web": {"hosts": members}}}})


def ssh_variables(host: SshHost) -> dict[str, Value]:
    """Give the variables by which a host is reached over ssh."""
    return {
        "ansible_host": host.address,
        "ansible_port": host.port,
        "ansible_user": host.user,
        "ansible_ssh_private_key_file": str(host.key_path),
        "ssh_known_hosts": str(host.known_hosts_path),
    }


def write(tree: Mapping[str, Value]) -> str:
    """Write a tree of mappings as YAML. Texts are quoted, so none is ever read as something else."""
    return "\n".join(_lines(tree, "")) + "\n"


def _server(instance: Instance, host: SshHost) -> dict[str, Value]:
    scripts = {
        f"postgres_{word}": [instance.script(name)]
        for word, name in {
            "start": "pg-start",
            "stop": "pg-stop",
            "fence": "pg-fence",
            "unfence": "pg-unfence",
            "rewind": "pg-rewind-from",
        }.items()
    }
    return {
        **ssh_variables(host),
        "postgres_host": instance.host,
        "postgres_port": instance.port,
        **_database_login(instance),
        **scripts,
    }


def _database_login(instance: Instance) -> dict[str, Value]:
    return {
        "postgres_user": instance.user,
        "postgres_database": DATABASE,
        "postgres_password_file": str(instance.password_file),
    }


def _lines(tree: Mapping[str, Value], indent: str) -> list[str]:
    lines: list[str] = []
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        else:
            # A text, a number, a list of texts or an empty mapping: JSON is YAML's flow style.
            lines.append(f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}")
    return lines
