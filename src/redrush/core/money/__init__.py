"""Money in minor units: amounts, splitting, and the double-entry ledger's rules."""
