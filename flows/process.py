"""The engine's process: its lock, its log, its socket, its environment, its end."""

from __future__ import annotations

import argparse
import fcntl
import logging
import logging.handlers
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flows.engine import Anchoring, Api, Engine
from flows.environment import Rooms, own_api, password, quiet_environment
from flows.protocol import listen, peer, read, write
from flows.pulse import Health, Pulse
from flows.server import ApiServer
from flows.submission import Executor
from flows.template import cache_folder
from mimrun.app.presence import stays
from mimrun.errors import MimrunError
from mimrun.settings import Settings

LOG_BYTES: Final = 1_000_000
TICK_S: Final = 0.5
QUESTION_S: Final = 2.0
FLUSH_S: Final = 2.0

_log = logging.getLogger("mimrun.engine")


@dataclass(frozen=True, slots=True)
class SharedApi:
    """Prefect's API as somebody else serves it, at PREFECT_API_URL."""

    url: str
    pulse: Pulse
    pid: int | None = None

    @property
    def health(self) -> Health:
        """What is known of it now."""
        return self.pulse.health


def main(argv: list[str]) -> int:
    """Run the engine of a home with mimrun's executor."""
    parser = argparse.ArgumentParser(prog="python -m flows.engine", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="mimrun's home")
    parser.add_argument("--idle-exit", type=int, metavar="SECONDS", help="end after so long without a run")
    given = parser.parse_args(argv)

    def make() -> Executor:
        from flows.execution import RunExecutor  # noqa: PLC0415 - after the server has been started

        return RunExecutor(given.home)

    def anchoring() -> Anchoring:
        from flows.execution import LogAnchoring  # noqa: PLC0415 - as above

        return LogAnchoring(given.home)

    return run(Rooms(given.home.absolute()), make, given.idle_exit, anchoring)


def run(
    rooms: Rooms,
    make: Callable[[], Executor],
    idle_exit_s: int | None = None,
    anchoring: Callable[[], Anchoring] | None = None,
) -> int:
    """Be the engine of a home, unless there is one.

    Arguments:
        rooms: the home.
        make: gives the executor; called after the API server has been started, since it may take time.
        idle_exit_s: end after so many seconds without a run; None keeps on.
        anchoring: gives what gives the log's checkpoints to places outside; called when `make` was.

    Returns:
        the exit status: 0 when told to end, idle, or not needed; 1 when Prefect cannot be used.
    """
    rooms.make()
    lock = _lock(rooms)
    if lock is None:
        return 0
    _open_log(rooms.log)
    engine = Engine(idle_exit_s)
    _heed_signals(engine)
    line = listen(rooms)
    place = rooms.socket.stat()
    threading.Thread(target=_answer_all, args=(line, engine), name="socket", daemon=True).start()
    status = 0
    pulses: list[Pulse] = []
    server: ApiServer | None = None
    try:
        own = own_api(os.environ)
        server = ApiServer(rooms, cache_folder(os.environ), lambda: engine.busy) if own else None
        pulses.append(_load(rooms, engine, server, make))
        _stay(engine, rooms, place, anchoring)
    except MimrunError as exc:
        _log.error("%s", exc)
        status = 1
    finally:
        engine.stop(force=True)
        line.close()
        _flush()
        for pulse in pulses:
            pulse.stop()
        if server is not None:
            server.stop()
        if _is_there(rooms.socket, place):
            rooms.socket.unlink(missing_ok=True)
        os.close(lock)
    return status


