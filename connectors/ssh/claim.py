"""The claim guard: a note on the host that a command was begun, so that it begins once and its end is known.

Before a command starts, its line makes a file that must not exist yet; one of two can make it (`O_EXCL`).
The command's number goes into it, and after its end its exit status: both survive the loss of the connection.
Whoever asks later finds one of these:

    (nothing)                        it has not begun; the probe makes the file itself, and now it cannot
    void                             a probe was here first; a request that comes late finds it and gives up
    run 4711 BOOT NOTE               it began, as this process of this boot
    run 4711 BOOT NOTE / end 0       it ended with this status
    run 4711 BOOT NOTE / no          it was about to begin, found nobody to tell, and gave up

The files lie in one folder for each account, which that account alone may enter. Everything is done by what
is built into the shell: a program such as `mkdir` or `mv` would cost more than all the rest. Each record is one
line, written at once, and counts only with its line end.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from connectors.ssh.quoting import quote

PLACE: Final = "/var/tmp"  # noqa: S108 - it survives a restart; what we make there is checked
"""Where the folders of the accounts are: everybody may make one, and nobody may take away another's."""
KEPT_DAYS: Final = 14
"""So long a claim is kept, in days."""
MARK: Final = "MIMRUN_CLAIM"
"""The variable in a command's environment that names its claim; whatever it starts inherits it."""
FOLDER: Final = "claim-folder"
LINUX: Final = "claim-linux"
TAKEN: Final = "claim-taken"
FULL: Final = "claim-full"
"""The words by which a host says why it does not take a claim."""

_BOOT: Final = "/proc/sys/kernel/random/boot_id"
_SAFE: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_NOTE: Final = re.compile(r"[A-Za-z0-9._:-]{1,100}")


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to begin one attempt, once.

    Arguments:
        account: who runs the command; the claim lies in this account's folder.
        key: names the step, target and iteration of the run.
        attempt: which attempt it is.
        note: a word to keep with the claim, for whoever probes it.
        sweep: whether old claims are removed after this command.
        place: the folder of folders.
    """

    account: str
    key: str
    attempt: int
    note: str = "-"
    sweep: bool = False
    place: str = PLACE

    def __post_init__(self) -> None:
        if not _NOTE.fullmatch(self.note):
            raise ValueError(f"{self.note!r} cannot be kept in a claim")

    @property
    def name(self) -> str:
        """The file's name: the key and the attempt."""
        key = self.key if _SAFE.fullmatch(self.key) else hashlib.sha256(self.key.encode()).hexdigest()
        return f"{key}-{self.attempt}"

    @property
    def folder(self) -> str:
        """The account's folder."""
        account = re.sub(r"[^A-Za-z0-9._-]", lambda found: f"={ord(found[0]):x}=", self.account)
        return f"{self.place}/mimrun-claims-{account}"

    @property
    def path(self) -> str:
        """The file."""
        return f"{self.folder}/{self.name}"


@dataclass(frozen=True, slots=True)
class Record:
    """What the host says about a claim.

    Arguments:
        state: `void` (it cannot begin any more), `not_begun` (it gave up before), `running`, `ended`,
            `broken_off` (it began, is gone, and left no status), `unreadable`, `folder` (the folder is not
            the account's alone) or `unwritable`.
        status: the exit status of what has ended.
        pid: the process it began as; 0 where none is known.
        group: the process group that this process is in while it runs; 0 where none is known.
        note: the word that was kept with the claim.
        rebooted: the host was started again after it began.
        left: processes that it started and that are still there, as `4711 (name)`.
        up: seconds since the host, or the container that it is, was started; None where it does not say.
        ending: what came of ending it, for a person; "" where nobody tried.
    """

    state: str
    status: int = 0
    pid: int = 0
    group: int = 0
    note: str = ""
    rebooted: bool = False
    left: tuple[str, ...] = ()
    up: float | None = None
    ending: str = ""


