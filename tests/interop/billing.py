"""A service that knows nothing of Mamey: it reads orders and publishes invoices, with pika alone.

billing.py URL FORM, where FORM is binary, structured or plain. It prints `ready` when it listens,
then what it read as one line of JSON, then publishes one invoice twice, as a sender that is not
sure would.
"""

import json
import sys
import uuid
from datetime import datetime, timezone

import pika
from cloudevents.core.bindings.amqp import (
    AMQPMessage,
    from_amqp,
    to_binary,
    to_structured,
)
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

EXCHANGE = "mamey"
SLOTS = 64
PATIENCE_SECONDS = 60


def slot_of(key: str) -> int:
    """FNV-1a of 64 bits, folded: where the messages of a key go."""
    value = 0xCBF29CE484222325
    for byte in key.encode():
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return ((value >> 32) ^ value) % SLOTS


def read(form: str, properties: pika.BasicProperties, body: bytes) -> dict:
    """What came, as the form's own library sees it."""
    headers = properties.headers or {}
    if form == "plain":
        return {"headers": headers, **json.loads(body)}
    message = AMQPMessage({"content-type": properties.content_type}, headers, body)
    event = from_amqp(message, JSONFormat())
    return {"attributes": event.get_attributes(), "data": event.get_data()}


def write(form: str, order_id: str) -> tuple[pika.BasicProperties, bytes]:
    """The invoice of an order."""
    data = {"order_id": order_id, "number": f"invoice of {order_id}"}
    name, message_id = "billing.invoiced", str(uuid.uuid4())
    if form == "plain":
        message = {
            "sender": "billing",
            "target": "MSG_SERVICE_ANY",
            "type": name,
            "payload": data,
        }
        properties = pika.BasicProperties(
            message_id=message_id,
            content_type="application/json",
            headers={"partitionkey": order_id},
            delivery_mode=2,
        )
        return properties, json.dumps(message).encode()
    attributes = {
        "specversion": "1.0",
        "id": message_id,
        "source": "billing",
        "type": name,
        "time": datetime.now(timezone.utc),
        "datacontenttype": "application/json",
        "partitionkey": order_id,
    }
    encode = to_binary if form == "binary" else to_structured
    message = encode(CloudEvent(attributes, data), JSONFormat())
    properties = pika.BasicProperties(
        content_type=message.properties["content-type"],
        headers=message.application_properties,
        delivery_mode=2,
    )
    return properties, message.application_data


def main(url: str, form: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, EXCHANGE, "any.orders.order-placed.*")
    print("ready", flush=True)
    for method, properties, body in channel.consume(queue, inactivity_timeout=PATIENCE_SECONDS):
        if method is None:
            sys.exit(f"no order came within {PATIENCE_SECONDS} s")
        break
    seen = read(form, properties, body)
    seen["routing_key"] = method.routing_key
    seen["properties"] = {
        name: getattr(properties, name)
        for name in ("message_id", "type", "app_id", "content_type", "delivery_mode")
    }
    print(json.dumps(seen, default=lambda moment: moment.isoformat()), flush=True)
    channel.basic_ack(method.delivery_tag)
    order_id = (seen["payload"] if form == "plain" else seen["data"])["order_id"]
    properties, body = write(form, order_id)
    for _ in range(2):
        # Unroutable or refused, it raises.
        routing_key = f"any.billing.invoiced.{slot_of(order_id)}"
        channel.basic_publish(EXCHANGE, routing_key, body, properties, mandatory=True)
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
