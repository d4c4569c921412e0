"""What tests stand on: model endpoints to talk to."""
