"""The `arena` command: one thin command per file, imported when it is called."""
