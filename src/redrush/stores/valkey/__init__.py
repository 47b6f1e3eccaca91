"""The store on Valkey or Redis, for many gates; see `store` for the design and `library.lua` for the rules and keys."""

from redrush.core.sets.address import Address
from redrush.stores.valkey.establishing import establish_set
from redrush.stores.valkey.link import Access
from redrush.stores.valkey.search import ServerMisconfigured
from redrush.stores.valkey.store import ValkeyStore
from redrush.stores.valkey.terms import Terms

__all__ = ["Access", "Address", "ServerMisconfigured", "Terms", "ValkeyStore", "establish_set"]
