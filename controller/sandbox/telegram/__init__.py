"""Telegram's stand-in: the part of the Bot API that bots of private chats use, by long polling."""
