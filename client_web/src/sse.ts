/** Server-sent events (the `text/event-stream` format of the HTML standard), read from a fetch response. */

export interface ServerEvent {
  event: string;
  data: string;
}

/** Turns pieces of a stream, cut anywhere, into events. */
export class EventStreamParser {
  private rest = "";
  private event = "";
  private data: string[] = [];

  push(text: string): ServerEvent[] {
    this.rest += text;
    const events: ServerEvent[] = [];
    for (;;) {
      const end = this.rest.search(/\r\n|\n|\r/);
      // A lone CR at the very end may be the first half of CRLF: wait for what follows.
      if (end < 0 || (this.rest[end] === "\r" && end === this.rest.length - 1)) return events;
      const line = this.rest.slice(0, end);
      this.rest = this.rest.slice(end + (this.rest.startsWith("\r\n", end) ? 2 : 1));
      const complete = this.line(line);
      if (complete) events.push(complete);
    }
  }

  private line(line: string): ServerEvent | null {
    if (line === "") {
      const complete = this.data.length ? { event: this.event || "message", data: this.data.join("\n") } : null;
      this.event = "";
      this.data = [];
      return complete;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.event = value;
    else if (field === "data") this.data.push(value);
    return null; // comments (empty field), id and retry carry nothing this page needs
  }
}

/** The events of a response's body, until it ends. */
export async function* readEvents(response: Response): AsyncGenerator<ServerEvent> {
  if (!response.body) return;
  const parser = new EventStreamParser();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
