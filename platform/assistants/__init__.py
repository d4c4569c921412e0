"""The assistants that come with Countersign. They stand on the runtime like anybody's own."""
