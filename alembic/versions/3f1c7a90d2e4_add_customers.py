"""add customers

Revision ID: 3f1c7a90d2e4
Revises:
Create Date: 2026-01-12 09:30:00
"""

import sqlalchemy as sa
from alembic import op

revision = "3f1c7a90d2e4"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "customers",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("email", sa.Text, nullable=False, unique=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )


def downgrade() -> None:
    op.drop_table("customers")
