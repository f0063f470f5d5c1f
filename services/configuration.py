"""Where settings come from: the environment, then files of secrets, then defaults.

A file of secrets is named as its variable in small letters: ``/run/secrets/intima_redis_url`` is INTIMA_REDIS_URL.
Docker, Kubernetes and systemd all hand secrets over as such files.
"""

import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from intima.errors import Invalid

PREFIX = "INTIMA_"
FOLDER_VARIABLE = "INTIMA_SECRETS"
FOLDER = "/run/secrets"


class Configuration(BaseSettings):
    """Base of all settings: every field is a variable INTIMA_X, or a file ``intima_x`` in the folder INTIMA_SECRETS.

    A variable wins over a file. The folder need not exist; it is /run/secrets unless named.

    Raises:
        Invalid: a file of secrets is there and cannot be read, or is empty.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic passes all by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return arguments, environment and files of secrets, the first that knows a field wins."""
        # Not pydantic's own source of secrets: it warns of a missing folder and passes over what it cannot read.
        return init_settings, env_settings, SecretFiles(settings_cls)


class SecretFiles(PydanticBaseSettingsSource):
    """The files of the folder of secrets, one a field."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        self.folder = Path(os.environ.get(FOLDER_VARIABLE) or FOLDER)

    def __call__(self) -> dict[str, Any]:
        """Return the value of every field that has a file."""
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, is_complex = self.get_field_value(field, name)
            if value is not None:
                found[key] = self.prepare_field_value(name, field, value, is_complex)
        return found

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the text of a field's file without its last line end, or None where there is no such file."""
        path = self.folder / f"{PREFIX}{field_name}".lower()
        return _read(path), field_name, self.field_is_complex(field)


def _read(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(
            f"The secret {path} cannot be read: {error}.",
            code="secret_unreadable",
            hint="Let the user that the service runs as read it: a plain file of UTF-8 text.",
        ) from error
    if not text:
        raise Invalid(
            f"The secret {path} is empty.", code="secret_empty", hint="Write the value into it, or remove the file."
        )
    return text
