"""The endpoint that makes embeddings of code, as journeyman.toml names it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from bot.gatefile import STRICT
from bot.settings import EmbeddingSettings


class Embeddings(BaseModel):
    model_config = STRICT

    model: str = ""
    base_url: Annotated[str, StringConstraints(pattern=r"^(https?://.+)?$")] = ""
    dimensions: int | None = Field(default=None, gt=0, le=16_000)  # of a halfvec
    batch: int = Field(default=64, gt=0, le=2048)
    requests_per_minute: float = Field(default=600, gt=0)
    price: float = Field(default=0, ge=0)
    query_prefix: str = Field(default="", max_length=500)

    def settings(self) -> EmbeddingSettings:
        return EmbeddingSettings(
            base_url=self.base_url,
            dimensions=self.dimensions,
            batch=self.batch,
            requests_per_minute=self.requests_per_minute,
            price=self.price,
            query_prefix=self.query_prefix,
        )
