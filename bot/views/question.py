"""A question to the person who asked, and what came of it."""

from __future__ import annotations

from agent.run import RunStatus
from agent.state import RunState
from bot.views import blocks as b
from bot.views import text as t
from bot.views import words as w
from bot.views.blocks import Message

_BUTTONS = 4


def question(state: RunState, links: w.Links) -> Message:
    """The newest question of a run that has asked one."""
    asked = state.asked
    if asked is None:
        raise ValueError(f"run {state.run} has asked nothing")
    standing = state.question is not None and state.status is RunStatus.WAITING_FOR_ANSWER
    listed = asked.choices if len(asked.choices) > _BUTTONS else ()
    return b.message(
        f"question:{state.run}.{state.question_seq}",
        state.seq,
        _sentence(state, standing),
        {
            "head": b.section(_head(state, standing)),
            "question": b.rich_text(
                "\n".join((asked.question, *(f"- {choice}" for choice in listed)))
            ),
            "choices": b.actions(*_choices(state)) if standing else None,
            "foot": b.context(_foot(state, standing)),
        },
        more=links.run(state.run),
    )


def _sentence(state: RunState, standing: bool) -> str:
    asked = t.quoted(state.asked.question, 300) if state.asked else ""
    if standing:
        return f"@{w.name(state)}, run {state.run} has a question: {asked}"
    if state.answered:
        return f"Answered by @{t.quoted(state.answered.by.name, 40)}: {asked}"
    return f"No longer needed: {asked}"


def _head(state: RunState, standing: bool) -> str:
    asker = t.user(state.request.requester.id)
    if standing:
        return f"{asker} *I have a question before I go on:*"
    return "*Question answered*" if state.answered else "*Question, no longer needed*"


def _foot(state: RunState, standing: bool) -> str:
    if standing:
        how = "Press a button, or reply" if state.asked and state.asked.choices else "Reply"
        return f"{how} in this thread; no mention is needed. The run waits and uses nothing."
    if state.answered:
        said = t.quoted(state.answered.text, 300)
        return f"{t.user(state.answered.by.id)} answered: “{said}”"
    return "The run ended before it was answered."


def _choices(state: RunState) -> list[b.Element]:
    choices = state.asked.choices if state.asked else ()
    if len(choices) > _BUTTONS:
        return []
    return [
        b.button(
            choice,
            f"run_answer_{index}",
            f"{state.run}:{state.question_seq}:{index}",
            reads=f"Answer the question of run {state.run} with: {choice}",
        )
        for index, choice in enumerate(choices)
    ]
