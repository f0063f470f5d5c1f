"""Look after the store of a deployment: ``python -m services.store backup FOLDER``, restore, verify, collect, rewind.

Exit status 0: done and all is well; 1: refused, or something is wrong with the store.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from intima.errors import IntimaError, Invalid
from intima.store.backup import back_up
from intima.store.checking import check_store
from intima.store.migrate import rewind
from intima.store.restore import restore
from intima.store.retention import DAY_S, collect
from intima.store.storage import Storage, attach_storage
from services.configuration import Configuration
from services.serving import stop_as_by_hand
from services.stores import StoreConfiguration

_log = logging.getLogger("intima.store")
_SHOWN = 20
_LEAST_HOURS = 2.0
"""A writer renews a blob of a bucket that is an hour old; nothing younger than this is ever removed."""


def main(words: Sequence[str] | None = None) -> int:
    """Do one thing with the store that the environment names."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    stop_as_by_hand()
    arguments = _parser().parse_args(words)
    work: Callable[[Storage, argparse.Namespace], int] = arguments.work
    try:
        settings = StoreConfiguration()
        _refuse_stray(settings)
        open_store = attach if arguments.unmigrated else StoreConfiguration.open_store
        storage = open_store(settings)
        try:
            return work(storage, arguments)
        finally:
            storage.close()
    except IntimaError as error:
        _log.error("%s", f"{error.message} {error.hint}".strip())
        return 1


class Stack(Configuration):
    """What says that this is one of several containers."""

    queue: Literal["local", "celery"] = "local"


def _refuse_stray(settings: StoreConfiguration) -> None:
    """Raise Invalid where the services use PostgreSQL and this would take a new SQLite file for the database."""
    if Stack().queue == "celery" and settings.database_url is None:
        raise Invalid(
            "The services of this installation use a database server (INTIMA_QUEUE=celery), and it is not named.",
            code="no_database",
            hint="Set INTIMA_DATABASE_URL or the secret intima_database_url; with Compose, `up` postgres first.",
        )


def attach(settings: StoreConfiguration) -> Storage:
    """Open the store with whatever schema its database has."""
    return attach_storage(settings.data, settings.database_url, blobs_at=settings.blobs_at)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.store", description="Look after Intima's store.")
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("backup", help="write rows and blobs into an empty folder, while services run")
    one.add_argument("folder", type=Path)
    one.add_argument("--base", type=Path, help="an earlier backup on the same volume: its blobs are linked, not copied")
    one.set_defaults(work=_back_up, unmigrated=False)
    one = commands.add_parser("restore", help="bring a backup into an empty store, before services run")
    one.add_argument("folder", type=Path)
    one.set_defaults(work=_restore, unmigrated=True)
    one = commands.add_parser("verify", help="read every blob; status 1 where one is damaged or missing")
    one.add_argument("--quarantine", action="store_true", help="move damaged blobs away")
    one.set_defaults(work=_verify, unmigrated=False)
    one = commands.add_parser("collect", help="remove unused blobs, leftovers and old idempotency keys")
    one.add_argument("--unused-hours", type=_hours, default=24.0, help="only blobs older than this (24, at least 2)")
    one.add_argument("--keys-days", type=float, default=30.0, help="idempotency keys live this long (30)")
    one.add_argument("--events-days", type=float, help="remove events of jobs that ended longer ago; default: keep")
    one.add_argument("--dry-run", action="store_true", help="only say what would go")
    one.set_defaults(work=_collect, unmigrated=False)
    one = commands.add_parser("rewind", help="bring the schema to that of an earlier version, if nothing is lost")
    one.add_argument("revision", help="as 0006")
    one.set_defaults(work=_rewind, unmigrated=True)
    return parser


def _hours(text: str) -> float:
    hours = float(text)
    if hours < _LEAST_HOURS:
        raise argparse.ArgumentTypeError(f"got {text}; need at least {_LEAST_HOURS:g} hours")
    return hours


def _back_up(storage: Storage, arguments: argparse.Namespace) -> int:
    made = back_up(storage, arguments.folder, base=arguments.base)
    _log.info("%d rows and %d blobs (%d bytes) are in %s.", made.rows, made.blobs, made.blob_bytes, arguments.folder)
    _list("The store lacks", made.missing)
    _list("Damaged in the store and left out:", made.damaged)
    return 0 if made.whole else 1


def _restore(storage: Storage, arguments: argparse.Namespace) -> int:
    made = restore(storage, arguments.folder)
    _log.info(
        "Restored %d rows and %d blobs (%d bytes) of %s.", made.rows, made.blobs, made.blob_bytes, made.started_at
    )
    _list("Missing since before the backup:", made.missing + made.damaged)
    return 0 if made.whole else 1


def _verify(storage: Storage, arguments: argparse.Namespace) -> int:
    found = check_store(storage, quarantine=arguments.quarantine)
    _log.info("%d blobs (%d bytes) are sound.", found.sound, found.sound_bytes)
    _log.info("%d of them (%d bytes) are named by no row.", found.unreferenced, found.unreferenced_bytes)
    _list("Missing:", found.missing)
    _list("Damaged:", found.damaged)
    if found.quarantined:
        _log.info("%d were moved to quarantine.", found.quarantined)
    return 0 if found.good else 1


def _collect(storage: Storage, arguments: argparse.Namespace) -> int:
    gone = collect(
        storage,
        unused_s=arguments.unused_hours * 3600,
        keys_s=arguments.keys_days * DAY_S,
        events_s=None if arguments.events_days is None else arguments.events_days * DAY_S,
        dry_run=arguments.dry_run,
    )
    _log.info("%s %d blobs (%d bytes),", "Would remove" if arguments.dry_run else "Removed", gone.blobs, gone.bytes)
    _log.info("%d leftovers, %d idempotency keys, %d events.", gone.leftovers, gone.keys, gone.events)
    return 0


def _rewind(storage: Storage, arguments: argparse.Namespace) -> int:
    rewind(storage.engine, arguments.revision)
    _log.info("The schema is that of %s.", arguments.revision)
    return 0


def _list(what: str, names: Sequence[str]) -> None:
    for name in names[:_SHOWN]:
        _log.warning("%s %s", what, name)
    if len(names) > _SHOWN:
        _log.warning("%s %d more", what, len(names) - _SHOWN)


if __name__ == "__main__":
    sys.exit(main())
