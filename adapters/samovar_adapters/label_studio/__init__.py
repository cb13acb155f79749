"""Label Studio: a backend for its smart tools, its JSON as a source and a sink, and whole projects encoded ahead."""
