"""What the engine needs from outside. Adapters implement these; the engine knows nothing else."""

from agent.ports.clock import Clock
from agent.ports.forge import (
    Comment,
    Deployment,
    Discussion,
    ForgeCommit,
    ForgeReader,
    ForgeRules,
    ForgeUser,
    ForgeWriter,
    Member,
    MergeRequest,
    OutsideLogs,
    Project,
    Protection,
)
from agent.ports.git import Author, Collected, Landed, Origin, Vault
from agent.ports.model import Answer, Message, Model, ToolCall, ToolSpec
from agent.ports.sandbox import Box, Check, CommandLimits, CommandResult, Mount, Network, Sandbox
from agent.ports.state import Freezes, Queue, Store, Write

__all__ = [
    "Answer",
    "Author",
    "Box",
    "Check",
    "Clock",
    "Collected",
    "CommandLimits",
    "CommandResult",
    "Comment",
    "Deployment",
    "Discussion",
    "ForgeCommit",
    "ForgeReader",
    "ForgeRules",
    "ForgeUser",
    "ForgeWriter",
    "Freezes",
    "Landed",
    "Member",
    "MergeRequest",
    "Message",
    "Model",
    "Mount",
    "Network",
    "Origin",
    "OutsideLogs",
    "Project",
    "Protection",
    "Queue",
    "Sandbox",
    "Store",
    "ToolCall",
    "ToolSpec",
    "Vault",
    "Write",
]
