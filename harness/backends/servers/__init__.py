"""Models behind an interface: OpenAI's (also vLLM, SGLang, Ollama ...), Anthropic's, Google's.

`replies` reads what servers send, `meanings` says what it means, and runs and loads share both.
"""
