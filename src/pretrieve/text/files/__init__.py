"""Where bytes come from: folders, archives, addresses, packed files, and their encoding."""
