"""Settings from variables, from files of secrets, and both at once."""

from pathlib import Path

import pytest

from intima.errors import Invalid
from services.api.settings import Settings as ApiSettings
from services.configuration import Configuration
from services.local import Settings as LocalSettings
from services.runner import RunnerSettings
from services.stats.settings import Settings as StatsSettings
from services.trainer.settings import Settings as TrainerSettings


class Toy(Configuration):
    """Fields of three kinds."""

    redis_url: str = "redis://127.0.0.1:6379/0"
    port: int = 8000
    origins: tuple[str, ...] = ()


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("INTIMA_SECRETS", str(folder))
    return folder


@pytest.mark.parametrize("settings", [ApiSettings, StatsSettings, TrainerSettings, LocalSettings, RunnerSettings])
def test_every_service_reads_its_secrets_from_files(settings: type[Configuration], secrets: Path) -> None:
    (secrets / "intima_database_url").write_text("postgresql+psycopg://u:p w@db/intima\n")
    assert settings().model_dump()["database_url"] == "postgresql+psycopg://u:p w@db/intima"


def test_only_line_ends_are_taken_off(secrets: Path) -> None:
    (secrets / "intima_redis_url").write_bytes(b" redis://:\xc3\xa9 @redis \r\n")
    assert Toy().redis_url == " redis://:é @redis "


def test_a_variable_wins_over_a_file_and_an_argument_over_both(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "intima_port").write_text("8100\n")
    assert Toy().port == 8100
    monkeypatch.setenv("INTIMA_PORT", "8200")
    assert Toy().port == 8200
    assert Toy(port=8300).port == 8300


def test_values_of_several_parts_are_json_as_in_variables(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "intima_origins").write_text('["https://a.example"]\n')
    assert Toy().origins == ("https://a.example",)
    monkeypatch.setenv("INTIMA_ORIGINS", '["https://b.example"]')
    assert Toy().origins == ("https://b.example",)


def test_a_link_is_followed_as_kubernetes_makes_them(secrets: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("8100")
    (secrets / "intima_port").symlink_to(tmp_path / "elsewhere")
    assert Toy().port == 8100


def test_a_missing_folder_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTIMA_SECRETS", str(tmp_path / "none"))
    assert Toy() == Toy(redis_url="redis://127.0.0.1:6379/0", port=8000)


@pytest.mark.parametrize(
    ("content", "code"), [(b"\xff\xfe", "secret_unreadable"), (b"\n", "secret_empty"), (b"", "secret_empty")]
)
def test_a_file_that_says_nothing_is_an_error_that_names_it(secrets: Path, content: bytes, code: str) -> None:
    (secrets / "intima_redis_url").write_bytes(content)
    with pytest.raises(Invalid, match="intima_redis_url") as caught:
        Toy()
    assert caught.value.code == code


def test_a_folder_in_the_place_of_a_file_is_an_error(secrets: Path) -> None:
    (secrets / "intima_redis_url").mkdir()
    with pytest.raises(Invalid, match="cannot be read") as caught:
        Toy()
    assert caught.value.code == "secret_unreadable"


def test_a_file_that_nobody_asked_for_is_not_read(secrets: Path) -> None:
    (secrets / "intima_unknown").mkdir()
    assert Toy().port == 8000
