"""After the grant: recorder, leftover, reconciliation. Nothing here can slow or stop a claim."""
