"""What rules an event and is no claim: the directory with what is sealed, keys, the switchboard with its audit log, the
control API, and the wardens that decide which server of a set is the primary."""
