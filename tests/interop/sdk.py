"""What CloudEvents' official SDK for Python makes of our messages, and messages that it writes.

An array of messages in JSON comes in, each with content_type, headers and body_base64. One object goes
out: `read` holds the attributes and the data of each, `written` messages in the same form.
"""

import base64
import json
import sys
from datetime import datetime, timezone

from cloudevents.core.bindings.amqp import (
    AMQPMessage,
    from_amqp,
    to_binary,
    to_structured,
)
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

ATTRIBUTES = {
    "specversion": "1.0",
    "id": "A-1",
    "source": "https://shop.example/till",
    "type": "orders.order-placed",
    "subject": "tea",
    "dataschema": "https://schemas.example/1",
    "partitionkey": "order-7",
    "correlationid": "txn-1",
    "express": True,
    "count": 7,
}

EVENTS = {
    "json": ("application/json", {"name": "ä🍋"}),
    "text": ("text/plain", "tea ä"),
    "bytes": ("application/octet-stream", bytes([0, 255, 1])),
}


def read(message: dict) -> dict:
    body = base64.b64decode(message["body_base64"])
    properties = {"content-type": message["content_type"]}
    sent = AMQPMessage(properties, message["headers"], body)
    # The event is validated as it is made.
    event = from_amqp(sent, JSONFormat(), CloudEvent)
    data = event.get_data()
    seen = {"attributes": event.get_attributes(), "data": data}
    if isinstance(data, bytes):
        seen["data"], seen["data_base64"] = None, base64.b64encode(data).decode()
    return seen


def write(name: str, media_type: str, data: dict | str | bytes) -> list[dict]:
    time = datetime(2026, 3, 4, 5, 6, 7, 123000, timezone.utc)
    attributes = {**ATTRIBUTES, "time": time, "datacontenttype": media_type}
    event = CloudEvent(attributes, data)
    sent = [to_binary(event, JSONFormat()), to_structured(event, JSONFormat())]
    return [
        {
            "name": name,
            "content_type": message.properties["content-type"],
            "headers": message.application_properties,
            "body_base64": base64.b64encode(message.application_data).decode(),
        }
        for message in sent
    ]


def main() -> None:
    messages = json.load(sys.stdin)
    written = [one for name, event in EVENTS.items() for one in write(name, *event)]
    seen = {"read": [read(message) for message in messages], "written": written}
    json.dump(seen, sys.stdout, default=lambda moment: moment.isoformat())


if __name__ == "__main__":
    main()
