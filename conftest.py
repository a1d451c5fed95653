"""For the tests of the core and of all plugins: no network, and one thread for each process."""

from __future__ import annotations

import gc
import os

# Read when libraries are imported. Threads of two processes that share a core wait for one another.
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

import transformers

transformers.logging.disable_progress_bar()


def pytest_collection_finish() -> None:
    """What is imported by now stays for good: a collection, of which a session makes many, need not
    look through all of it.
    """
    gc.collect()
    gc.freeze()
