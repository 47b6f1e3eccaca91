"""The way from the console to an event: its control port, found anew whenever it has moved, and its files.

What is asked again and again has a second and then counts as away; nobody waits for it twice. An order of a person goes
the way that a command's goes (`redrush.operate.switching`): to the server, or to the files where none runs.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.config import DeploymentFile, load_deployment_file
from redrush.control.campaigns import directory_of, load_listings
from redrush.control.control_access import load_address, load_token
from redrush.control.data_dir import DataDir
from redrush.control.event import load_campaign
from redrush.control.orders import BoardOrder, ReadLog, request_of
from redrush.errors import ConfigError, RedrushError
from redrush.http.ask import ControlAddress, ControlUnreachable, ask
from redrush.operate.campaigns import list_campaigns
from redrush.operate.switching import Holder, operate, operate_deployment
from redrush.wiring.control_tls import control_role_of

LIVE_MAX_S: Final = 1.0
ORDER_MAX_S: Final = 10.0


class EventLink:
    """One campaign, as the console reaches it."""

    def __init__(self, data_dir: DataDir, deploy: Path | None = None) -> None:
        """`deploy`: the deployment file that says where its roles are; None: that in the directory, if there is one."""
        self.data_dir = data_dir
        self._deploy = deploy or (data_dir.deployment if data_dir.deployment.exists() else None)
        self._said_deploy = deploy

    @property
    def deployment_path(self) -> Path | None:
        """The deployment file; None: one process serves it."""
        return self._deploy

    @property
    def deployment(self) -> DeploymentFile | None:
        """The deployment that serves it; None: one process. ConfigError if its file cannot be read."""
        return None if self._deploy is None else load_deployment_file(self._deploy)

    def address(self) -> ControlAddress:
        """Return where its control port is now. ConfigError if no server has said so."""
        deployment = self.deployment
        return load_address(self.data_dir) if deployment is None else control_role_of(deployment)

    def processes(self) -> Mapping[str, ControlAddress]:
        """Return where each process tells its figures, by name. ConfigError as `address`."""
        deployment = self.deployment
        if deployment is None:
            return {"server": msgspec.structs.replace(self.address(), prefix="/v1")}
        control = msgspec.structs.replace(control_role_of(deployment), prefix="/v1")
        if deployment.processes:
            named = {name: ControlAddress(one.host, one.port) for name, one in deployment.processes.items()}
            return {**named, "control": control}
        return {"control": control, **_by_the_tables(deployment)}

    async def get(self, path: str, address: ControlAddress | None = None) -> dict[str, Any]:
        """Return the fields of a GET, within a second. RedrushError if it is not answered, or refused."""
        address = self.address() if address is None else address
        answered = await ask(address, load_token(self.data_dir), "GET", path, None, LIVE_MAX_S)
        if answered.status != 200:
            raise RedrushError(str(answered.fields.get("detail", f"{path} is answered with {answered.status}")))
        return answered.fields

    async def read(self, order: BoardOrder) -> dict[str, Any]:
        """Return the answer to a question: the server's, or what the files say where none runs, with "live"."""
        request = request_of(order)
        try:
            if request.method == "GET":
                return {**await self.get(request.path), "live": True}
        except (ControlUnreachable, ConfigError):
            if self._said_deploy is not None:
                raise  # its files are elsewhere
        return await self.carry_out(order, Holder())

    async def carry_out(self, order: BoardOrder, holder: Holder) -> dict[str, Any]:
        """Do what a person orders, as a command would. RedrushError if it is refused, or cannot be done."""
        if self._said_deploy is not None:
            return await asyncio.to_thread(operate_deployment, self._said_deploy, order, holder, ORDER_MAX_S)
        return await asyncio.to_thread(operate, self.data_dir, order, holder)

    async def audit(self) -> list[dict[str, Any]]:
        """Return the newest entries of the switches' log, oldest first."""
        return list((await self.read(ReadLog()))["entries"])


class Links:
    """The campaigns of one directory or deployment, each with its link."""

    def __init__(self, data_dir: DataDir, deploy: Path | None = None) -> None:
        self.data_dir = data_dir
        self.first = EventLink(data_dir, deploy)
        self._deploy = deploy

    def campaigns(self) -> list[dict[str, Any]]:
        """Return every campaign, the first one first, as `redrush campaign list` does."""
        return list_campaigns(self.data_dir)

    def of(self, campaign: str | None) -> EventLink:
        """Return the link of a campaign; None, or "" as a form says it: the first one. ConfigError if there is no such
        campaign."""
        if not campaign or campaign == load_campaign(self.data_dir).id:
            return self.first
        if not any(one.id == campaign for one in load_listings(self.data_dir)):
            raise ConfigError(f'there is no campaign "{campaign}"')
        return EventLink(directory_of(self.data_dir, campaign))


def _by_the_tables(deployment: DeploymentFile) -> dict[str, ControlAddress]:
    """Return where the other roles' control ports are if all run on one machine: workers and recorders have the next
    ones."""
    gate, recorder = deployment.gate.control, deployment.controls["recorder"]
    first = {f"gate-{number + 1}": (gate, number) for number in range(deployment.gate.workers)}
    first |= {f"recorder-{spec.id}": (recorder, number) for number, spec in enumerate(deployment.sets)}
    first |= {role: (deployment.controls[role], 0) for role in ("settle", "query", "payments")}
    return {name: ControlAddress(at.host, at.port + number) for name, (at, number) in first.items()}
