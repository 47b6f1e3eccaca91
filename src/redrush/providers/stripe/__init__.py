"""Stripe: checkout, refunds, and transfers to connected accounts. Needs the extra `stripe`."""