def take(claim: Claim, refuse: Callable[[str], str]) -> list[str]:
    """Give the shell text that takes a claim, or says why not and ends.

    Arguments:
        refuse: gives the text that says a word of refusal and ends.
    """
    folder, path = quote(claim.folder), quote(claim.path)
    safe = (
        f"[ -k {quote(claim.place)} ] && {{ [ -d {folder} ] || mkdir -m 700 {folder} || [ -d {folder} ]; }}"
    )
    safe += f" && [ ! -L {folder} ] && [ -O {folder} ]"
    return [
        # 1. The folder is a folder, no link to one, and ours; who else can write to /var/tmp cannot move it.
        #    Two that make it at once are both served.
        f"{{ {safe}; }} 2>/dev/null || {refuse(FOLDER)}",
        f"{{ read -r mimrun_b <{_BOOT}; }} 2>/dev/null || {refuse(LINUX)}",
        # 2. One process alone can make a file that must not exist (noclobber is O_EXCL).
        (
            f"set -C; if {{ true >{path}; }} 2>/dev/null; then set +C;"
            f" elif [ -e {path} ] || [ -L {path} ]; then {refuse(TAKEN)}; else {refuse(FULL)}; fi"
        ),
        # 3. Without this line in it nothing begins.
        (
            f'{{ echo "run $$ $mimrun_b {claim.note}" >>{path}; }} 2>/dev/null'
            f" || {{ rm -f {path}; {refuse(FULL)}; }}"
        ),
    ]


def begin(claim: Claim, announce: str, command: str) -> list[str]:
    """Give the shell text that announces a command, runs it, and records its end.

    Arguments:
        announce: prints the header; fails where nobody reads it.
        command: what is run, as shell text.
    """
    path = quote(claim.path)
    old = f"find {quote(claim.folder)} -type f -mtime +{KEPT_DAYS} -exec rm -f {{}} + </dev/null >/dev/null 9>&- &"
    return [
        f"trap '' PIPE; {announce} || {{ echo no >>{path}; exit 1; }}; trap - PIPE",
        # TERM for the whole group ends the command; we stay to record how.
        f"trap : TERM HUP INT; export {MARK}={quote(claim.name)}",
        # A shell's own remark on a signal is not the command's output.
        f"exec 9>&2 2>/dev/null; (exec 2>&9 9>&-; exec {command}); mimrun_s=$?",
        # ksh93 counts signals from 256, everybody else from 128.
        '[ "$mimrun_s" -le 256 ] || mimrun_s=$((mimrun_s - 128))',
        f'echo "end $mimrun_s" >>{path}',
        *([f"{old} exit $mimrun_s"] if claim.sweep else ["exit $mimrun_s"]),
    ]


_ASK: Final = r"""place=$1 d=$2 c=$2/$3 name=$3 wait=$4 days=$5
foul() { echo "state $1"; exit 0; }
[ -k "$place" ] || foul folder
[ -d "$d" ] || mkdir -m 700 "$d" 2>/dev/null || [ -d "$d" ] || foul unwritable
[ ! -L "$d" ] && [ -O "$d" ] || foul folder
case $(LC_ALL=C ls -ld "$d") in drwx------*) ;; *) foul folder ;; esac
set -C; if { echo void >"$c"; } 2>/dev/null; then made=1; else made=; fi; set +C
[ -f "$c" ] && [ ! -L "$c" ] && [ -O "$c" ] || foul unwritable
look() {
  # What has no line end has not been written to its end.
  { read -r word pid boot note || word=''; read -r last code || { last=''; code=''; }; } <"$c"
  case $pid in ''|*[!0-9]*) pid=0 ;; esac
}
alive() {
  [ "$pid" -gt 1 ] && [ "$boot" = "$now" ] || return 1
  for f in cmdline environ; do
    { tr '\0' '\n' <"/proc/$pid/$f"; } 2>/dev/null | grep -qF -e "$name" && return 0
  done
  return 1
}
now=-; { read -r now </proc/sys/kernel/random/boot_id; } 2>/dev/null
begin=$(date +%s)
while look; [ -z "$last" ] && { alive || { [ "$word" != run ] && [ "$word" != void ]; }; }; do
  limit=$wait; [ "$word" = run ] || limit=2
  [ "$limit" -gt 0 ] && [ $(($(date +%s) - begin)) -le "$limit" ] || break
  sleep 0.1 2>/dev/null || sleep 1
done
# It writes its end before it goes: what was there a moment ago is running, and what is gone is read again.
runs=; if [ -z "$last" ]; then if alive; then runs=1; else look; fi; fi
if [ -n "$made" ]; then state=void
elif [ "$word" = void ]; then state=void
elif [ "$word" != run ]; then state=unreadable
elif [ "$last" = no ]; then state=not_begun
elif [ "$last" = end ] && [ -n "$code" ]; then state=ended
elif [ -n "$runs" ]; then state=running
else state=broken_off; fi
echo "state $state"; echo "pid $pid"; echo "note $note"
case $code in ''|*[!0-9]*) ;; *) echo "status $code" ;; esac
[ "$word" != run ] || [ "$boot" = "$now" ] || echo rebooted
if [ "$state" = running ] && { read -r stat <"/proc/$pid/stat"; } 2>/dev/null; then
  set -- ${stat##*')'}; echo "group $3"
fi
if [ "$state" = broken_off ] || [ "$state" = running ]; then
  for f in $(grep -lszxF -e "MIMRUN_CLAIM=$name" /proc/[0-9]*/environ 2>/dev/null); do
    p=${f#/proc/} p=${p%/environ}
    { read -r comm <"/proc/$p/comm"; } 2>/dev/null && echo "left $p ($comm)"
  done
fi
{ read -r up rest </proc/uptime && echo "up $up"; } 2>/dev/null
{ read -r one </proc/1/stat && echo "one ${one##*')'}"; } 2>/dev/null
echo "hz $(getconf CLK_TCK 2>/dev/null || echo 100)"
find "$d" -type f -mtime +"$days" -exec rm -f {} + 2>/dev/null"""


