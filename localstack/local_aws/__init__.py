"""A local AWS of plain processes: LocalStack, its backends, and functions run as processes.

`folders` says where things lie, `backends` puts the emulators where LocalStack looks for them,
`server` starts and stops all of it. `stack` deploys a pipeline with the real template, `expected`
computes what must come out. Run with the Python of the environment that
`localstack/install localstack` makes.
"""
