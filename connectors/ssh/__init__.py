"""Commands and files on hosts, over SSH: `ssh.command`, `ssh.shell`, `ssh.script`, `ssh.upload`, `ssh.download`.

Reference: docs/reference/connectors/ssh.md.
"""

from __future__ import annotations

from connectors.ssh.actions import Command, Download, Script, Shell, Upload
from connectors.ssh.connector import Ssh
from connectors.ssh.settings import SshSettings

__all__ = ["Command", "Download", "Script", "Shell", "Ssh", "SshSettings", "Upload"]