def ask(claim: Claim, wait: int) -> Sequence[str]:
    """Give the command that says what became of a claim, and voids it where it has not been taken.

    Arguments:
        wait: seconds to wait for the end of a command that is still running.
    """
    return ["/bin/sh", "-c", _ASK, "mimrun", claim.place, claim.folder, claim.name, str(wait), str(KEPT_DAYS)]


_MINE: Final = r"""c=$1 name=$2 pid=$3 group=$4
foreign() { echo foreign; exit 0; }
[ -f "$c" ] && [ ! -L "$c" ] && [ -O "$c" ] && [ "$pid" -ne $$ ] && [ "$group" -gt 1 ] || foreign
{ read -r word was boot note <"$c" && read -r now </proc/sys/kernel/random/boot_id; } 2>/dev/null || foreign
[ "$word" = run ] && [ "$was" = "$pid" ] && [ "$boot" = "$now" ] || foreign
{ tr '\0' '\n' <"/proc/$pid/cmdline"; tr '\0' '\n' <"/proc/$pid/environ"; } 2>/dev/null \
  | grep -qF -e "$name" || foreign
{ read -r stat <"/proc/$pid/stat"; } 2>/dev/null || foreign
set -- ${stat##*')'}; [ "$3" = "$group" ] || foreign
"""


def end(claim: Claim, record: Record, ending: str) -> Sequence[str]:
    """Give the command that ends what still runs under a claim.

    It prints `foreign`, and ends nothing, unless all of this holds on the host at that moment:

    1. The claim is a file of this account, and names this process and the boot that is under way.
    2. The process carries the claim's name, so it is not another one with a number that was free again.
    3. The process is in this group.

    Arguments:
        record: what was just found, with its process and group.
        ending: shell text that ends this group and says whether it is gone.
    """
    named = (claim.path, claim.name, str(record.pid), str(record.group))
    return ["/bin/sh", "-c", _MINE + ending, "mimrun", *named]


def read(said: str) -> Record:
    """Read what the host said to `ask`; nonsense is `unreadable`."""
    told: dict[str, list[str]] = {}
    for line in said.splitlines():
        word, _, rest = line.partition(" ")
        told.setdefault(word, []).append(rest)
    first = {word: rest[0] for word, rest in told.items()}
    state, status = first.get("state", "unreadable"), first.get("status", "")
    if state == "ended" and not status.isdecimal():
        state = "unreadable"
    return Record(
        state=state,
        status=int(status) if status.isdecimal() else 0,
        pid=_number(first, "pid"),
        group=_number(first, "group"),
        note=first.get("note", ""),
        rebooted="rebooted" in told,
        left=tuple(told.get("left", ())),
        up=_up(first),
    )


def _number(first: Mapping[str, str], word: str) -> int:
    return int(first[word]) if first.get(word, "").isdecimal() else 0


def _up(first: Mapping[str, str]) -> float | None:
    """Give seconds since the kernel was started, or since the first process was, where that is later.

    The second is what counts for a container. Source: proc(5), /proc/uptime and /proc/PID/stat.
    """
    try:
        up = float(first["up"])
    except (KeyError, ValueError):
        return None
    after_name = first.get("one", "").split()
    if len(after_name) >= 20 and after_name[19].isdecimal() and first.get("hz", "").isdecimal():
        return min(up, up - int(after_name[19]) / max(int(first["hz"]), 1))
    return up
