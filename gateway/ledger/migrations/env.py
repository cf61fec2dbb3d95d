"""What Alembic runs to migrate: on the connection, and in the transaction, that it is handed."""

from alembic import context

if hasattr(context, "config"):  # not so when this is imported like any module
    context.configure(connection=context.config.attributes["connection"])
    context.run_migrations()
