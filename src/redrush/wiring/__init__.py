"""Puts the parts together: the only place where the adapters of what serves are chosen.

`embedded` runs a whole event in one process; `roles` are the processes of the scaled form, of which `stack` runs many.
"""
