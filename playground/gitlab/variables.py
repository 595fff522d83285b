"""CI variables of projects and groups."""

from __future__ import annotations

from typing import Any

from playground.gitlab import views
from playground.gitlab.http import ApiError, Call, Reply, Routes, not_found
from playground.gitlab.labels import place
from playground.gitlab.records import (
    MAINTAINER,
    Variable,
)

routes = Routes()


def _variable(call: Call) -> Variable:
    scope = (call.params.get("filter") or {}) if isinstance(call.params.get("filter"), dict) else {}
    wanted = scope.get("environment_scope")
    for variable in place(call).variables:
        if variable.key == call.path["key"] and wanted in (None, variable.environment_scope):
            return variable
    raise not_found("Variable")


def _fill_variable(call: Call, variable: Variable) -> None:
    variable.value = call.text("value", variable.value)
    variable.variable_type = call.text("variable_type", variable.variable_type)
    variable.environment_scope = call.text("environment_scope", variable.environment_scope)
    for name in ("protected", "masked", "raw"):
        setattr(variable, name, call.flag(name, getattr(variable, name)))
    if call.flag("masked_and_hidden"):
        variable.masked = variable.hidden = True
    if "description" in call.params:
        variable.description = call.params["description"]
    if variable.masked and (len(variable.value) < 8 or len(variable.value.split()) != 1):
        raise ApiError(400, {"message": {"value": ["is invalid"]}})


async def list_variables(call: Call) -> Any:
    return [views.variable(v) for v in place(call).variables]


async def create_variable(call: Call) -> Any:
    where = place(call)
    call.need("key")
    variable = Variable(key=call.text("key"), value="")
    _fill_variable(call, variable)
    taken = {(v.key, v.environment_scope) for v in where.variables}
    if (variable.key, variable.environment_scope) in taken:
        raise ApiError(400, {"message": {"key": [f"({variable.key}) has already been taken"]}})
    where.variables.append(variable)
    return views.variable(variable)


async def one_variable(call: Call) -> Any:
    return views.variable(_variable(call))


async def update_variable(call: Call) -> Any:
    variable = _variable(call)
    _fill_variable(call, variable)
    return views.variable(variable)


async def remove_variable(call: Call) -> Any:
    place(call).variables.remove(_variable(call))
    return Reply(status=204)


for _base in ("/projects/{id}", "/groups/{id}"):
    routes.get(f"{_base}/variables", MAINTAINER)(list_variables)
    routes.post(f"{_base}/variables", MAINTAINER)(create_variable)
    routes.get(f"{_base}/variables/{{key}}", MAINTAINER)(one_variable)
    routes.put(f"{_base}/variables/{{key}}", MAINTAINER)(update_variable)
    routes.delete(f"{_base}/variables/{{key}}", MAINTAINER)(remove_variable)
