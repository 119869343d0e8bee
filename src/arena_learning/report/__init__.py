"""What a reader sees: tables, figures, an HTML page, and single battles in the terminal.

Importing this loads neither matplotlib nor Jinja.
"""
