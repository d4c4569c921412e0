"""Django's PostgreSQL engine, with pooled connections that are looked at for nothing before each use."""
