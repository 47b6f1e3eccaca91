"""The admin API: accounts, sessions and keys of operators, and everything that they see, steer and prove, over HTTP.

It is a process of its own (`redrush console`) that holds no truth: it asks the control port, and reads records and
files.
"""
