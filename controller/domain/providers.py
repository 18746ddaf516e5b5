"""The services that an agent can be connected to: the one list, and how an agent uses each of them.

``mcp``: tools that the gateway calls at ``<api>/mcp/<provider>``, where the platform adds the credential to each
request. ``native``: the service's own command or API; ``with-connection <provider> <command>`` runs the command with a
fresh credential in the variable that is named here. Neither way leaves a service's credential in the box.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.core.errors import NotFound

Text = dict[str, str]
"""A sentence by locale, ``en`` and ``pt-BR``."""


class Use(StrEnum):
    """How an agent uses a connection."""

    NATIVE = "native"
    MCP = "mcp"


class Status(StrEnum):
    """``needs_reconnect``: connected once, and the service no longer accepts it."""

    CONNECTED = "connected"
    NEEDS_RECONNECT = "needs_reconnect"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True)
class Provider:
    """One service: its key everywhere, its name for people, and how an agent uses it."""

    key: str
    name: str
    use: Use
    how: Text
    """What an agent has to know to use it while it is connected."""

    variable: str | None = None
    """Native only: the environment variable in which the service's own tools look for the credential."""


def _mcp(key: str, name: str, en: str, pt: str) -> Provider:
    tools = {
        "en": f"{en} Use the tools whose names begin with {key}__ (find them with tool search). In a shell: "
        f"mcporter list {key} --schema, then mcporter call {key}.TOOL name=value.",
        "pt-BR": f"{pt} Use as ferramentas cujos nomes começam com {key}__ (encontre-as na busca de ferramentas). No "
        f"terminal: mcporter list {key} --schema e depois mcporter call {key}.FERRAMENTA nome=valor.",
    }
    return Provider(key, name, Use.MCP, tools)


def _native(key: str, name: str, variable: str, en: str, pt: str) -> Provider:
    shell = {
        "en": f"{en} Put with-connection {key} in front of the command: it then has a fresh {variable} in its "
        "environment, and only it has. Never print the variable.",
        "pt-BR": f"{pt} Ponha with-connection {key} na frente do comando: só ele recebe um {variable} novo no "
        "ambiente. Nunca mostre o valor da variável.",
    }
    return Provider(key, name, Use.NATIVE, shell, variable)


PROVIDERS: dict[str, Provider] = {
    made.key: made
    for made in (
        _native(
            "github", "GitHub", "GH_TOKEN",
            "Repositories, issues and pull requests: git over https, and GitHub's REST API at api.github.com.",
            "Repositórios, issues e pull requests: git por https e a API REST do GitHub em api.github.com.",
        ),
        _mcp("google", "Google", "Mail, calendar and files in Drive.", "E-mail, agenda e arquivos do Drive."),
        _native(
            "slack", "Slack", "SLACK_BOT_TOKEN",
            "Channels and messages of the workspace: Slack's Web API at slack.com/api.",
            "Canais e mensagens do workspace: a API Web do Slack em slack.com/api.",
        ),
        _mcp("linear", "Linear", "Issues, projects and cycles.", "Issues, projetos e ciclos."),
        _native(
            "notion", "Notion", "NOTION_API_KEY",
            "Pages and databases that were shared: Notion's API at api.notion.com/v1, with a Notion-Version header.",
            "Páginas e bancos de dados compartilhados: a API do Notion em api.notion.com/v1, com o cabeçalho "
            "Notion-Version.",
        ),
        _mcp("jira", "Jira", "Issues, boards and sprints.", "Tarefas, quadros e sprints."),
    )
}  # fmt: skip
"""By key, in the order in which people see them."""

_NOT_USABLE: dict[Status, Text] = {
    Status.NEEDS_RECONNECT: {
        "en": "{name} no longer accepts this connection. Say so, and ask the person to reconnect {name} on the "
        "connections page; do not ask for a password or a token.",
        "pt-BR": "O {name} deixou de aceitar esta conexão. Diga isso e peça à pessoa que reconecte o {name} na página "
        "de conexões; não peça senha nem token.",
    },
    Status.DISCONNECTED: {
        "en": "{name} is not connected. If it would help, ask the person to connect {name} on the connections page; "
        "do not ask for a password or a token.",
        "pt-BR": "O {name} não está conectado. Se for útil, peça à pessoa que conecte o {name} na página de conexões; "
        "não peça senha nem token.",
    },
}


def get(key: str) -> Provider:
    """The provider of that key.

    Raises NotFound if we have none.
    """
    found = PROVIDERS.get(key)
    if found is None:
        raise NotFound("provider_unknown", provider=key[:40])
    return found


def how(provider: Provider, status: Status, locale: str) -> str:
    """What the agent should do about the provider now, in the box's language."""
    text = provider.how if status == Status.CONNECTED else _NOT_USABLE[status]
    return text.get(locale, text["en"]).format(name=provider.name)
