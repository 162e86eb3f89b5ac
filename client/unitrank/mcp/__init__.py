"""The MCP server of `unitrank mcp`: assistants look at a service, and may start jobs on it."""
