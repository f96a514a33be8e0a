"""The KV cache of one stream: storage, what stays in it, and where its tokens stand."""
