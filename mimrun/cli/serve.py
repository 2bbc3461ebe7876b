"""`mimrun serve`: console, API, alert intake, warm engine and worker, in one command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mimrun.cli.options import HomeOption, JsonOption, command, settings_of
from mimrun.cli.terminal import safe_line

_FILE = {"exists": True, "dir_okay": False, "readable": True}


def serve(
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any that is free.")] = 8420,
    *,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            "--tls-cert",
            metavar="FILE",
            show_default=False,
            help="Speak HTTPS, with this certificate.",
            **_FILE,
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option("--tls-key", metavar="FILE", show_default=False, help="The certificate's key.", **_FILE),
    ] = None,
    behind: Annotated[
        str,
        typer.Option(
            "--behind", metavar="ADDRESS", show_default=False, help="A proxy in front speaks HTTPS for us."
        ),
    ] = "",
    public_url: Annotated[
        str,
        typer.Option(
            "--public-url", metavar="URL", show_default=False, help="How others reach it: https://HOST."
        ),
    ] = "",
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let others than this machine reach it without HTTPS.")
    ] = False,
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Keep a worker up beside it.")] = True,
    engine: Annotated[
        bool, typer.Option("--engine/--no-engine", help="Keep the warm engine up, with Prefect's API.")
    ] = True,
    open_metrics: Annotated[
        bool,
        typer.Option("--open-metrics", help="Show /metrics to whoever asks; else it takes a token to read."),
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the console, the API and the alert intake; keep a warm engine and a worker up beside.

    One server serves one home. On SIGTERM or Ctrl-C it takes no more requests, ends live streams, and leaves every run
    after the step that is under way; a second one waits for nothing. With it up, `mimrun run` uses its engine.
    """
    from mimrun.web import server  # noqa: PLC0415 - the web is slow to load, and help is quick

    def tell(facts: dict[str, Any]) -> None:
        if as_json:
            typer.echo(json.dumps(facts, ensure_ascii=True))
        elif "url" in facts:
            shown = facts["public_url"] or facts["url"]
            typer.echo(
                safe_line(
                    f"mimrun is at {shown} (engine: {facts['engine']}, worker: {facts['worker']})", 500
                ).rstrip()
            )
        else:
            typer.echo(
                "stopping: runs are left after the step that is under way; once more stops at once", err=True
            )

    server.serve(
        settings_of(home),
        server.Options(
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
        ),
        tell,
    )


COMMANDS = {
    "serve": command(
        "serve",
        serve,
        "mimrun serve",
        "mimrun serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem --public-url https://mim.example.org",
        "mimrun serve --behind 127.0.0.1 --public-url https://mim.example.org",
    )
}
