"""Cannot be deployed: its top level raises."""


def connect(address):
    raise ConnectionError(f"cannot reach {address}")


DATABASE = connect("db.example:5432")
