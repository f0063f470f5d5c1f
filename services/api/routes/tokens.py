"""Tokens and the audit log, for administrators; and who a token says one is, for everybody."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, status
from pydantic import BaseModel

from intima.contracts.access import AuditCheck, AuditRecord, Caller, TokenMade, TokenRequest, TokenView
from intima.store import audit, tokens
from intima.store.paging import MAX_PAGE_SIZE
from services.access.web import caller_of
from services.api.dependencies import ReadDep, WriteDep
from services.api.routes.paging import PageSize, PageToken

router = APIRouter(prefix="/v1", tags=["access"])


class TokenPage(BaseModel):
    """One page of tokens."""

    items: list[TokenView]
    next_page_token: str


class AuditPage(BaseModel):
    """The next records of the audit log, oldest first; go on after the number of the last."""

    items: list[AuditRecord]


@router.get("/me", operation_id="get_caller")
def get_caller(request: Request) -> Caller:
    """Say who the token of this request is, and what it may do."""
    return caller_of(request)


@router.post("/tokens", operation_id="create_token", status_code=status.HTTP_201_CREATED)
def create_token(body: TokenRequest, request: Request, connection: WriteDep) -> TokenMade:
    """Make a token. Its secret is in this answer and nowhere else; lost is lost, make another."""
    return tokens.create_token(connection, body, by=caller_of(request).id)


@router.get("/tokens", operation_id="list_tokens")
def list_tokens(connection: ReadDep, page_size: PageSize = 50, page_token: PageToken = "") -> TokenPage:
    """List tokens without their secrets, newest first."""
    page = tokens.list_tokens(connection, page_size=page_size, page_token=page_token)
    return TokenPage(items=list(page.items), next_page_token=page.next_page_token)


@router.get("/tokens/{token_id}", operation_id="get_token")
def get_token(token_id: str, connection: ReadDep) -> TokenView:
    """Return a token without its secret."""
    return tokens.get_token(connection, token_id)


@router.post("/tokens/{token_id}/revoke", operation_id="revoke_token")
def revoke_token(token_id: str, connection: WriteDep) -> TokenView:
    """Let a token be valid no more, within five seconds; asking again changes nothing."""
    return tokens.revoke_token(connection, token_id)


@router.get("/audit", operation_id="list_audit_records")
def list_audit_records(
    connection: ReadDep,
    after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)] = 100,
) -> AuditPage:
    """List what was asked for by whom, oldest first: requests that change something or start work."""
    return AuditPage(items=audit.list_records(connection, after=after, limit=limit))


@router.get("/audit/check", operation_id="check_audit_chain")
def check_audit_chain(connection: ReadDep) -> AuditCheck:
    """Follow the audit log from its beginning and say whether anything in it was changed or taken out."""
    return audit.check_chain(connection)
