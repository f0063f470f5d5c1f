"""gRPC over TLS with an authority of the test's own: who is let in, renewal at run time, what refuses to start."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from authority import Authority
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from intima.errors import Conflict, IntimaError, Invalid
from services.access.gate import OpenGate
from services.rpc import RpcDoor, bind
from services.stats.dependencies import State, open_state
from services.stats.rpc import SERVICE, create_server
from services.stats.settings import Settings
from services.wire.v1 import comparison_pb2 as pb
from services.wire.v1 import comparison_pb2_grpc as pb_grpc

DEADLINE_S = 20.0
REFUSED_S = 5.0
"""A client tries again until its deadline where the handshake fails."""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> dict[str, Path]:
    certificate, key = authority.issue().write(tmp_path / "tls", "tls")
    return {"grpc_tls_cert": certificate, "grpc_tls_key": key}


@contextmanager
def serving(folder: Path, **settings: Path) -> Iterator[RpcDoor]:
    state = open_state(Settings(data=folder / "data", **settings))  # type: ignore[arg-type]
    door = create_server(state)
    door.server.start()
    try:
        yield door
    finally:
        door.stop(None)
        state.close()


@contextmanager
def client(door: RpcDoor, root: bytes, *, own: tuple[bytes, bytes] | None = None) -> Iterator[grpc.Channel]:
    key, certificate = own or (None, None)
    credentials = grpc.ssl_channel_credentials(root, key, certificate)
    with grpc.secure_channel(f"localhost:{door.port}", credentials) as channel:
        yield channel


def check(channel: grpc.Channel, *, timeout: float = DEADLINE_S) -> int:
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=timeout)
    return int(answer.status)


def refused(channel: grpc.Channel) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        check(channel, timeout=REFUSED_S)
    return caught.value.code()


def test_the_generated_client_health_and_reflection_over_tls(
    tmp_path: Path, authority: Authority, files: dict[str, Path]
) -> None:
    with serving(tmp_path, **files) as door, client(door, authority.root) as channel:
        assert check(channel) == health_pb2.HealthCheckResponse.SERVING
        asked = pb.IntervalRequest(scores=[0.7, 0.8, 0.9], subjects=["a", "b", "c"])
        answer = pb_grpc.ComparisonStub(channel).EstimateInterval(asked, timeout=DEADLINE_S)
        assert answer.estimate == pytest.approx(0.8)
        question = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        listed = next(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(question))
        assert SERVICE in {s.name for s in listed.list_services_response.service}


def test_clear_text_and_another_authority_are_refused(
    tmp_path: Path, authority: Authority, files: dict[str, Path]
) -> None:
    with serving(tmp_path, **files) as door:
        with client(door, Authority("another").root) as channel:
            assert refused(channel) is grpc.StatusCode.UNAVAILABLE
        with grpc.insecure_channel(f"localhost:{door.port}") as channel:
            assert refused(channel) is grpc.StatusCode.UNAVAILABLE
        with client(door, authority.root) as channel:
            assert check(channel) == health_pb2.HealthCheckResponse.SERVING


def test_clients_need_a_certificate_where_an_authority_of_clients_is_given(
    tmp_path: Path, authority: Authority, files: dict[str, Path]
) -> None:
    clients = Authority("authority of clients")
    roots = tmp_path / "clients.crt"
    roots.write_bytes(clients.root)
    good, stranger = clients.issue("laboratory"), authority.issue("laboratory")
    with serving(tmp_path, **files, grpc_tls_client_ca=roots) as door:
        with client(door, authority.root) as channel:
            assert refused(channel) is grpc.StatusCode.UNAVAILABLE
        with client(door, authority.root, own=(stranger.key, stranger.certificate)) as channel:
            assert refused(channel) is grpc.StatusCode.UNAVAILABLE
        with client(door, authority.root, own=(good.key, good.certificate)) as channel:
            assert check(channel) == health_pb2.HealthCheckResponse.SERVING


def shown(door: RpcDoor) -> int:
    """Return the serial number of the certificate that a new connection is shown."""
    pem = ssl.get_server_certificate(("127.0.0.1", door.port), timeout=DEADLINE_S)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def serial_of(certificate: Path) -> int:
    return x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number


def test_a_renewed_certificate_is_shown_without_a_restart_and_a_broken_one_never(
    tmp_path: Path, authority: Authority, files: dict[str, Path]
) -> None:
    certificate = files["grpc_tls_cert"]
    with serving(tmp_path, **files) as door:
        first = shown(door)
        assert first == serial_of(certificate)
        renewed = authority.issue()
        certificate.write_bytes(renewed.certificate)
        assert shown(door) == first
        renewed.write(certificate.parent, "tls")
        second = serial_of(certificate)
        assert shown(door) == second != first
        certificate.write_text("half a file")
        assert shown(door) == second
        certificate.unlink()
        with client(door, authority.root) as channel:
            assert check(channel) == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("given", [("grpc_tls_cert",), ("grpc_tls_key",), ("grpc_tls_client_ca",)])
def test_half_of_the_files_refuses_to_start(tmp_path: Path, given: tuple[str, ...]) -> None:
    settings = Settings(data=tmp_path, **dict.fromkeys(given, tmp_path / "a"))  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="certificate and key") as caught:
        _ = settings.grpc_tls
    assert caught.value.code == "half_of_tls"


def test_files_that_cannot_be_used_refuse_to_start(tmp_path: Path, authority: Authority) -> None:
    one, two = authority.issue().write(tmp_path, "one"), authority.issue().write(tmp_path, "two")
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("nothing")
    for certificate, key, roots in (
        (one[0], two[1], None),
        (nonsense, one[1], None),
        (tmp_path / "absent", one[1], None),
        (*one, nonsense),
    ):
        settings = Settings(data=tmp_path, grpc_tls_cert=certificate, grpc_tls_key=key, grpc_tls_client_ca=roots)
        with pytest.raises(Invalid) as caught:
            create_server(State(settings, None, OpenGate()))  # type: ignore[arg-type]
        assert caught.value.code == "bad_tls_files"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_an_open_address_needs_tls_or_a_proxy(tmp_path: Path, files: dict[str, Path], host: str) -> None:
    with pytest.raises(Conflict) as caught:
        create_server(State(Settings(data=tmp_path, host=host), None, OpenGate()))  # type: ignore[arg-type]
    assert caught.value.code == "open_bind"
    assert "INTIMA_GRPC_TLS_CERT" in caught.value.hint


@pytest.mark.parametrize("secured", [{"behind_proxy": True}, "tls"])
def test_an_open_address_with_tls_or_a_proxy_is_bound(
    tmp_path: Path, files: dict[str, Path], secured: dict[str, bool] | str
) -> None:
    more = files if secured == "tls" else secured
    door = create_server(State(Settings(data=tmp_path, host="0.0.0.0", **more), None, OpenGate()))  # type: ignore[arg-type]
    assert door.port > 0
    door.stop(None)


def test_a_stopping_door_says_so_to_who_asks_and_who_watches(tmp_path: Path) -> None:
    with serving(tmp_path) as door, grpc.insecure_channel(f"127.0.0.1:{door.port}") as channel:
        watched = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service=SERVICE), timeout=DEADLINE_S
        )
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        door.tell_stopping()
        assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert check(channel) == health_pb2.HealthCheckResponse.NOT_SERVING
        asked = pb.IntervalRequest(scores=[0.7, 0.8], subjects=["a", "b"])
        assert pb_grpc.ComparisonStub(channel).EstimateInterval(asked, timeout=DEADLINE_S).estimate > 0
        watched.cancel()


def test_watchers_that_come_and_go_never_stand_in_the_way_of_others_or_of_the_end(tmp_path: Path) -> None:
    """Each round stood still sooner or later with the servicer as it comes (grpcio-health-checking 1.85.1)."""
    state = open_state(Settings(data=tmp_path))
    for _ in range(15):
        door = create_server(state)
        door.server.start()
        with grpc.insecure_channel(f"127.0.0.1:{door.port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            watches = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(8)]
            for watch in watches:
                next(watch)
                watch.cancel()
                assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1
            last = health.Watch(health_pb2.HealthCheckRequest())
            next(last)
            last.cancel()
            stopping = threading.Thread(target=door.stop, args=(None,), daemon=True)
            stopping.start()
            stopping.join(10)
            assert not stopping.is_alive()
    state.close()


def test_a_taken_port_is_said_with_and_without_tls(tmp_path: Path, files: dict[str, Path]) -> None:
    with serving(tmp_path, **files) as door:
        for settings in (Settings(data=tmp_path), Settings(data=tmp_path, **files)):  # type: ignore[arg-type]
            with pytest.raises(IntimaError, match="is taken"):
                bind(door.server, settings.host, door.port, setting="X", tls=settings.grpc_tls)
