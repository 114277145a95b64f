"""Which loss for my data? Trains several losses alike, judges them, reports.

Stands on top of the other rooms and may know all of them; none of them knows it.
"""
