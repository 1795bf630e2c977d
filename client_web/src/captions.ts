/** The words of typed text under the picture, while they are heard. */
import * as api from "./api.ts";
import { backoff, sleep } from "./backoff.ts";
import { need, settings } from "./dom.ts";

/** Characters of a line; a phone shows them in two rows. */
const LINE = 64;

export interface Line {
  text: string;
  /** Seconds after the sentence's start. */
  start: number;
}

/** A sentence in lines of its words, about equally long, each shown when its first word is heard. */
export function lines(words: api.Caption["words"], limit = LINE): Line[] {
  const found: Line[] = [];
  const total = words.reduce((sum, [word]) => sum + word.length + 1, 0);
  const longest = Math.min(limit, Math.ceil(total / Math.ceil(total / limit)) + 6);
  for (const [word, start] of words) {
    const last = found.at(-1);
    if (last && last.text.length + 1 + word.length <= longest) last.text += ` ${word}`;
    else found.push({ text: word, start });
  }
  return found;
}

export class Captions {
  private readonly line = need<HTMLElement>("#captions");
  private readonly toggle = need<HTMLButtonElement>("#captions-toggle");
  private on = settings.get("captions") !== "off";
  private access: api.Access | null = null;
  private stop = new AbortController();
  private timers: number[] = [];

  constructor() {
    this.toggle.onclick = () => {
      this.on = !this.on;
      settings.set("captions", this.on ? "on" : "off");
      this.apply();
    };
    this.apply();
  }

  /** Follows a session's captions, or none. */
  use(access: api.Access | null): void {
    if (access?.id === this.access?.id) return;
    this.access = access;
    this.apply();
  }

  private apply(): void {
    this.toggle.setAttribute("aria-pressed", String(this.on));
    this.stop.abort();
    this.stop = new AbortController();
    this.clear();
    this.line.hidden = !this.on;
    if (this.on && this.access) void this.follow(this.access, this.stop.signal);
  }

  private async follow(access: api.Access, signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        for await (const caption of api.captions(access, signal)) {
          attempt = 0;
          this.show(caption);
        }
      } catch (error) {
        // Captions are an extra: without them the call goes on, and a server that has none is not asked again.
        if (error instanceof api.ApiError && error.status >= 400 && error.status < 500) return;
      }
      if (!signal.aborted) await sleep(backoff(attempt), signal).catch(() => undefined);
    }
  }

  private show(caption: api.Caption | null): void {
    this.clear();
    if (!caption) return;
    // What is told late, as after a reconnection, is shown where it is by now.
    const late = Math.max(0, caption.time - caption.start);
    for (const { text, start } of lines(caption.words)) {
      this.timers.push(window.setTimeout(() => (this.line.textContent = text), Math.max(0, start - late) * 1000));
    }
  }

  private clear(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers = [];
    this.line.textContent = "";
  }
}
