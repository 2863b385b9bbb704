"""``waterwatch case``: bundles of evidence: made by leads and administrators, verified by anybody."""

from pathlib import Path

import click

from waterwatch.evidence import keys
from waterwatch.evidence.rules import FINDINGS, REASONS
from waterwatch.evidence.verification import Verdict, verify
from waterwatch.kernel import log
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.errors import DomainError
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings, SettingsError

BROKEN_KEY = "密钥文件不可用 · the key's file is no Ed25519 key in PEM"


@click.group("case")
def case_group() -> None:
    """Cases as evidence."""


@case_group.command("bundle")
@click.argument("code")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Where the bundle goes.")
@click.option("--reason", type=click.Choice(REASONS), required=True, help="Why it leaves the house; goes on record.")
@click.option("--by", "email", required=True, help="Your account: a lead moderator's or an administrator's.")
@click.option("--reference", default="", help="The number of the letter that asks for it: letters and figures.")
@click.option("--with-named", is_flag=True, help="Also originals whose files may tell whose they are.")
def bundle_command(code: str, out: Path, reason: str, email: str, reference: str, with_named: bool) -> None:
    """Everything about the incident CODE as one signed file. Who asked and why is on record before anything is read."""
    from waterwatch.accounts.queries import person_by_email
    from waterwatch.cli import _refuse, _settings
    from waterwatch.evidence.bundling import make_bundle
    from waterwatch.evidence.forms import read_open_bundle
    from waterwatch.kernel.audit import Actor

    settings = _settings()
    log.configure("WARNING", settings.log_format)
    engine = make_engine(settings.database_url, pool_size=2)
    context = JobContext(settings, make_sessions(engine), ObjectStore(settings.objects_url))
    try:
        with transaction(context.sessions) as session:
            person = person_by_email(session, email)
            if person is None or not person.active:
                _refuse("没有这个可用的账号 · no such account in use")
            roles = frozenset(one.role.name for one in person.memberships)
            actor = Actor.person(person.id, person.memberships[0].organisation_id if person.memberships else None)
        fields = {"code": code, "reason": reason, "reference": reference, "with_named": "yes" if with_named else ""}
        made = make_bundle(context, read_open_bundle(fields), out, roles=roles, actor=actor)
    except DomainError as error:
        _refuse(f"被拒绝 · refused: {error.error_code} {getattr(error, 'errors', '')}".rstrip())
    except keys.KeyUnusable:
        _refuse(BROKEN_KEY, exit_code=2)
    finally:
        engine.dispose()
    click.echo(f"证据包已写好 · the bundle is written: {out}")
    click.echo(f"SHA-256 {made.sha256}  {made.size_bytes} 字节 · bytes, {made.files} 个文件 · files")
    click.echo(
        f"照片原件 · originals: {made.originals}，已到期删除 · deleted when their time was over: {made.forgotten}"
    )
    if made.withheld:
        click.echo(
            f"有 {made.withheld} 张原件写有姓名或相机序列号，没有放入 · withheld, their files may tell whose they are: "
            f"{made.withheld} (--with-named)"
        )
    if made.later:
        click.echo(f"取用之后才到的原件没有放入 · not included, came after the demand: {made.later}")


@case_group.command("key")
def key_command() -> None:
    """Print the public key bundles are signed with, and what people compare of it."""
    from waterwatch.cli import _refuse, _settings

    try:
        found = keys.public_keys(_settings())
    except keys.KeyUnusable:
        _refuse(BROKEN_KEY, exit_code=2)
    click.echo(keys.to_pem(found), nl=False)
    for key in found:
        click.echo(f"指纹 · fingerprint: {keys.print_of(key)}", err=True)


@case_group.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--key", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="The publisher's public key.")
def verify_command(bundle: Path, key: Path | None) -> None:
    """Say of BUNDLE what is whole and what is not. Without --key: by this installation's own key.

    Exit code 0: everything is as it was signed. 1: it is not.
    """
    from waterwatch.cli import _refuse

    try:
        trusted = keys.read_public_key_file(key) if key is not None else keys.public_keys(Settings.from_environ())
    except keys.KeyUnusable:
        _refuse(BROKEN_KEY, exit_code=2)
    except SettingsError:
        _refuse("请用 --key 给出发布者的公钥 · give the publisher's public key by --key", exit_code=2)
    verdict = verify(bundle, trusted)
    for line in describe(verdict):
        click.echo(line)
    if not verdict.is_whole:
        raise SystemExit(1)


def describe(verdict: Verdict) -> list[str]:
    """A verdict in words, a line for each file and each fault. Names come from the file: shown as plain letters."""
    lines = [f"✓ {name}" for name in verdict.whole]
    for finding in verdict.findings:
        chinese, english = FINDINGS[finding.code]
        named = " ".join(repr(one)[1:-1] for one in (finding.name, finding.other) if one)
        lines.append(f"✗ {named + '：' if named else ''}{chinese} · {english}")
    if verdict.manifest is not None and verdict.signed_by is not None:
        lines.append(f"事件 · incident {verdict.manifest.incident!r}, {verdict.manifest.made_at!r}")
        lines.append(f"签名密钥 · signed by {keys.print_of(verdict.signed_by)}")
    lines.append("完整，与签署时一致 · whole, as it was signed" if verdict.is_whole else "不完整 · not whole")
    return lines
