"""How to reach a host: the Ansible variables that this connector understands, and four of its own."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, ConfigDict, Field, field_validator

from mimrun.connector import Settings

DEFAULT_PORT = 22


class SshSettings(Settings):
    """Variables of a host that say how to log in to it.

    Unknown variables are ignored, as an inventory holds many that are not about SSH. Options of the
    `ssh` program (`ansible_ssh_common_args`, `~/.ssh/config`) are not read.
    """

    model_config = ConfigDict(defer_build=True)

    inventory_hostname: str = Field(description="The host's name in the inventory.")
    ansible_host: str = Field(
        "",
        validation_alias=AliasChoices("ansible_host", "ansible_ssh_host"),
        description="Name or address to connect to; the inventory name when it is left out.",
    )
    ansible_port: int = Field(
        DEFAULT_PORT,
        ge=1,
        le=65535,
        validation_alias=AliasChoices("ansible_port", "ansible_ssh_port"),
        description="TCP port of sshd.",
    )
    ansible_user: str = Field(
        "",
        validation_alias=AliasChoices("ansible_user", "ansible_ssh_user"),
        description="User to log in as; the user who runs mimrun when it is left out.",
    )
    ansible_ssh_private_key_file: str = Field(
        "",
        validation_alias=AliasChoices("ansible_ssh_private_key_file", "ansible_private_key_file"),
        description="Private key; when it is left out, the SSH agent and then ~/.ssh/id_* are tried.",
    )
    ssh_key_passphrase: str = Field(
        "",
        pattern=r"^$|^(env|file):.+$",
        description="Where the key's passphrase is: `env:NAME` or `file:PATH`, never the passphrase itself.",
    )
    ssh_known_hosts: str = Field(
        "~/.ssh/known_hosts",
        validation_alias=AliasChoices("ssh_known_hosts", "ansible_ssh_known_hosts_file"),
        description="File with the host keys that are trusted. There is no way to trust any other key.",
    )
    ssh_connect_timeout: Annotated[float, Field(gt=0, le=300)] = Field(
        10.0,
        validation_alias=AliasChoices("ssh_connect_timeout", "ansible_ssh_timeout", "ansible_timeout"),
        description="Seconds for connecting, key exchange and login together.",
    )
    ansible_become: bool = Field(
        default=False, description="Act as `ansible_become_user` where a step does not say."
    )
    ansible_become_user: str = Field(
        "root", description="The user for `become` where a step does not name one."
    )
    ansible_become_method: str = Field(
        "sudo", pattern="^sudo$", description="Only `sudo`, and only without a password, is supported."
    )

    @field_validator("ansible_user", "ansible_become_user", "ansible_host")
    @classmethod
    def _not_an_option(cls, value: str) -> str:
        if value.startswith("-") or any(char.isspace() or char == "\0" for char in value):
            raise ValueError("must not begin with '-' or hold blanks")
        return value

    @property
    def host(self) -> str:
        """The name or address to connect to."""
        return self.ansible_host or self.inventory_hostname

    @property
    def port(self) -> int:
        """The TCP port to connect to."""
        return self.ansible_port

    @property
    def user(self) -> str:
        """The user to log in as."""
        return self.ansible_user or getpass.getuser()

    @property
    def key_file(self) -> Path | None:
        """The configured private key with `~` expanded, or None."""
        text = self.ansible_ssh_private_key_file
        return Path(text).expanduser() if text else None

    @property
    def known_hosts(self) -> Path:
        """The file of trusted host keys with `~` expanded."""
        return Path(self.ssh_known_hosts).expanduser()

    @property
    def where(self) -> str:
        """The host for a person: its inventory name, and the address where that says more."""
        address = f"{self.host}:{self.port}" if self.port != DEFAULT_PORT else self.host
        return (
            self.inventory_hostname
            if address == self.inventory_hostname
            else (f"{self.inventory_hostname} ({address})")
        )
