"""How fast Mafu is, as ratios to a floor measured in the same run.  ``python -m bench --help``.

A floor is the barest program that does the same work: no validation, no signatures, no abstraction.
Floor and Mafu take turns, round by round, so that whatever else the machine is doing slows both alike:
only the ratios travel to another machine.
"""
