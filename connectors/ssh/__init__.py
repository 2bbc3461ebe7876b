"""Commands, files and services on hosts, over SSH.

Actions: `ssh.command`, `ssh.shell`, `ssh.script`, `ssh.upload`, `ssh.download`, `ssh.service`.

Reference: docs/reference/connectors/ssh.md.
"""

from __future__ import annotations

from connectors.ssh.actions import Command, Download, Script, Service, Shell, Upload
from connectors.ssh.connector import Ssh
from connectors.ssh.settings import SshSettings

__all__ = ["Command", "Download", "Script", "Service", "Shell", "Ssh", "SshSettings", "Upload"]
