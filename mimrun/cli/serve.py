"""`mimrun serve`: console, API, alert intake, warm engine and worker, in one command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from mimrun.cli.options import HomeOption, JsonOption, command, settings_of
from mimrun.cli.terminal import safe_line

_FILE: Final[dict[str, Any]] = {"exists": True, "dir_okay": False, "readable": True, "show_default": False}

HostOption: TypeAlias = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")]
PortOption: TypeAlias = Annotated[
    int, typer.Option("--port", min=0, max=65535, help="At which port; 0 takes any that is free.")
]
CertOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--tls-cert", metavar="FILE", help="Speak HTTPS, with this certificate (PEM).", **_FILE),
]
KeyOption: TypeAlias = Annotated[
    Path | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's key (PEM).", **_FILE)
]
BehindOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--behind",
        metavar="ADDRESS",
        show_default=False,
        help="The proxy in front, which speaks HTTPS for us.",
    ),
]
PublicOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--public-url", metavar="URL", show_default=False, help="How others reach it: https://HOST."
    ),
]
InsecureOption: TypeAlias = Annotated[
    bool, typer.Option("--insecure", help="Let others than this machine reach it without HTTPS.")
]
WorkerOption: TypeAlias = Annotated[
    bool, typer.Option("--worker/--no-worker", help="Keep a worker up beside it.")
]
EngineOption: TypeAlias = Annotated[
    bool, typer.Option("--engine/--no-engine", help="Keep the warm engine up, with Prefect's API.")
]
MetricsOption: TypeAlias = Annotated[
    bool, typer.Option("--open-metrics", help="Show /metrics to whoever asks; else it takes a token to read.")
]


def serve(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8420,
    *,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    behind: BehindOption = "",
    public_url: PublicOption = "",
    insecure: InsecureOption = False,
    worker: WorkerOption = True,
    engine: EngineOption = True,
    open_metrics: MetricsOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the console, the API and the alert intake; keep a warm engine and a worker up beside.

    One server serves one home. On SIGTERM or Ctrl-C it takes no more requests, ends live streams, and leaves every run
    after the step that is under way; a second one waits for nothing. With it up, `mimrun run` uses its engine.
    """
    from mimrun.web import server  # noqa: PLC0415 - the web is slow to load, and help is quick

    options = server.Options(
        host=host,
        port=port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        behind=behind,
        public_url=public_url.rstrip("/"),
        insecure=insecure,
        worker=worker,
        engine=engine,
        open_metrics=open_metrics,
    )
    server.serve(settings_of(home), options, _tell_json if as_json else _tell)


def _tell_json(facts: dict[str, Any]) -> None:
    typer.echo(json.dumps(facts, ensure_ascii=True))


def _tell(facts: dict[str, Any]) -> None:
    if "url" not in facts:
        typer.echo(
            "stopping: runs are left after the step that is under way; once more stops at once", err=True
        )
        return
    shown = facts["public_url"] or facts["url"]
    line = f"mimrun is at {shown} (engine: {facts['engine']}, worker: {facts['worker']})"
    typer.echo(safe_line(line, 500).rstrip())


COMMANDS = {
    "serve": command(
        "serve",
        serve,
        "mimrun serve",
        "mimrun serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem --public-url https://mim.example.org",
        "mimrun serve --behind 127.0.0.1 --public-url https://mim.example.org",
    )
}
