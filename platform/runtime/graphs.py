"""The registry of graphs: an id in a setting, a dotted path, a compiled graph. Built once per process and shared."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.pregel import Pregel

from runtime.exceptions import GraphNotFound, HasBreakpoints, UngatedTool
from runtime.graph_store import PersonalStore
from runtime.tools import GatedTool

Graph = Pregel[Any, Any, Any, Any]


class Graphs:
    """The graphs of one process, all on one checkpointer."""

    def __init__(self, checkpointer: BaseCheckpointSaver[Any]) -> None:
        self._checkpointer = checkpointer
        self._built: dict[str, Graph] = {}

    def get(self, graph_id: str) -> Graph:
        """The graph registered as `graph_id`. Raises GraphNotFound when the setting has no such id."""
        if graph_id not in self._built:
            self._built[graph_id] = self._build(graph_id)
        return self._built[graph_id]

    def _build(self, graph_id: str) -> Graph:
        path = settings.COUNTERSIGN_GRAPHS.get(graph_id)
        if path is None:
            raise GraphNotFound(f"No graph is registered as {graph_id!r}. Add it to COUNTERSIGN_GRAPHS.")
        module, _, attribute = path.rpartition(":") if ":" in path else path.rpartition(".")
        found = import_string(f"{module}.{attribute}")
        graph = found if isinstance(found, Pregel) else found()
        _refuse_breakpoints(graph_id, graph)
        _refuse_ungated(graph_id, graph)
        # A copy: the graph somebody else compiled keeps its own checkpointer elsewhere.
        # One that was compiled with a store of its own keeps it.
        store = graph.store or PersonalStore()
        return graph.copy(update={"checkpointer": self._checkpointer, "store": store})


def _with_subgraphs(graph: Graph) -> list[Graph]:
    subgraphs = [subgraph for _, subgraph in graph.get_subgraphs(recurse=True)]
    return [each for each in (graph, *subgraphs) if isinstance(each, Pregel)]


def _refuse_breakpoints(graph_id: str, graph: Graph) -> None:
    """A breakpoint asks nothing, so nobody could answer it: the turn would rest there for ever."""
    if any(each.interrupt_before_nodes or each.interrupt_after_nodes for each in _with_subgraphs(graph)):
        raise HasBreakpoints(
            f"Graph {graph_id!r} is compiled with interrupt_before or interrupt_after, which ask nobody anything. "
            "Call interrupt() in a node instead."
        )


def _refuse_ungated(graph_id: str, graph: Graph) -> None:
    """A tool that a tool node calls past the gateway would run unseen: the graph is not run at all."""
    if settings.COUNTERSIGN_ALLOW_UNGATED_TOOLS:
        return
    for node in [node for each in _with_subgraphs(graph) for node in each.nodes.values()]:
        for name, tool in getattr(node.bound, "tools_by_name", {}).items():
            if not isinstance(tool, GatedTool):
                raise UngatedTool(
                    f"Graph {graph_id!r} would call the tool {name!r} past the gateway. "
                    "Make it with runtime.tools.tool, or wrap it with runtime.tools.gate."
                )
