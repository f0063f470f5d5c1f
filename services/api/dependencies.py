"""What routes are given: the app's state, connections, results. Transactions are committed here only."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias, TypeVar, cast

import anyio
from fastapi import Depends, Request
from pydantic import BaseModel
from sqlalchemy import Connection

from intima.contracts.model import Precision, ProviderName
from intima.inference import LoadedModel, load_model
from intima.registry import publish_default
from intima.shared_runs import SharedRuns
from intima.slides.tiles import SlideTiles
from intima.store import ledger
from intima.store.requests import recall_response, remember_response
from intima.store.storage import Storage
from services.access.gate import Gate, open_gate
from services.api.counting import Counting
from services.api.overviews import Overviews
from services.api.settings import Settings
from services.api.turns import Turns
from services.messages import Send, open_send
from services.telemetry.doors import count_model_lookup

TILES_AT_A_TIME = 4
SLOTS = max(1, os.cpu_count() or 1)
FINISHES_AT_A_TIME = 2
"""Whole uploads that are hashed and opened at once: each reads up to 8 GiB."""
MOST_WAITING = 64
"""Requests of a kind that wait for their turn; a client that sends more at once is told to come back."""
_SPARE_THREADS = 2
"""Beyond the slots: one reads its body or writes its answer while others compute."""
M = TypeVar("M", bound=BaseModel)

Transaction: TypeAlias = Connection
"""A database connection inside a transaction."""


class ModelCache:
    """Loaded models by ref, the least recently used dropped first; safe for threads."""

    def __init__(
        self,
        storage: Storage,
        *,
        provider: ProviderName,
        fallback: bool = False,
        capacity: int = 3,
        shared_tiles: int = 1,
    ) -> None:
        self._storage = storage
        self._shared_tiles = shared_tiles
        self._provider = provider
        self._fallback = fallback
        self._capacity = capacity
        self._lock = threading.Lock()
        self._models: OrderedDict[tuple[str, Precision], ReadyModel] = OrderedDict()

    def get(self, ref: str, *, precision: Precision = "fp32") -> LoadedModel:
        """Return the model ``name@version`` in a number format, loading it at first use."""
        return self.ready(ref, precision=precision).model

    def ready(self, ref: str, *, precision: Precision = "fp32") -> "ReadyModel":
        """Return the same with what its networks are shared by."""
        key = (ref, precision)
        with self._lock:
            count_model_lookup(hit=key in self._models)
            if key not in self._models:
                self._models[key] = self._load(ref, precision)
            self._models.move_to_end(key)
            while len(self._models) > self._capacity:
                self._models.popitem(last=False)
            return self._models[key]

    def _load(self, ref: str, precision: Precision) -> "ReadyModel":
        model = load_model(self._storage, ref, precision=precision, provider=self._provider, fallback=self._fallback)
        if self._shared_tiles == 1:
            return ReadyModel(model, ())
        most_px = self._shared_tiles * model.card.tile_px**2
        return ReadyModel(model, tuple(SharedRuns(net.predict, most_px=most_px) for net in model.nets))


@dataclass(frozen=True, slots=True)
class ReadyModel:
    """A loaded model, and for each of its networks what lets requests share its runs; empty where none does."""

    model: LoadedModel
    shared: tuple[SharedRuns, ...]


def new_turns() -> Turns:
    """Return turns of requests that will each want a slot."""
    return Turns(threads=SLOTS + _SPARE_THREADS, most_waiting=MOST_WAITING)


@dataclass(frozen=True, slots=True)
class State:
    """What the app holds while it runs."""

    settings: Settings
    storage: Storage
    models: ModelCache
    send: Send
    gate: Gate
    """Who is let in, over both doors."""
    slots: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(SLOTS))
    """How many requests compute at once, over both doors."""
    segment_turns: Turns = field(default_factory=new_turns)
    """Who comes next to segment a small image over REST; what waits there holds no thread."""
    infer_turns: Turns = field(default_factory=new_turns)
    """Who comes next to run a model on tiles over REST."""
    finish_turns: Turns = field(default_factory=lambda: Turns(threads=FINISHES_AT_A_TIME, most_waiting=MOST_WAITING))
    """Who comes next to have an upload made a slide; what waits there holds no thread."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when this process is about to end: who is cut off then has not left, and units are given back."""
    tiles: SlideTiles = field(default_factory=SlideTiles)
    """Open slides that viewers look at."""
    overviews: Overviews = field(default_factory=Overviews)
    """Of slides without levels that viewers look at."""
    counting: Counting = field(default_factory=Counting)
    """Differences that somebody waits for."""
    tile_turns: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(TILES_AT_A_TIME))
    """How many tiles are read at once."""

    def queue_depth(self) -> dict[str, int]:
        """Return how many units wait and run."""
        with self.storage.reading() as connection:
            return dict(ledger.queue_depth(connection))

    def close(self) -> None:
        """Release storage and slides."""
        self.tiles.close()
        self.storage.close()


def open_state(settings: Settings) -> State:
    """Open storage, publish the default model, connect the queue."""
    storage = settings.open_store()
    publish_default(storage)
    models = ModelCache(
        storage,
        provider=settings.provider,
        fallback=settings.provider_fallback,
        shared_tiles=settings.shared_tiles,
    )
    return State(
        settings=settings,
        storage=storage,
        models=models,
        send=open_send(settings.queue, redis_url=settings.redis_url),
        gate=open_gate(storage, settings, service="api", redis_url=settings.shared_redis_url),
    )


def get_state(request: Request) -> State:
    """Return the state of the app."""
    return cast(State, request.app.state.intima)


StateDep = Annotated[State, Depends(get_state)]


def read_connection(state: StateDep) -> Iterator[Connection]:
    """Yield a connection that reads one consistent state."""
    with state.storage.reading() as connection:
        yield connection


def write_connection(state: StateDep) -> Iterator[Connection]:
    """Yield a connection whose transaction is committed before the answer is sent, and then send what is ready."""
    with state.storage.writing() as connection:
        yield connection
    send_ready(state)


def once(
    connection: Connection, make: Callable[[], M], *, key: str | None, route: str, body_sha256: str, kind: type[M]
) -> M:
    """Return what ``make`` makes, or what it made for this idempotency key before, in the transaction of the work.

    Raises:
        Conflict: the key was used with another body.
    """
    known = None if key is None else recall_response(connection, key=key, route=route, body_sha256=body_sha256)
    if known is not None:
        return kind.model_validate(known.response)
    made = make()
    if key is not None:
        response = made.model_dump(mode="json")
        remember_response(connection, key=key, route=route, body_sha256=body_sha256, status=202, response=response)
    return made


def send_ready(state: State) -> None:
    """Tell workers about units that became ready; a message that is lost is sent again by the sweeper."""
    if state.settings.queue == "celery":
        with state.storage.writing() as connection:
            units = ledger.take_unsent(connection)
        state.send(units)


ReadDep = Annotated[Connection, Depends(read_connection, scope="function")]
WriteDep = Annotated[Connection, Depends(write_connection, scope="function")]
