"""Alipay: pay-in by QR code, page and mini program, refunds, transfers. Needs the extra `payments`."""
