"""Where a run's files are while a worker has it: made from the vault, never kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from agent.dependencies import Installer
from agent.events import ToolReturned
from agent.files import WorkspaceFiles
from agent.harness import Harness
from agent.outputs import MOUNT, Outputs
from agent.ports import Mount, Sandbox
from agent.run import CommitSha, Digest, TreeSha
from agent.work import Desk, Work


@asynccontextmanager
async def furnished(
    work: Work, sandbox: Sandbox, installer: Installer | None
) -> AsyncGenerator[None]:
    """Makes the workspace as it was left, in a new empty folder, while what is inside goes on."""
    async with AsyncExitStack() as stack:
        task = asyncio.create_task(_furnish(work, stack, sandbox, installer))
        work.furnishing = task
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _furnish(
    work: Work, stack: AsyncExitStack, sandbox: Sandbox, installer: Installer | None
) -> Desk:
    journal, vault, run = work.journal, work.vault, work.journal.run
    folder = sandbox.new_folder(f"run-{run.id}-{run.epoch}")
    stack.push_async_callback(sandbox.remove, folder)
    stack.callback(vault.forget, folder)
    notes = tuple(await vault.checkout(await _tree(work), folder))
    await asyncio.to_thread(sandbox.adopt, folder)
    ready = journal.state.workspace
    if ready is not None and notes and ready.notes != notes:
        await journal.write(replace(ready, notes=notes))
    outputs = await _outputs(work, stack, sandbox)
    shown = Mount(source=outputs.folder, target=MOUNT)
    box = await stack.enter_async_context(sandbox.open(folder, mounts=[shown]))
    harness = Harness(
        journal=journal,
        project=work.project,
        sandbox=sandbox,
        installer=installer,
        vault=vault,
        base=work.base,
        folder=folder,
        box=box,
        tests=work.tests,
        paths=work.paths,
    )
    stack.push_async_callback(harness.close)
    harness.start()
    files = WorkspaceFiles(folder)
    return Desk(folder=folder, files=files, box=box, harness=harness, outputs=outputs)


async def _outputs(work: Work, stack: AsyncExitStack, sandbox: Sandbox) -> Outputs:
    """With what the run's commands have printed so far."""
    folder = sandbox.new_folder(f"output-{work.journal.run.id}")
    stack.push_async_callback(sandbox.remove, folder)
    outputs = Outputs(folder)
    for event in work.journal.events:
        match event.payload:
            case ToolReturned(whole=str() as whole):
                await asyncio.to_thread(outputs.keep, await work.journal.body(Digest(whole)))
            case _:
                pass
    return outputs


async def _tree(work: Work) -> TreeSha | CommitSha:
    checkpoint = work.state.checkpoint
    if checkpoint is None:
        return work.base
    patch = await work.journal.body(checkpoint.patch)
    return await work.vault.restore(work.base, patch.decode("utf-8", "surrogateescape"))
