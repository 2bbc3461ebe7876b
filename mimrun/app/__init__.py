"""The use cases, one module for each noun: the only thing that the doors (cli, web, flows) call."""
