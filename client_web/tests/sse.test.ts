import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStreamParser, readEvents, type ServerEvent } from "../src/sse.ts";

const STREAM =
  ": hello\nevent: progress\ndata: {\"a\":1}\nid: 7\n\ndata: first\ndata:second\n\nevent: nothing\n\nevent: done\r\ndata: {}\r\n\r\n";
const EVENTS: ServerEvent[] = [
  { event: "progress", data: '{"a":1}' },
  { event: "message", data: "first\nsecond" },
  { event: "done", data: "{}" },
];

test("events are found whatever the pieces are that the stream comes in", () => {
  for (let size = 1; size <= STREAM.length; size++) {
    const parser = new EventStreamParser();
    const events: ServerEvent[] = [];
    for (let at = 0; at < STREAM.length; at += size) events.push(...parser.push(STREAM.slice(at, at + size)));
    assert.deepEqual(events, EVENTS, `in pieces of ${size}`);
  }
});

test("a carriage return alone ends a line too", () => {
  assert.deepEqual(new EventStreamParser().push("data: x\r\rdata: y\r\r "), [
    { event: "message", data: "x" },
    { event: "message", data: "y" },
  ]);
});

test("an unfinished event is not delivered", () => {
  assert.deepEqual(new EventStreamParser().push("event: done\ndata: {}\n"), []);
});

test("a response's body is read to its end, with characters cut in two", async () => {
  const bytes = new TextEncoder().encode("data: Übergröße\n\ndata: 2\n\n");
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  const data: string[] = [];
  for await (const event of readEvents(new Response(body))) data.push(event.data);
  assert.deepEqual(data, ["Übergröße", "2"]);
});
