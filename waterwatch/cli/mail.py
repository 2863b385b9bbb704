"""``waterwatch mail``: what a mail server hands us through a pipe."""

import sys

import click

from waterwatch.kernel import log
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions
from waterwatch.kernel.errors import NotFound
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings, SettingsError

# Of sysexits.h, as pipe transports read them: bounce it, bounce it, keep it and come again.
EX_UNAVAILABLE, EX_NOUSER, EX_TEMPFAIL = 69, 67, 75


@click.group("mail")
def mail_group() -> None:
    """What comes back by mail."""


@mail_group.command("receive")
@click.option(
    "--recipient", required=True, help="The envelope's recipient: ${original_recipient} of Postfix's pipe(8)."
)
@click.option("--sender", default="", help="The envelope's sender; empty: the null return path.")
def receive_command(recipient: str, sender: str) -> None:
    """Keep the mail on standard input. For pipe transports: says nothing, answers by its exit code.

    0: it is kept. 67: no address of ours. 69: too large. 75: it cannot be kept now, come again.
    """
    from waterwatch.inbox import service

    try:
        settings = Settings.from_environ()
        log.configure("CRITICAL", settings.log_format)
        to = service.destination(recipient, settings=settings)
        raw = sys.stdin.buffer.read(settings.inbox_max_bytes + 1)
        if len(raw) > settings.inbox_max_bytes:
            sys.exit(EX_UNAVAILABLE)
        engine = make_engine(settings.database_url, pool_size=1)
        context = JobContext(settings, make_sessions(engine), ObjectStore(settings.objects_url))
        service.take_in(context, to, raw, has_null_sender=not sender.strip("<>"))
    except NotFound:
        sys.exit(EX_NOUSER)
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(EX_TEMPFAIL)
    except Exception as error:  # whatever it is, it is ours: the mail server keeps the mail
        click.echo(f"没有收下 · not kept: {type(error).__name__}", err=True)
        sys.exit(EX_TEMPFAIL)
