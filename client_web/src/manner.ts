/** How the avatar behaves: its mood and how strong it shows, and how much head and hands go along with speech. */
import * as api from "./api.ts";
import { need, settings } from "./dom.ts";
import { dismiss, notice } from "./notice.ts";

const NEUTRAL = "neutral";

export class Manner {
  private session: api.Session | null = null;
  private sent = "";
  private readonly root = need<HTMLElement>("#manner");
  private readonly mood = need<HTMLSelectElement>("#mood");
  private readonly strength = need<HTMLInputElement>("#mood-strength");
  private readonly gestures = need<HTMLInputElement>("#gestures");

  constructor() {
    this.gestures.value = settings.get("gestures") ?? "1";
    this.mood.onchange = () => this.changed();
    this.strength.onchange = () => this.changed();
    this.gestures.onchange = () => {
      settings.set("gestures", this.gestures.value);
      this.changed();
    };
    this.draw(false);
  }

  /** The session that obeys, or null while there is none; a new one begins neutral, with the user's gestures. */
  use(session: api.Session | null, live: boolean): void {
    if (session?.id !== this.session?.id) {
      this.mood.value = NEUTRAL;
      this.sent = JSON.stringify({ ...this.wish, gestures: 1 });
    }
    this.session = session;
    this.draw(live && Boolean(session));
    if (live) this.changed();
  }

  private get wish(): api.Manner {
    return { mood: this.mood.value, strength: Number(this.strength.value), gestures: Number(this.gestures.value) };
  }

  private draw(on: boolean): void {
    this.root.classList.toggle("off", !on);
    this.mood.disabled = this.gestures.disabled = !on;
    this.strength.disabled = !on || this.mood.value === NEUTRAL;
  }

  private changed(): void {
    const { session, wish } = this;
    if (!session) return;
    this.draw(true);
    const now = JSON.stringify(wish);
    if (now === this.sent) return;
    this.sent = now;
    api.behave(session, wish).then(
      () => dismiss("manner"),
      (error: unknown) => {
        this.sent = "";
        if (session === this.session) notice(api.inWords(error), "error", "manner");
      },
    );
  }
}
