"""What a control request may carry, and how it is read."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from controller.sandbox.documents import Document
from controller.sandbox.telegram.bots import Town
from controller.sandbox.telegram.faults import Fault


class Body(BaseModel):
    """A request's JSON; a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class NewBot(Body):
    """What BotFather asks for; ``can_manage_bots`` is his Bot Management Mode."""

    username: str
    name: str = Field(min_length=1, max_length=64)
    can_manage_bots: bool = False
    owner_id: int | None = None


class NewManagedBot(Body):
    """What a person confirms on a manager's link, or with ``request_id`` at its keyboard button."""

    manager: str
    user_id: int = Field(gt=0)
    username: str
    name: str = Field(min_length=1, max_length=64)
    request_id: int | None = None


class Changed(Body):
    """What BotFather changes of a bot; what is left out stays."""

    can_manage_bots: bool | None = None
    owner_id: int | None = Field(default=None, gt=0)


class Person(Body):
    """A person's account; what is left out stays as it was."""

    first_name: str | None = Field(default=None, min_length=1, max_length=64)
    last_name: str | None = Field(default=None, max_length=64)
    username: str | None = None
    language_code: str | None = None


class Written(Person):
    """A person's private message; ``/start <payload>`` is what a deep link sends."""

    user_id: int = Field(gt=0)
    text: str = Field(min_length=1, max_length=4096)


class Pressed(Body):
    """A person's press of an inline button."""

    user_id: int
    message_id: int
    data: str


class Shared(Body):
    """The people that a person picks at a ``request_users`` button."""

    user_id: int
    request_id: int
    user_ids: list[int]


class Reacted(Body):
    """A person's reaction to a message; None takes it back."""

    user_id: int
    message_id: int
    emoji: str | None


class Blocking(Body):
    """Whether a person lets the bot write."""

    blocked: bool


class Mischief(Body):
    """What happens to the bot's next updates: so many get lost, so many then come twice, all are held so long."""

    drop: int = Field(default=0, ge=0)
    duplicate: int = Field(default=0, ge=0)
    delay_seconds: float = Field(default=0, ge=0, le=3600)


class Limited(Body):
    """Messages a second that a chat, and that a bot, may send; None is no limit."""

    per_chat_per_second: int | None = Field(default=None, ge=1)
    per_bot_per_second: int | None = Field(default=None, ge=1)


class Refusal(Body):
    """Calls to refuse: the next ``times`` that match; without ``bot_id`` or ``method``, any."""

    status: int = Field(ge=400, le=599)
    description: str
    retry_after: int | None = None
    bot_id: int | None = None
    method: str | None = None
    times: int = Field(default=1, ge=1)


BodyT = TypeVar("BodyT", bound=Body)


async def body(request: Request, model: type[BodyT]) -> BodyT:
    """The request's JSON. Raises Fault (422) that names the first wrong field."""
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as exc:
        problem = exc.errors(include_url=False)[0]
        raise Fault(422, f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from exc


def town(request: Request) -> Town:
    """The Telegram that the request is about."""
    found: Town = request.app.state.town
    return found


def bot(request: Request) -> Document:
    """The bot in the request's path. Raises Fault (404)."""
    return town(request).bot(request.path_params["id"])
