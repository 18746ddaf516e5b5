"""Telegram's stand-in: the Bot API for private chats, BotFather, and the customer's side of a chat.

The Bot API is at ``/bot<token>/<method>``, a person's chats at ``/``, and tests steer both below ``/_control``.
Its root also stands for ``https://t.me``: ``/<bot>?start=<payload>`` and ``/newbot/<manager>/<username>?name=<name>``.
"""
