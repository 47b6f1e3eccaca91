"""Gives the evidence of a stack's directory to whoever asks, whether the stack runs or not.

Grants are in the servers of the sets and in the database, so where the stack does not run these are started for as long
as it takes, with the recorders, which record what the last end has left over. No gate is: nobody is granted anything.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from redrush.config import DeploymentFile, load_deployment_file
from redrush.config.hosted import deployment_beside, read_beside
from redrush.control.durable_file import write_durably
from redrush.control.event import load_event
from redrush.core.roles import role_named
from redrush.stack import role_children
from redrush.stack.options import deployment_text, plan_servers
from redrush.stack.set_servers import StackSet
from redrush.stack.stack_dir import Lock, StackDir, read_state
from redrush.stack.up import begin_hosted, end_leftovers, new_supervisor, note_ends, start_servers

_Found = TypeVar("_Found")


def with_servers(stack: StackDir, work: Callable[[DeploymentFile], _Found]) -> _Found:
    """Return what `work` makes of the directory's deployment, whose servers run meanwhile.

    Raises RedrushError if they cannot be started, and whatever `work` raises.
    """
    beside = read_beside(stack.deployment)
    if beside is not None:  # a campaign beside the first, on the servers of the first
        first = StackDir((stack.root / beside.deployment).parent)
        return with_servers(
            first, lambda found: work(deployment_beside(found, beside.campaign, stack.root, beside.sets))
        )
    state = read_state(stack)
    if state is not None and state.supervisor.alive:
        return work(load_deployment_file(stack.deployment))
    with Lock(stack):
        end_leftovers(stack)
        return asyncio.run(_started_for(stack, work))


async def _started_for(stack: StackDir, work: Callable[[DeploymentFile], _Found]) -> _Found:
    campaign_id = load_event(stack.event).sealed.campaign.id
    supervisor, sets = new_supervisor(stack), list[StackSet]()
    try:
        plan = plan_servers(stack)
        write_durably(stack.offline, deployment_text(plan, stack).encode())
        sets = await start_servers(supervisor, stack, plan, campaign_id)
        await begin_hosted(stack, load_deployment_file(stack.offline))
        whole = not any(servers.withheld for servers in sets)  # else the recorder of one is never ready
        recorders = role_children.children(role_named("recorder"), plan, stack.offline.absolute())
        await supervisor.start(recorders, until_ready=whole)
        return await asyncio.to_thread(work, load_deployment_file(stack.offline))
    finally:
        await supervisor.stop(lambda: note_ends(stack, stack.offline, sets))
        stack.offline.unlink(missing_ok=True)
