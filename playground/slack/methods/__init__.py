"""The Web API's methods, by the names under which `/api/` serves them."""

from playground.slack.methods import chat, conversations, files, reactions, sessions, users, views
from playground.slack.methods.call import ApiError, Call, Method

METHODS: dict[str, Method] = {
    each.name: each
    for module in (chat, conversations, files, reactions, sessions, users, views)
    for each in module.METHODS
}

__all__ = ["METHODS", "ApiError", "Call", "Method"]
