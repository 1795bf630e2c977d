/** The field for text that the avatar is to say, and the choice of its voice. */
import * as api from "./api.ts";
import { make, need, settings } from "./dom.ts";
import { dismiss, notice } from "./notice.ts";

/** The tallest that the field grows to, px. */
const TALLEST = 160;

/** Voices in groups: those of the reader's own languages first, then all others. Both keep the server's order. */
export function grouped(voices: api.Voice[], languages: readonly string[]): [own: api.Voice[], others: api.Voice[]] {
  const base = (tag: string) => tag.toLowerCase().split("-")[0];
  const spoken = languages.map(base);
  const isOwn = ({ language }: api.Voice) => !language || spoken.includes(base(language));
  return [voices.filter(isOwn), voices.filter((voice) => !isOwn(voice))];
}

export class Typing {
  private session: api.Session | null = null;
  private live = false;
  private sending = false;
  private readonly form = need<HTMLFormElement>("#say");
  private readonly text = need<HTMLTextAreaElement>("#text");
  private readonly voice = need<HTMLSelectElement>("#voice");
  private readonly button = need<HTMLButtonElement>("#say-button");

  constructor() {
    this.form.onsubmit = (event) => {
      event.preventDefault();
      void this.say();
    };
    this.text.oninput = () => this.grow();
    this.text.onkeydown = (event) => {
      // While an input method composes, Enter chooses a word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.form.requestSubmit();
    };
    this.voice.onchange = () => settings.set("voice", this.voice.value);
    void this.listVoices();
  }

  /** The session to speak in, or null while there is none; `live` while its picture arrives. */
  use(session: api.Session | null, live: boolean): void {
    this.session = session;
    this.live = live;
    this.button.disabled = !live || !session;
  }

  private async listVoices(): Promise<void> {
    const voices = await api.voices();
    this.form.hidden = voices.every(({ missing }) => missing);
    const [own, others] = grouped(voices, navigator.languages);
    const option = ({ id, name, missing }: api.Voice) =>
      make("option", { value: id, textContent: missing ? `${name} (not installed)` : name, title: missing ?? "", disabled: Boolean(missing) });
    const options = (list: api.Voice[]) => list.map(option);
    const group = (label: string, list: api.Voice[]) => (list.length ? [make("optgroup", { label }, ...options(list))] : []);
    this.voice.replaceChildren(
      make("option", { value: "", textContent: "Automatic voice" }),
      ...group("Your languages", own),
      ...group("Other languages", others),
    );
    const wanted = settings.get("voice") ?? "";
    this.voice.value = voices.some(({ id, missing }) => id === wanted && !missing) ? wanted : "";
  }

  private async say(): Promise<void> {
    const text = this.text.value.trim();
    if (!text || this.sending) return this.text.focus();
    if (!this.session || !this.live) return notice("Wait until the call is connected, then send the text again.", "error", "say");
    dismiss("say");
    this.sending = true;
    this.button.setAttribute("aria-busy", "true");
    try {
      await api.say(this.session, text, this.voice.value);
      if (this.text.value.trim() === text) this.text.value = "";
      this.grow();
    } catch (error) {
      notice(api.inWords(error), "error", "say");
    } finally {
      this.sending = false;
      this.button.removeAttribute("aria-busy");
    }
  }

  private grow(): void {
    this.text.style.height = "auto";
    this.text.style.height = `${Math.min(this.text.scrollHeight + 2, TALLEST)}px`;
  }
}
