"""An LLM's stand-in that speaks OpenAI's, Anthropic's and Google's wire formats.

Without a script it answers "You said: …", and calls a tool that a request obliges it to. Its tokens are simple and
exact: what the model reads of a request (instructions, messages, tools) as compact UTF-8 JSON, what it says as
UTF-8, a token for every 4 bytes begun. ``scripts.py`` says how to script it, ``control.py`` how to steer it.
"""
