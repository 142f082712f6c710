"""Randomness around a snapshot: none before it, fresh after it.

Whatever is drawn while a worker's top level runs is the same in every isolate restored
from its snapshot. So

    rules        refuse what draws, while a top level runs, and say where and what instead
    refusal      those messages
    allowances   draws that are known to be harmless: hash seeds, keys of a library's own
    generators   what is seeded anew in every isolate: `random`, and the worker's generators
    leaks        finds what was drawn all the same and is held by a variable

The host refuses as well, for whatever does not pass through here (C, Rust), and what it
gives to allowed draws is poison: bytes it recognises in memory.
"""
