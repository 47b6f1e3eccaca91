"""Group packets at a gate: created and paid for, told of; how they are grabbed is in `redrush.gate.rush.group`."""
