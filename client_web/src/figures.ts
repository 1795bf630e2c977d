/** The figures of the connection, shown on demand, and the loudness that tells who is speaking. */
import * as api from "./api.ts";
import { make, need } from "./dom.ts";
import { figures, median, read, type Figures, type Reading } from "./stats.ts";
import type { Stage } from "./stage.ts";
import type { WhepPlayer } from "./whep.ts";

const LOUDNESS_MS = 200;
const FIGURES_MS = 1000;
/** The skew jumps by whole frames, so the middle of this many readings is shown. */
const SKEW_READINGS = 9;

/** Reads one player's counters until told to stop. */
export class Meter {
  private readonly timers: number[];
  private loud: Reading | null = null;
  private before: Reading | null = null;
  private readonly skews: (number | null)[] = [];

  constructor(
    private readonly player: WhepPlayer,
    private readonly access: api.Access,
    private readonly stage: Stage,
  ) {
    this.timers = [
      window.setInterval(() => void this.readLoudness(), LOUDNESS_MS),
      window.setInterval(() => void this.readFigures(), FIGURES_MS),
    ];
  }

  stop(): void {
    this.timers.forEach(clearInterval);
    draw([]);
  }

  private async readLoudness(): Promise<void> {
    const now = read(await this.player.report(), performance.now());
    if (this.loud) this.stage.hear(figures(this.loud, now).loudness);
    this.loud = now;
  }

  private async readFigures(): Promise<void> {
    const now = read(await this.player.report(), performance.now());
    const current = this.before && figures(this.before, now);
    this.before = now;
    if (!current) return;
    this.skews.push(current.skew);
    if (this.skews.length > SKEW_READINGS) this.skews.shift();
    const shown = !need<HTMLElement>("#figures").hidden;
    if (!shown && this.stage.audible) return;
    const status = await api.sessionStatus(this.access).catch(() => null);
    // A browser does not measure sound that it does not play: then the server says who speaks.
    if (!this.stage.audible && status?.speaking) this.stage.hear(1, 1.5 * FIGURES_MS);
    if (shown) draw(rows({ ...current, skew: median(this.skews) }, status));
  }
}

export function bindFiguresToggle(): void {
  const button = need<HTMLButtonElement>("#figures-toggle");
  const panel = need<HTMLElement>("#figures");
  button.onclick = () => {
    panel.hidden = !panel.hidden;
    button.setAttribute("aria-expanded", String(!panel.hidden));
    if (!panel.hidden) panel.scrollIntoView({ block: "nearest", behavior: "smooth" });
  };
}

type Row = [name: string, value: string, hint: string];

function rows(now: Figures, status: api.SessionStatus | null): Row[] {
  const ms = (value: number | null | undefined) => (value == null ? "–" : `${Math.round(value)} ms`);
  const rate = (value: number | null) => (value === null ? "–" : `${value.toFixed(value < 10 ? 1 : 0)} fps`);
  const list: Row[] = [
    ["Frame rate", rate(now.fps), "Decoded here"],
    ["Latency", ms(now.latency), "Half a round trip and the jitter buffer"],
    ["Sound to picture", signed(now.skew), "Positive: the sound is ahead"],
    ["Bit rate", now.bitrate === null ? "–" : `${Math.round(now.bitrate)} kbit/s`, "Picture and sound"],
    ["Resolution", now.resolution ?? "–", "As received"],
    ["Codec", now.codec ?? "–", "Of the picture"],
    ["Frames dropped", String(now.framesDropped), "Received but not shown, since the start"],
    ["Packet loss", now.loss === null ? "–" : `${(now.loss * 100).toFixed(1)} %`, "In the last second"],
  ];
  if (status?.fps !== undefined) list.push(["Server frame rate", rate(status.fps), "Drawn and sent"]);
  if (status?.skew_ms !== undefined) list.push(["Server skew", signed(status.skew_ms), "Sound to picture, when sent"]);
  if (status?.viewers !== undefined) list.push(["Viewers", String(status.viewers), "Of this call, with you"]);
  return list;
}

function signed(value: number | null | undefined): string {
  if (value == null) return "–";
  const rounded = Math.round(value);
  return `${rounded > 0 ? "+" : ""}${rounded} ms`.replace("-", "−");
}

function draw(list: Row[]): void {
  const shown = list.map(([name, value, hint]) =>
    make("div", { title: hint }, make("dt", { textContent: name }), make("dd", { textContent: value })),
  );
  need("#figures dl").replaceChildren(...(shown.length ? shown : [make("p", { className: "soft", textContent: "No call is running." })]));
}
