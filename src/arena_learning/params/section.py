"""The base class and types that all sections of params.yaml share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from arena_learning.params.names import check_name

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
Name = Annotated[str, BeforeValidator(check_name)]

SPLITS = tuple(f"d{i}" for i in range(10))
NONE = "none"


class Section(BaseModel):
    """Base of all sections: frozen; unknown keys, infinities and NaN are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
