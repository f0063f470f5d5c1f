"""Query parameters every list takes."""

from typing import Annotated, TypeAlias

from fastapi import Query

PageSize: TypeAlias = Annotated[int, Query(ge=1, le=1000)]
PageToken: TypeAlias = Annotated[str, Query(max_length=500)]
