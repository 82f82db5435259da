"""The application's: what its models are based on."""

from sqlalchemy import MetaData

metadata = MetaData()
