"""The translator: OpenAI's chat on a port of its own, in front of providers that speak otherwise.

A process apart, so that the proxy neither loads litellm nor waits for it. Nobody but the proxy may come in, and the
bodies that it sends are translated from a list of known parameters.
"""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import orjson
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from controller.core import clock, ids, metrics
from controller.core import log as logs
from controller.core.errors import CloudError, NotAllowed, Temporary
from controller.core.settings import SettingsError, load
from proxy import body, errors, sessions
from proxy.catalog import Model, Provider, Wire
from proxy.errors import BadRequest, Form, UnknownModel, UpstreamFailed, UpstreamSilent
from proxy.leaving import Connection, unless_left
from proxy.live import Live, Raw
from proxy.pieces import Spoken
from proxy.providers import Spelled, Talk, fault
from proxy.sessions import Patience
from proxy.settings import TranslatorSettings
from proxy.translation import Anthropic, Gemini, ProviderFault, Rest, Untranslatable

log = logs.get(__name__)

CLIENT_LEFT = 499
LOST = (aiohttp.ClientError, OSError, TimeoutError)
_ALONG = ("anthropic-version", "anthropic-beta")


class Busy(Temporary):
    """Raised when the process has as many calls as it may."""


class Translator:
    """One process's."""

    def __init__(self, settings: TranslatorSettings, session: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._session = session
        self._patience = Patience(settings.upstream_timeout, settings.upstream_idle)
        self._open = 0
        self._registry = metrics.registry()
        self._requests = Counter("translator_requests", "Answers by status", ["status"], registry=self._registry)
        self._turned_away = Counter("translator_turned_away", "Calls that were one too many", registry=self._registry)
        self._talks = {
            name: _talk(provider, session, self._patience)
            for name, provider in settings.llm_catalog.providers.items()
            if provider.translated
        }

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions`` as OpenAI has it; ``model`` is the catalog's name."""
        return await self._answered(self._chat(request), errors.spoken)

    async def messages(self, request: Request) -> Response:
        """``POST /v1/messages`` for Anthropic's own clients: passed through."""
        return await self._answered(self._messages(request), errors.messages_form)

    async def healthz(self, _: Request) -> Response:
        """200 while the process answers; it needs nobody else."""
        return Response(b'{"status":"ok"}', media_type="application/json")

    async def metrics(self, _: Request) -> Response:
        """Prometheus' text format."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    async def _answered(self, work: Any, form: Form) -> Response:
        try:
            response: Response = await work
        except ProviderFault as told:
            response = self._refused(told, form)
        except CloudError as error:
            response = errors.answer(error, form)
        except ClientDisconnect:
            response = Response(status_code=CLIENT_LEFT)
        self._requests.labels(response.status_code).inc()
        return response

    async def _chat(self, request: Request) -> Response:
        given, name, model = await self._asked(request)
        _check(given)
        talk, key = self._talks[model.provider], self._key(model)
        stream = given.get("stream") is True
        wants_usage = stream and (given.get("stream_options") or {}).get("include_usage") is True
        spoken = Spoken(ids.new(), name, int(clock.now().timestamp()), wants_usage)
        own = model.model or name
        self._enter()
        try:
            if stream:
                pieces = talk.stream(own, given, key)
                live = Live(pieces, spoken, self._leave, self._event)
                await unless_left(request.scope, _kept(live.begin()))
                return live
            piece = await unless_left(request.scope, _kept(talk.whole(own, given, key)))
        except BaseException:
            self._leave()
            raise
        self._leave()
        return Response(spoken.whole(piece), media_type="application/json")

    async def _messages(self, request: Request) -> Response:
        given, name, model = await self._asked(request)
        provider = self._settings.llm_catalog.providers[model.provider]
        if provider.wire is not Wire.ANTHROPIC:
            raise UnknownModel("model_not_here", model=name)
        along = {header: request.headers[header] for header in _ALONG if header in request.headers}
        headers = {"anthropic-version": "2023-06-01", **along, "x-api-key": self._key(model)}
        content = orjson.dumps({**given, "model": model.model or name})
        self._enter()
        try:
            timeout = self._patience.of(stream=given.get("stream") is True)
            work = self._posted(f"{provider.base_url}/v1/messages", content, headers, timeout)
            raw = Raw(await unless_left(request.scope, _kept(work)), self._leave)
        except BaseException:
            self._leave()
            raise
        return raw

    async def _posted(
        self, url: str, content: bytes, headers: dict[str, str], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        sent = {**headers, "content-type": "application/json"}
        response = await self._session.post(url, data=content, headers=sent, timeout=timeout, allow_redirects=False)
        if response.status != 200:
            told = await response.read()
            response.close()
            raise fault(response.status, told, response.headers)
        return response

    async def _asked(self, request: Request) -> tuple[dict[str, Any], str, Model]:
        """The body, and the model that it names. Raises NotAllowed, BadRequest, UnknownModel."""
        token = self._settings.translator_token.get_secret_value()
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not hmac.compare_digest(shown.encode(), token.encode()):
            raise NotAllowed("token_refused")
        try:
            given = orjson.loads(await body.read(request))
        except orjson.JSONDecodeError as exc:
            raise BadRequest("body_not_json") from exc
        if not isinstance(given, dict):
            raise BadRequest("messages_missing")
        name = given.get("model")
        model = self._settings.llm_catalog.models.get(name) if isinstance(name, str) else None
        if not isinstance(name, str) or model is None or model.provider not in self._talks:
            raise UnknownModel("model_not_here")
        return given, name, model

    def _key(self, model: Model) -> str:
        entry = self._settings.llm_catalog.providers[model.provider].key or model.provider
        return self._settings.translated_keys[entry].get_secret_value()

    def _enter(self) -> None:
        if self._open >= self._settings.translator_most:
            self._turned_away.inc()
            raise Busy("translator_busy", retry_after=timedelta(seconds=1))
        self._open += 1

    def _leave(self) -> None:
        self._open -= 1

    def _refused(self, told: ProviderFault, form: Form) -> Response:
        """The provider's refusal, or ours where it is our key that it refuses."""
        if told.status in (401, 403) or told.status < 400:
            return errors.answer(UpstreamFailed("upstream_refused_us", status=told.status), form)
        status = 503 if told.status == 529 else told.status  # Anthropic's own, for being overloaded
        response = form(status, self._blotted(told.message), "upstream_error")
        if told.retry_after is not None:
            response.headers["retry-after"] = told.retry_after
        return response

    def _event(self, told: ProviderFault) -> bytes:
        content = bytes(errors.spoken(told.status, self._blotted(told.message), "upstream_error").body)
        return b"data: " + content + b"\n\n"

    def _blotted(self, message: str) -> str:
        for secret in self._settings.translated_keys.values():
            message = message.replace(secret.get_secret_value(), "***")
        return message


async def _kept(work: Any) -> Any:
    """The result of ``work``, whose errors are told in our words."""
    try:
        return await work
    except Untranslatable as exc:
        raise ProviderFault(400, str(exc)[:500]) from exc
    except TimeoutError as exc:
        raise UpstreamSilent("upstream_silent") from exc
    except LOST as exc:
        raise UpstreamFailed("upstream_unreachable") from exc


def _check(given: dict[str, Any]) -> None:
    """Return if the body is a chat that can be translated. Raises BadRequest."""
    messages = given.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise BadRequest("messages_missing")
    if given.get("n") not in (None, 1):
        raise BadRequest("choices_not_supported")
    for message in messages:
        for part in message["content"] if isinstance(message.get("content"), list) else ():
            _check_part(part)


def _check_part(part: Any) -> None:
    """A picture must be in the body: nothing here fetches an address that a customer names."""
    if not isinstance(part, dict) or part.get("type") not in ("text", "image_url", "refusal"):
        raise BadRequest("content_not_supported")
    if part["type"] != "image_url":
        return
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str) or not url.startswith("data:image/"):
        raise BadRequest("image_address_not_allowed")