def _lock(rooms: Rooms) -> int | None:
    """Take the lock of the one engine of this home; None where another one has it."""
    lock = os.open(rooms.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _heed_signals(engine: Engine) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: engine.stopping.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def end_now(status: int) -> None:
    """End the process without waiting for what Prefect does at exit; nothing of ours is left to do."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _load(rooms: Rooms, engine: Engine, server: ApiServer | None, make: Callable[[], Executor]) -> Pulse:
    """Start the API, import Prefect meanwhile, and connect the engine when both are there."""
    before = dict(os.environ)
    settings = quiet_environment(rooms, before)
    if server is not None:
        server.start()
        settings |= {"PREFECT_API_URL": server.url, "PREFECT_API_AUTH_STRING": password(rooms)}
        # A browser does not speak with it, and each client would ask first whether it wants a token.
        settings |= {"PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false"}
        engine.attach(server)
    _set_environment(settings)
    from flows.courier import Courier  # noqa: PLC0415 - it reads the environment set above
    from flows.health import healthy  # noqa: PLC0415 - as above

    # Prefect has read its settings. What runbooks start must not inherit them, least of all the password.
    _set_environment(before | {"DO_NOT_TRACK": "1"})
    api: Api
    if server is not None:
        api, pulse = server, server.pulse
    else:
        pulse = Pulse(healthy, lambda: engine.busy)
        api = SharedApi(before["PREFECT_API_URL"], pulse)
        engine.attach(api)
        pulse.start()
    executor = make()
    courier = Courier(str(rooms.home), lambda: pulse.health)
    threading.Thread(
        target=_connect, args=(engine, courier, executor, pulse), name="connect", daemon=True
    ).start()
    return pulse


def _connect(engine: Engine, courier: object, executor: Executor, pulse: Pulse) -> None:
    from flows.courier import Courier  # noqa: PLC0415 - loaded by now

    assert isinstance(courier, Courier)
    while not engine.stopping.is_set():
        if not pulse.wait_up(TICK_S):
            continue
        try:
            courier.warm()
        except Exception as exc:  # noqa: BLE001 - tried again until it works
            _log.warning("prefect's api answers, but cannot be used yet: %s", exc)
            engine.stopping.wait(TICK_S)
            continue
        engine.connect(courier, executor)
        return


def _stay(
    engine: Engine, rooms: Rooms, place: os.stat_result, anchoring: Callable[[], Anchoring] | None
) -> None:
    if anchoring is not None:
        engine.anchor_with(anchoring())
    with ExitStack() as held:
        _tick(engine, rooms, place, held)


def _tick(engine: Engine, rooms: Rooms, place: os.stat_result, held: ExitStack) -> None:
    seen = False
    while not engine.stopping.wait(TICK_S):
        if not _is_there(rooms.socket, place):
            _log.warning("%s is gone or another's; ending", rooms.socket)
            return
        if engine.stays and not seen:
            held.enter_context(stays(Settings(home=rooms.home)))
            seen = True
        if engine.idle_enough:
            engine.stop(force=False)
        engine.settle()
        engine.take_due()
        engine.anchor()


def _answer_all(line: socket.socket, engine: Engine) -> None:
    while True:
        try:
            caller, _ = line.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(caller, engine), name="question", daemon=True).start()


def _answer(caller: socket.socket, engine: Engine) -> None:
    with caller:
        try:
            caller.settimeout(QUESTION_S)
            if peer(caller) in {os.geteuid(), 0}:
                write(caller, engine.answer(read(caller)))
        except (OSError, ValueError) as exc:
            _log.debug("a question was not answered: %s", exc)


def _is_there(path: Path, place: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), place)
    except OSError:
        return False


def _set_environment(wanted: Mapping[str, str]) -> None:
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update(wanted)


def _flush() -> None:
    """Give Prefect's event queue a moment to empty, where Prefect has been loaded at all."""
    worker = sys.modules.get("prefect.events.worker")
    if worker is not None:
        worker.EventsWorker.drain_all(timeout=FLUSH_S)


class _BoundedLog(logging.handlers.RotatingFileHandler):
    """The engine's log; what is written to standard output and error past it goes to the same file."""

    def take_over(self) -> None:
        if self.stream is not None:
            os.dup2(self.stream.fileno(), 1)
            os.dup2(self.stream.fileno(), 2)

    def doRollover(self) -> None:  # noqa: N802 - the name is logging's
        super().doRollover()
        self.take_over()


def _open_log(path: Path) -> None:
    handler = _BoundedLog(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    path.chmod(0o600)
    handler.take_over()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("mimrun")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # else Prefect's handlers, set up later, write everything a second time
