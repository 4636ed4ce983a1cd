"""One module per step, holding one keyword-only function of the same name.

A step reads files, calls ``core`` and writes files and metrics; its signature is its command line.
"""