def _talk(provider: Provider, session: aiohttp.ClientSession, patience: Patience) -> Talk:
    if provider.wire is Wire.ANTHROPIC:
        return Spelled(Anthropic(), provider.base_url, session, patience)
    if provider.wire is Wire.GEMINI:
        return Spelled(Gemini(), provider.base_url, session, patience)
    return Rest(provider.vendor or "", provider.base_url, patience.longest)


def create(settings: TranslatorSettings) -> Starlette:
    """The application; its connections live as long as it does.

    Raises SettingsError if a provider's key is missing.
    """
    for provider, entry in settings.llm_catalog.keys(translated=True).items():
        if entry not in settings.translated_keys:
            reason = f"no {entry}, which {provider} needs"
            raise SettingsError("setting_wrong", variable="TRANSLATED_KEYS", reason=reason)
    app = Starlette(exception_handlers={HTTPException: errors.no_route})

    @contextlib.asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        async with sessions.opened() as session:
            translator = Translator(settings, session)
            app.router.routes[:] = [
                Route("/v1/chat/completions", translator.chat, methods=["POST"]),
                Route("/v1/messages", translator.messages, methods=["POST"]),
                Route("/healthz", translator.healthz),
                Route("/metrics", translator.metrics),
            ]
            yield

    app.router.lifespan_context = life
    return app


def run() -> None:
    """Serve until stopped; settings come from the environment."""
    logs.configure("translator")
    settings = load(TranslatorSettings)
    uvicorn.run(
        create(settings),
        host=settings.translator_host,
        port=settings.translator_port,
        loop="uvloop",
        http=Connection,
        log_level="warning",
        access_log=False,
        timeout_keep_alive=75,  # longer than the proxy keeps idle connections, so that it closes first
        timeout_graceful_shutdown=30,
    )
