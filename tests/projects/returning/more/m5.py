"""merge"""

revision = "m5"
down_revision = ("m4", "n4")
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
