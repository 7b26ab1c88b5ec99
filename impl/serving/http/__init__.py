"""HTTP: routes, KServe v2, inputs, answers, errors, the server."""
