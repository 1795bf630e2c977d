/** The picture: poster, connection state in words, who is speaking, the sound, full screen. */
import { need, settings } from "./dom.ts";
import type { CallState } from "./call.ts";

/** Louder than this (root mean square) is speech; below it are the codec's rests. */
const SPEECH_LOUDNESS = 0.004;
/** Longer than the pauses between words. */
const SPEAKING_HOLD_MS = 500;

export class Stage {
  private readonly root = need<HTMLElement>("#stage");
  private readonly video = need<HTMLVideoElement>("#stage video");
  private readonly poster = need<HTMLImageElement>("#stage .poster");
  private readonly backdrop = need<HTMLImageElement>("#stage .backdrop");
  private readonly curtain = need<HTMLElement>("#stage .curtain");
  private readonly action = need<HTMLButtonElement>("#curtain-action");
  private readonly soundHint = need<HTMLButtonElement>("#sound-hint");
  private readonly muteButton = need<HTMLButtonElement>("#mute");
  private readonly volume = need<HTMLInputElement>("#volume");
  private countdown = 0;
  private speakingUntil = -Infinity;
  /** Pages begin in silence: browsers let them sound only after a click. */
  private gestured = false;
  private soundWanted = settings.get("muted") !== "yes";
  /** Held silent for another reason: one's own voice, coming back late. */
  private silenced = false;

  constructor(private readonly onRetry: () => void) {
    this.action.onclick = () => this.onRetry();
    need<HTMLButtonElement>("#full").onclick = () => void this.toggleFullScreen();
    this.bindSound();
    // Only when a picture is on the screen does the poster give way.
    this.video.addEventListener("loadeddata", () => this.root.classList.add("has-picture"));
    this.video.addEventListener("emptied", () => this.root.classList.remove("has-picture"));
    this.video.addEventListener("resize", () => this.fit(this.video.videoWidth, this.video.videoHeight));
  }

  /** Prepares for someone: name, still picture, shape of the picture. */
  present(name: string, preview: string | null, width = 1, height = 1): void {
    need("#name").textContent = name;
    document.title = name ? `${name} · Talkshot` : "Talkshot";
    for (const image of [this.poster, this.backdrop]) {
      image.hidden = !preview;
      if (preview) image.src = preview;
    }
    this.fit(width, height);
  }

  /** Nobody can be called: `words` say why. */
  showEmpty(title: string, words: string): void {
    this.setState("empty", "");
    this.drawCurtain(title, words, null);
  }

  show(state: CallState): void {
    clearInterval(this.countdown);
    need("#curtain-count").textContent = "";
    switch (state.name) {
      case "connecting":
        this.setState("connecting", state.again ? "Reconnecting" : "Connecting");
        this.curtain.hidden = true;
        break;
      case "live":
        this.setState("live", "Live");
        this.curtain.hidden = true;
        this.play(state.player.stream);
        break;
      case "waiting":
        this.setState("waiting", "");
        this.drawCurtain("Not connected", state.words, "Try now");
        this.countDown(state.until);
        break;
      case "ended":
        this.setState("ended", "");
        this.drawCurtain("The call has ended", state.words, "Call again");
        break;
    }
    if (state.name !== "live") this.hear(0);
    if (state.name === "ended") this.video.srcObject = null;
  }

  /** True while this page plays the sound. */
  get audible(): boolean {
    return !this.video.muted && this.video.volume > 0;
  }

  /** The sound's loudness just now (root mean square); speech shows for `hold` ms. */
  hear(loudness: number, hold = SPEAKING_HOLD_MS): void {
    const now = performance.now();
    if (loudness > SPEECH_LOUDNESS) this.speakingUntil = now + hold;
    const speaking = now < this.speakingUntil && this.root.dataset["state"] === "live";
    this.root.classList.toggle("speaking", speaking);
  }

  /** Keeps the avatar silent on this page, without touching the user's own setting. */
  silence(on: boolean): void {
    this.silenced = on;
    this.applySound();
  }

  /** A fresh call begins with its poster again. */
  clear(): void {
    this.video.srcObject = null;
    this.root.classList.remove("has-picture");
  }

  private play(stream: MediaStream): void {
    this.video.srcObject = stream;
    this.applySound();
    this.video.play().catch(() => {
      // A browser stricter than ours expects: go on in silence until the next click.
      this.gestured = false;
      this.applySound();
      this.video.play().catch(() => undefined);
    });
  }

  private setState(name: string, words: string): void {
    this.root.dataset["state"] = name;
    need("#state").textContent = words;
    need<HTMLElement>("#stage .badge").hidden = !words;
  }

  private drawCurtain(title: string, words: string, action: string | null): void {
    need("#curtain-title").textContent = title;
    need("#curtain-words").textContent = words;
    this.action.hidden = !action;
    this.action.textContent = action;
    this.curtain.hidden = false;
  }

  private countDown(until: number): void {
    const tick = () => {
      const seconds = Math.max(0, Math.ceil((until - performance.now()) / 1000));
      need("#curtain-count").textContent = seconds ? `Trying again in ${seconds} s` : "";
    };
    tick();
    this.countdown = window.setInterval(tick, 250);
  }

  private fit(width: number, height: number): void {
    if (width && height) this.root.style.setProperty("--picture", `${width} / ${height}`);
  }

  private bindSound(): void {
    const volume = Number(settings.get("volume") ?? "1");
    this.video.volume = Number.isFinite(volume) ? Math.min(1, Math.max(0, volume)) : 1;
    this.volume.value = String(this.video.volume);
    this.volume.oninput = () => {
      this.video.volume = Number(this.volume.value);
      settings.set("volume", this.volume.value);
      this.wantSound(this.video.volume > 0);
    };
    this.muteButton.onclick = () => this.wantSound(this.video.muted);
    this.soundHint.onclick = () => this.wantSound(true);
    // Browsers let a page sound after its first click, whatever that was for. A click on the sound button itself has
    // its own handler, which comes after this one.
    const firstClick = (event: Event) => {
      this.gestured = true;
      if (!(event.target instanceof Node && this.muteButton.contains(event.target))) this.applySound();
    };
    document.addEventListener("click", firstClick, { capture: true });
    this.applySound();
  }

  private wantSound(on: boolean): void {
    this.gestured = true;
    this.soundWanted = on;
    settings.set("muted", on ? "no" : "yes");
    if (on && this.video.volume === 0) this.video.volume = Number((this.volume.value = "1"));
    this.applySound();
  }

  private applySound(): void {
    this.video.muted = this.silenced || !this.soundWanted || !this.gestured;
    this.muteButton.setAttribute("aria-pressed", String(!this.audible));
    need("use", this.muteButton).setAttribute("href", this.audible ? "#i-sound" : "#i-muted");
    this.soundHint.hidden = this.gestured || !this.soundWanted || this.root.dataset["state"] !== "live";
  }

  private async toggleFullScreen(): Promise<void> {
    if (document.fullscreenElement) return document.exitFullscreen();
    if (this.root.requestFullscreen) return this.root.requestFullscreen();
    // iPhones show only the video element itself in full screen.
    (this.video as HTMLVideoElement & { webkitEnterFullscreen?: () => void }).webkitEnterFullscreen?.();
  }
}
