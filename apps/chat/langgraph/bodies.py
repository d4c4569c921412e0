"""What clients send, a model each. Unknown keys are passed over, as LangGraph's own servers do."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, RootModel

MODES = (
    "values",
    "updates",
    "messages",
    "messages-tuple",
    "custom",
    "events",
    "debug",
    "tasks",
    "checkpoints",
)

Json = dict[str, Any]
Limit = Annotated[int, Field(ge=1, le=1000)]
Offset = Annotated[int, Field(ge=0, le=1_000_000)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _known(modes: list[str]) -> list[str]:
    if unknown := [mode for mode in modes if mode not in MODES]:
        raise ValueError(f"there is no {', '.join(unknown)}; known are {', '.join(MODES)}")
    return list(dict.fromkeys(modes))


class Search(BaseModel):
    metadata: Json | None = None
    limit: Limit = 10
    offset: Offset = 0
    sort_by: str | None = None
    sort_order: Literal["asc", "desc"] | None = None
    select: list[str] | None = None


class AssistantFilter(BaseModel):
    metadata: Json | None = None
    graph_id: str | None = None
    name: str | None = None


class AssistantSearch(Search, AssistantFilter):
    pass


class AssistantVersions(BaseModel):
    metadata: Json | None = None
    limit: Limit = 10
    offset: Offset = 0


class AssistantLatest(BaseModel):
    version: Annotated[int, Field(ge=1, le=2**31 - 1)]


class ThreadFilter(BaseModel):
    metadata: Json | None = None
    values: Json | None = None
    status: Literal["idle", "busy", "interrupted", "error"] | None = None
    ids: list[UUID] | None = Field(default=None, max_length=1000)


class ThreadSearch(Search, ThreadFilter):
    extract: Json | None = None


class ThreadCreate(BaseModel):
    thread_id: UUID | None = None
    metadata: Json | None = None
    if_exists: Literal["raise", "do_nothing"] = "raise"
    ttl: Any = None
    supersteps: Any = None


class ThreadPatch(BaseModel):
    metadata: Json | None = None
    ttl: Any = None


class Checkpoint(BaseModel):
    checkpoint_id: str | None = Field(default=None, max_length=100)
    checkpoint_ns: str | None = None


class AtCheckpoint(BaseModel):
    """What may say from which checkpoint on, in either of two ways."""

    checkpoint: Checkpoint | None = None
    checkpoint_id: str | None = Field(default=None, max_length=100)

    def named_checkpoint(self) -> str | None:
        return self.checkpoint_id or (self.checkpoint.checkpoint_id if self.checkpoint else None)


class ThreadPrune(BaseModel):
    thread_ids: Annotated[list[UUID], Field(max_length=100)]
    strategy: Literal["delete", "keep_latest"] = "delete"


class StateUpdate(AtCheckpoint):
    values: Json | None = None
    as_node: str | None = Field(default=None, max_length=200)


class History(BaseModel):
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    before: str | Json | None = None
    metadata: Json | None = None
    checkpoint: Checkpoint | None = None


class Command(BaseModel):
    resume: Any = None
    update: Any = None
    goto: Any = None


class Config(BaseModel):
    tags: list[str] | None = None
    recursion_limit: int | None = Field(default=None, ge=1)
    configurable: Json | None = None


class AssistantPatch(BaseModel):
    graph_id: Annotated[str, Field(max_length=100)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    description: Annotated[str, Field(max_length=2000)] | None = None
    config: Config | None = None
    context: Json | None = None
    metadata: Json | None = None


class AssistantCreate(AssistantPatch):
    graph_id: Annotated[str, Field(max_length=100)]
    assistant_id: UUID | None = None
    if_exists: Literal["raise", "do_nothing"] = "raise"


Label = Annotated[str, Field(max_length=100)]
Namespace = Annotated[list[Label], Field(max_length=10)]


class ItemName(BaseModel):
    namespace: Namespace
    key: str


class ItemPut(ItemName):
    value: Json
    index: Any = None  # nothing is searched by meaning, so there is nothing to leave out
    ttl: Any = None


class ItemSearch(BaseModel):
    namespace_prefix: Namespace = []
    filter: Json | None = None
    query: str | None = None
    limit: Limit = 10
    offset: Offset = 0


class NamespaceSearch(BaseModel):
    prefix: Namespace | None = None
    suffix: Namespace | None = None
    max_depth: Annotated[int, Field(ge=1)] | None = None
    limit: Limit = 100
    offset: Offset = 0


class RunCreate(AtCheckpoint):
    assistant_id: str
    input: Any = None
    command: Command | None = None
    config: Config | None = None
    context: Json | None = None
    metadata: Json | None = None
    stream_mode: Annotated[
        list[str], BeforeValidator(_as_list), AfterValidator(_known), Field(min_length=1)
    ] = ["values"]
    stream_subgraphs: bool = False
    interrupt_before: Any = None
    interrupt_after: Any = None
    multitask_strategy: Literal["enqueue", "reject", "interrupt", "rollback"] = "enqueue"
    if_not_exists: Literal["create", "reject"] = "reject"
    on_disconnect: Literal["cancel", "continue"] = "continue"
    on_completion: Literal["delete", "keep"] = "delete"
    after_seconds: float | None = None
    webhook: str | None = None
    durability: Literal["sync", "async", "exit"] | None = None


class RunsCancel(BaseModel):
    """Those named, or all that are as `status` says."""

    thread_id: UUID | None = None
    run_ids: list[UUID] | None = Field(default=None, max_length=1000)
    status: Literal["pending", "running", "all"] | None = None


class RunBatch(RootModel[Annotated[list[RunCreate], Field(min_length=1, max_length=50)]]):
    """Each on a thread of its own."""


class CronFields(BaseModel):
    """Its schedule, and what it begins."""

    schedule: Annotated[str, Field(max_length=200)] | None = None
    timezone: Annotated[str, Field(max_length=64)] | None = None
    end_time: datetime | None = None
    enabled: bool | None = None
    on_run_completed: Literal["delete", "keep"] | None = None
    input: Any = None
    config: Config | None = None
    context: Json | None = None
    metadata: Json | None = None
    webhook: str | None = None
    checkpoint: Any = None
    checkpoint_id: Any = None
    interrupt_before: Any = None
    interrupt_after: Any = None
    stream_mode: Annotated[list[str], BeforeValidator(_as_list), AfterValidator(_known)] | None = None
    stream_subgraphs: bool | None = None
    multitask_strategy: Literal["enqueue", "reject", "interrupt", "rollback"] | None = None
    durability: Literal["sync", "async", "exit"] | None = None


class CronPatch(CronFields):
    pass


class CronCreate(CronFields):
    assistant_id: str
    schedule: Annotated[str, Field(max_length=200)]


class CronCount(BaseModel):
    assistant_id: str | None = None
    thread_id: UUID | None = None
    metadata: Json | None = None


class CronSearch(CronCount, Search):
    enabled: bool | None = None
