// What CloudEvents' official SDK for JavaScript makes of our messages, and messages that it writes.
//
// As sdk.py: an array of messages in JSON comes in, what was read and what is written goes out. The SDK
// has no binding to AMQP, so the headers are named as its bindings to HTTP and Kafka have them.
"use strict";

const { CloudEvent, HTTP, Kafka } = require("cloudevents");
const { readFileSync } = require("node:fs");

const PREFIX = "cloudEvents_";

function read(message) {
  const headers = { "content-type": message.content_type };
  for (const [name, value] of Object.entries(message.headers)) {
    if (name.startsWith(PREFIX)) headers[`ce-${name.slice(PREFIX.length)}`] = value;
  }
  const bytes = Buffer.from(message.body_base64, "base64");
  const isText = message.content_type !== "application/octet-stream";
  const event = HTTP.toEvent({ headers, body: isText ? bytes.toString() : bytes });
  // Reading is lenient; these two hold it to the official JSON schema and to the rules of names.
  event.validate();
  const { data, data_base64, ...attributes } = new CloudEvent({ ...event }, true);
  if (data_base64) return { attributes, data_base64 };
  // In binary mode the SDK takes a JSON value that is no object, array or string for a text.
  const isScalar = isText && "ce-id" in headers && /^[^[{"]/.test(bytes.toString());
  if (isScalar) return { attributes, data: JSON.parse(bytes) };
  return { attributes, data: data === undefined || data === "" ? null : data };
}

const attributes = {
  id: "A-1",
  source: "https://shop.example/till",
  type: "orders.order-placed",
  time: "2026-03-04T05:06:07.123Z",
  subject: "tea",
  dataschema: "https://schemas.example/1",
  partitionkey: "order-7",
  correlationid: "txn-1",
  express: true,
  count: 7,
};

const events = {
  json: new CloudEvent({ ...attributes, datacontenttype: "application/json", data: { name: "ä🍋" } }),
  text: new CloudEvent({ ...attributes, datacontenttype: "text/plain", data: "tea ä" }),
  bytes: new CloudEvent({
    ...attributes,
    datacontenttype: "application/octet-stream",
    data: new Uint8Array([0, 255, 1]),
  }),
};

function write(name, event) {
  const sent = [HTTP.structured(event), HTTP.binary(event), Kafka.structured(event), Kafka.binary(event)];
  return sent.map((message) => {
    const { "content-type": content_type, ...headers } = message.headers;
    const body = message.value ?? message.body;
    // The binding to Kafka leaves an object as it is.
    const isObject = typeof body === "object" && !ArrayBuffer.isView(body);
    const bytes = Buffer.from(isObject ? JSON.stringify(body) : body);
    return { name, content_type, headers, body_base64: bytes.toString("base64") };
  });
}

const messages = JSON.parse(readFileSync(0, "utf8"));
console.log(
  JSON.stringify({
    read: messages.map(read),
    written: Object.entries(events).flatMap(([name, event]) => write(name, event)),
  }),
);
