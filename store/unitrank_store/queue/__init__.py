"""The RQ queues and the order in which tenants take turns."""
