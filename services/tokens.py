"""Tokens from the command line, where the store is: ``python -m services.tokens create NAME SCOPE...``."""

import argparse
import json
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from intima.contracts.access import DEFAULT_DAYS, SCOPES, AuditEntry, Limits, TokenRequest
from intima.errors import IntimaError
from intima.store import audit, tokens
from intima.store.paging import MAX_PAGE_SIZE
from intima.store.storage import Storage
from services.stores import StoreConfiguration

CALLER = "command line"


def main(arguments: Sequence[str] | None = None) -> int:
    """Create, list or revoke tokens, or check the audit log; returns the exit status."""
    asked = _parser().parse_args(arguments)
    try:
        storage = StoreConfiguration().open_store()
        try:
            return int(asked.run(storage, asked))
        finally:
            storage.close()
    except (IntimaError, ValidationError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _create(storage: Storage, asked: argparse.Namespace) -> int:
    limits = Limits(
        requests_per_minute=asked.requests_per_minute,
        starts_per_day=asked.starts_per_day,
        upload_bytes_per_day=asked.upload_bytes_per_day,
    )
    request = TokenRequest(name=asked.name, scopes=tuple(asked.scopes), valid_days=asked.days, limits=limits)
    with storage.writing() as connection:
        made = tokens.create_token(connection, request, by=CALLER)
        audit.append(connection, _entry("create_token", f"/v1/tokens/{made.view.id}"))
    sys.stderr.write(f"{made.view.id} {made.view.name}: {', '.join(made.view.scopes)} until {made.view.expires_at}\n")
    sys.stderr.write("The token is shown this once:\n")
    sys.stdout.write(f"{made.token}\n")
    return 0


def _list(storage: Storage, asked: argparse.Namespace) -> int:  # noqa: ARG001 - all commands are called alike
    page_token = ""
    while True:
        with storage.reading() as connection:
            page = tokens.list_tokens(connection, page_size=MAX_PAGE_SIZE, page_token=page_token)
        for token in page.items:
            sys.stdout.write(json.dumps(token.model_dump(mode="json"), ensure_ascii=False) + "\n")
        page_token = page.next_page_token
        if not page_token:
            return 0


def _revoke(storage: Storage, asked: argparse.Namespace) -> int:
    with storage.writing() as connection:
        view = tokens.revoke_token(connection, asked.id)
        audit.append(connection, _entry("revoke_token", f"/v1/tokens/{view.id}/revoke"))
    sys.stdout.write(f"{view.id} {view.name} revoked at {view.revoked_at}\n")
    return 0


def _check(storage: Storage, asked: argparse.Namespace) -> int:  # noqa: ARG001 - all commands are called alike
    with storage.reading() as connection:
        found = audit.check_chain(connection)
    sys.stdout.write(json.dumps(found.model_dump(mode="json")) + "\n")
    return 0 if found.intact else 1


def _entry(operation: str, target: str) -> AuditEntry:
    return AuditEntry(caller=CALLER, name=CALLER, operation=operation, target=target, request_id="", bytes=0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.tokens", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="make a token and print its secret, once")
    create.add_argument("name", help="what it is for, or whose it is")
    create.add_argument("scopes", nargs="+", choices=SCOPES, metavar="SCOPE", help=", ".join(SCOPES))
    create.add_argument("--days", type=float, default=DEFAULT_DAYS, help=f"how long it is valid ({DEFAULT_DAYS})")
    create.add_argument("--requests-per-minute", type=int, help="limit of all requests")
    create.add_argument("--starts-per-day", type=int, help="limit of requests that change something or start work")
    create.add_argument("--upload-bytes-per-day", type=int, help="limit of the bytes of those")
    create.set_defaults(run=_create)
    commands.add_parser("list", help="print every token as a line of JSON, without secrets").set_defaults(run=_list)
    revoke = commands.add_parser("revoke", help="let a token be valid no more")
    revoke.add_argument("id")
    revoke.set_defaults(run=_revoke)
    commands.add_parser("audit", help="check that the audit log is whole").set_defaults(run=_check)
    return parser


if __name__ == "__main__":
    sys.exit(main())
