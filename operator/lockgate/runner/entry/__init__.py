"""One entry into env.py, which is never edited: its connections, the fence, each revision."""
