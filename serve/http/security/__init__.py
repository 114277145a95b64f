"""Who may ask for what: keys, tokens, hosts, origins, quotas, and the headers of every answer."""
