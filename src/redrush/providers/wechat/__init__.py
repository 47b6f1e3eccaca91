"""WeChat Pay, API v3: pay-in (Native, JSAPI), refunds, the merchant transfer of 2025. Needs the extra `payments`."""
