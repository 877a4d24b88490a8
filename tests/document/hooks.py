"""What schemathesis must know that is no fault of the document."""

import schemathesis


@schemathesis.hook
def map_body(_context, body):
    """To JSON Schema `1.0` is an integer, and to serde it is not."""
    if isinstance(body, dict):
        return {name: whole(value) for name, value in body.items()}
    return body


def whole(value):
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
