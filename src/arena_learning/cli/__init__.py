"""The command line: each command reads parameters, calls one function of a room, and prints.

Commands are imported when they run, so that `arena --help` is quick.
"""
