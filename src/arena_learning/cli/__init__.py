"""The command line: each command reads the parameters, calls one function, and prints the result.

Commands are imported when they run, so that `arena --help` is quick.
"""
