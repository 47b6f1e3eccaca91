"""`redrush sandbox`: a provider, wallet and shop over real HTTP that misbehaves on request. It moves no money."""
