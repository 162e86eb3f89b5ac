"""What is said over HTTP: the contract as pydantic schemas, without any framework."""
