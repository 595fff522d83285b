"""Chat Completions of any OpenAI-compatible endpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from agent.errors import ContextOverflow, ModelRejected, ModelUnavailable, QuotaExhausted
from agent.ports import Answer, Message, ToolCall, ToolSpec
from agent.run import Usage

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI
    from openai.types.chat import ChatCompletion

#: A call that takes longer is given up and tried again; the library's own default is 600 s.
TIMEOUT = 120.0

_Finish = Literal["stop", "tool_calls", "length", "content_filter"]
_FINISHES: Mapping[str, _Finish] = {
    "stop": "stop",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "length": "length",
    "content_filter": "content_filter",
}


@dataclass(frozen=True, kw_only=True)
class Price:
    """US dollars for a million tokens."""

    prompt: float
    cached: float
    completion: float

    def of(self, usage: Usage) -> float:
        fresh = usage.prompt_tokens - usage.cached_tokens
        money = fresh * self.prompt + usage.cached_tokens * self.cached
        return (money + usage.completion_tokens * self.completion) / 1_000_000


@dataclass(kw_only=True)
class OpenAIModel:
    """Implements `agent.ports.Model`. Opening it connects to nothing."""

    name: str
    api_key: str = field(repr=False)
    base_url: str | None = None
    window: int = 128_000
    windows: Mapping[str, int] = field(default_factory=dict[str, int])  #: of models by name
    prices: Mapping[str, Price] = field(default_factory=dict[str, Price])
    timeout: float = TIMEOUT
    _client: AsyncOpenAI | None = field(default=None, init=False, repr=False)

    async def __aenter__(self) -> Self:
        from openai import AsyncOpenAI

        self._client = AsyncOpenAI(
            api_key=self.api_key,
            base_url=self.base_url,
            timeout=self.timeout,
            max_retries=0,  # the loop retries, and tells the thread
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    def window_of(self, model: str | None) -> int:
        return self.windows.get(model or self.name, self.window)

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, model: str | None = None
    ) -> Answer:
        import openai
        from openai.types.chat import ChatCompletion

        if self._client is None:
            raise RuntimeError("the model is not open")
        began = time.monotonic()
        arguments: dict[str, Any] = {
            "model": model or self.name,
            "messages": [encode(message) for message in messages],
        }
        if tools:
            arguments["tools"] = [encode_tool(tool) for tool in tools]
        try:
            # `chat.completions.create` goes through every value of the conversation each time,
            # which takes longer than everything else between two answers
            completion = await self._client.post(
                "/chat/completions", body=arguments, cast_to=ChatCompletion
            )
        except openai.APITimeoutError as error:
            raise ModelUnavailable(
                f"The model provider did not answer within {self.timeout:.0f} s."
            ) from error
        except openai.APIConnectionError as error:
            raise ModelUnavailable("The model provider cannot be reached.") from error
        except openai.APIStatusError as error:
            raise translate(error, model or self.name) from error
        except (openai.APIResponseValidationError, ValueError) as error:
            raise ModelUnavailable(
                "The model provider answered with something unreadable."
            ) from error
        return self._decode(completion, model or self.name, time.monotonic() - began)

    def _decode(self, completion: ChatCompletion, asked: str, seconds: float) -> Answer:
        # a gateway that answers 200 with an error body gives an object without choices
        choices: list[Any] = getattr(completion, "choices", None) or []
        if not choices:
            raise ModelUnavailable("The model provider answered without a choice.")
        choice = choices[0]
        message = choice.message
        calls = tuple(
            ToolCall(
                id=call.id or f"call_{position}",
                name=call.function.name or "",
                arguments=call.function.arguments or "",
            )
            for position, call in enumerate(message.tool_calls or ())
            if getattr(call, "function", None) is not None
        )
        refusal: str | None = getattr(message, "refusal", None)
        finish = _FINISHES.get(choice.finish_reason or "", "tool_calls" if calls else "stop")
        if refusal and not calls:
            finish = "content_filter"
        usage = self._usage(completion, asked, seconds)
        return Answer(
            message=Message(
                role="assistant", content=message.content or refusal or None, tool_calls=calls
            ),
            finish=finish,
            usage=usage,
            model=completion.model or asked,
        )

    def _usage(self, completion: ChatCompletion, asked: str, seconds: float) -> Usage:
        told = completion.usage
        cached = 0
        if told is not None and told.prompt_tokens_details is not None:
            cached = told.prompt_tokens_details.cached_tokens or 0
        usage = Usage(
            steps=1,
            prompt_tokens=told.prompt_tokens if told else 0,
            cached_tokens=cached,
            completion_tokens=told.completion_tokens if told else 0,
            seconds=seconds,
        )
        price = self.prices.get(completion.model or "") or self.prices.get(asked)
        if price is None:
            return usage
        return usage + Usage(money=price.of(usage))


def encode(message: Message) -> dict[str, Any]:
    """The message as Chat Completions wants it; the same message gives the same keys in order."""
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return body


def encode_tool(tool: ToolSpec) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        },
    }


def translate(error: APIStatusError, model: str) -> ModelUnavailable | ModelRejected:
    """OpenAI's error codes: https://platform.openai.com/docs/guides/error-codes."""
    code, said = error.code or "", told_by(error)
    match error.status_code:
        case 429 if code == "insufficient_quota" or "insufficient_quota" in said:
            return QuotaExhausted(
                "The account behind the model key has no credit left. "
                "Add credit or another key, then retry."
            )
        case 401 | 403:
            return ModelRejected(
                f"The model provider refused the key ({error.status_code}). "
                "Check OPENAI_API_KEY and OPENAI_BASE_URL."
            )
        case 404:
            return ModelRejected(
                f"The model provider does not know the model {model!r}: {said} "
                "Check JOURNEYMAN_MODEL and OPENAI_BASE_URL."
            )
        case 400 | 413 | 422 if _overflow(code, said):
            return ContextOverflow("The prompt is longer than the model's window.")
        case 408 | 409 | 429:
            return ModelUnavailable(
                f"The model provider asks for patience ({error.status_code}).",
                retry_after=_retry_after(error),
            )
        case status if status >= 500:
            return ModelUnavailable(
                f"The model provider is not answering ({status}).", retry_after=_retry_after(error)
            )
        case status:
            return ModelRejected(f"The model provider refused the request ({status}): {said}")


def told_by(error: APIStatusError) -> str:
    return " ".join(error.message.split())[:300]


def _overflow(code: str, said: str) -> bool:
    told = said.lower()
    return code == "context_length_exceeded" or any(
        words in told
        for words in (
            "context length",
            "context window",
            "maximum context",
            "too many tokens",
            "prompt is too long",
        )
    )


def _retry_after(error: APIStatusError) -> float | None:
    value = error.response.headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= 3600 else None
