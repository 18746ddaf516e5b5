"""The pages' words, in English and Brazilian Portuguese."""

from __future__ import annotations

WORDS: dict[str, dict[str, str]] = {
    "en": {
        "lang": "en", "sandbox": "Sandbox", "title": "Telegram stand-in",
        "explained": "This is not Telegram. Nothing that is written here leaves this machine.",
        "chats": "Chats", "bots": "Bots", "people": "People", "you": "You are", "choose": "Who is chatting?",
        "as_person": "Chat as this person", "new_person": "New person", "name": "Name", "id": "Telegram ID",
        "optional": "optional", "language": "Language", "add": "Add", "no_bots": "No bot was made yet.",
        "no_people": "Nobody has an account yet.", "bot": "bot", "typing": "typing…", "busy": "sending a file…",
        "blocked_status": "blocked", "message": "Message", "send": "Send", "attach": "Attach a file",
        "commands": "Commands", "block": "Block bot", "restart": "Restart bot", "back": "Back", "reload": "Reload",
        "empty": "No messages here yet.", "edited": "edited", "you_blocked": "You blocked this bot.",
        "restricted": "This bot's owner lets only some people write to it.", "newbot": "Create a bot",
        "newbot_why": "wants to manage a bot of yours. It will be able to use and to replace the bot's token.",
        "username": "Username", "create": "Create bot", "cancel": "Cancel", "made": "created",
        "shared_users": "shared", "shared_contact": "shared their phone number", "pick": "IDs, separated by commas",
        "share": "Share", "botfather": "BotFather", "token_is": "Use this token to access the HTTP API:",
        "token_keep": "Keep your token secure; whoever has it controls the bot.",
        "new_token": "Revoke and replace token",
        "manages": "may manage bots", "revoked": "token revoked", "managed_by": "managed by", "open": "Open chat",
        "done": "Done! Congratulations on your new bot.", "replaced": "The old token no longer works.",
        "unsupported": "Not available in the sandbox", "copy": "Copy", "file": "File", "error": "That did not work",
    },
    "pt-BR": {
        "lang": "pt-BR", "sandbox": "Sandbox", "title": "Telegram de testes",
        "explained": "Isto não é o Telegram. Nada do que for escrito aqui sai desta máquina.",
        "chats": "Conversas", "bots": "Bots", "people": "Pessoas", "you": "Você é", "choose": "Quem está conversando?",
        "as_person": "Conversar como esta pessoa", "new_person": "Nova pessoa", "name": "Nome", "id": "ID do Telegram",
        "optional": "opcional", "language": "Idioma", "add": "Adicionar", "no_bots": "Nenhum bot foi criado ainda.",
        "no_people": "Ninguém tem conta ainda.", "bot": "bot", "typing": "digitando…", "busy": "enviando um arquivo…",
        "blocked_status": "bloqueado", "message": "Mensagem", "send": "Enviar", "attach": "Anexar um arquivo",
        "commands": "Comandos", "block": "Bloquear bot", "restart": "Reiniciar bot", "back": "Voltar",
        "reload": "Recarregar", "empty": "Nenhuma mensagem ainda.", "edited": "editada",
        "you_blocked": "Você bloqueou este bot.",
        "restricted": "O dono deste bot só deixa algumas pessoas escreverem.", "newbot": "Criar um bot",
        "newbot_why": "quer gerenciar um bot seu. Ele poderá usar e trocar o token do bot.",
        "username": "Nome de usuário", "create": "Criar bot", "cancel": "Cancelar", "made": "criado",
        "shared_users": "compartilhou", "shared_contact": "compartilhou o telefone",
        "pick": "IDs, separados por vírgula",
        "share": "Compartilhar", "botfather": "BotFather", "token_is": "Use este token para acessar a API HTTP:",
        "token_keep": "Guarde o token com cuidado; quem o tem controla o bot.",
        "new_token": "Revogar e trocar o token", "manages": "pode gerenciar bots", "revoked": "token revogado",
        "managed_by": "gerenciado por", "open": "Abrir conversa", "done": "Pronto! Parabéns pelo novo bot.",
        "replaced": "O token antigo não funciona mais.", "close": "Fechar", "unsupported": "Indisponível no sandbox",
        "copy": "Copiar", "file": "Arquivo", "error": "Não funcionou",
    },
}  # fmt: skip


def of(accept_language: str) -> dict[str, str]:
    """The words in the language that the browser likes best, of those that we have; English otherwise."""
    ranked: list[tuple[float, str]] = []
    for part in accept_language.split(","):
        tag, _, quality = part.strip().partition(";q=")
        try:
            ranked.append((float(quality or 1), tag.lower()))
        except ValueError:
            continue
    for weight, tag in sorted(ranked, key=lambda one: -one[0]):
        if weight > 0 and tag.split("-")[0] in ("pt", "en"):
            return WORDS["pt-BR" if tag.startswith("pt") else "en"]
    return WORDS["en"]
