"""An LLM's stand-in: OpenAI's chat completions with exact, deterministic usage and scripted replies."""
