"""What makes load: generator processes with many sockets each, and what they and their coordinator say to each other.

Rule: nothing here parses what it does not need; a core that generates load is a core that the server does not have.
"""
