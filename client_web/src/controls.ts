/** The buttons that let the avatar speak: a line, a sound file, the microphone, and stop. */
import * as api from "./api.ts";
import { make, need, settings } from "./dom.ts";
import { listMicrophones, Microphone } from "./microphone.ts";
import { dismiss, notice } from "./notice.ts";
import { meter } from "./pcm.ts";
import { examine, readEnvironment } from "./support.ts";

export class Controls {
  private session: api.Session | null = null;
  private microphone: Microphone | null = null;
  private voice: Blob | null = null;
  private readonly demoButton = need<HTMLButtonElement>("#demo-voice");
  private readonly fileButton = need<HTMLButtonElement>("#sound-file");
  private readonly microphoneButton = need<HTMLButtonElement>("#microphone");
  private readonly stopButton = need<HTMLButtonElement>("#interrupt");
  private readonly soundInput = need<HTMLInputElement>("#sound-input");
  private readonly panel = need<HTMLElement>("#microphone-panel");
  private readonly device = need<HTMLSelectElement>("#device");
  private readonly echo = need<HTMLInputElement>("#echo");
  private readonly hear = need<HTMLInputElement>("#hear");

  /** `silence` is told to hold the avatar's sound back on this page while one's own voice would come back late. */
  constructor(private readonly silence: (on: boolean) => void) {
    this.demoButton.onclick = () => this.voice && void this.speak(this.voice, this.demoButton);
    this.fileButton.onclick = () => this.soundInput.click();
    this.soundInput.onchange = () => {
      const file = this.soundInput.files?.[0];
      this.soundInput.value = "";
      if (file) void this.speak(file);
    };
    this.stopButton.onclick = () => void this.interrupt();
    this.bindMicrophone();
    void api.demoVoice().then((voice) => {
      this.voice = voice;
      this.demoButton.hidden = !voice;
    });
  }

  /** The session to speak in, or null while there is none; `live` while its picture arrives. */
  use(session: api.Session | null, live: boolean): void {
    if (session?.id !== this.session?.id) this.closeMicrophone();
    this.session = session;
    for (const button of [this.demoButton, this.fileButton, this.microphoneButton, this.stopButton]) {
      button.disabled = !live || !session;
    }
  }

  /** Lets the avatar say a sound. */
  async speak(sound: Blob, button = this.fileButton): Promise<void> {
    if (!this.session || button.disabled) return notice("Wait until the call is connected, then choose the sound again.", "error", "speak");
    dismiss("speak");
    button.setAttribute("aria-busy", "true");
    try {
      await api.speak(this.session, sound);
    } catch (error) {
      notice(api.inWords(error), "error", "speak");
    } finally {
      button.removeAttribute("aria-busy");
    }
  }

  private async interrupt(): Promise<void> {
    this.closeMicrophone();
    if (!this.session) return;
    await api.interrupt(this.session).catch((error) => notice(api.inWords(error), "error", "speak"));
  }

  private bindMicrophone(): void {
    this.microphoneButton.onclick = () => (this.microphone ? this.closeMicrophone() : void this.openMicrophone());
    this.echo.checked = settings.get("echo") !== "off";
    this.echo.onchange = () => {
      settings.set("echo", this.echo.checked ? "on" : "off");
      void this.reopenMicrophone();
    };
    this.device.onchange = () => {
      settings.set("device", this.device.value);
      void this.reopenMicrophone();
    };
    this.hear.onchange = () => this.silence(!this.hear.checked);
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.microphone && void this.listDevices());
  }

  private async openMicrophone(): Promise<void> {
    const { session } = this;
    const trouble = examine(readEnvironment()).find(({ id }) => id === "insecure" || id === "microphone");
    if (trouble) return notice(`${trouble.words} ${trouble.remedy}`, "error", "microphone");
    if (!session) return;
    dismiss("microphone");
    const microphone = new Microphone(
      (rate) => api.audioSocketUrl(session, rate, document.baseURI),
      (amplitude) => (need<HTMLElement>("#level").style.width = `${Math.round(meter(amplitude) * 100)}%`),
      (words) => {
        this.closeMicrophone();
        notice(words, "error", "microphone");
      },
    );
    this.setMicrophone(microphone);
    try {
      await this.open(microphone);
      await this.listDevices();
    } catch (error) {
      if (this.microphone !== microphone) return; // closed by the user meanwhile
      this.closeMicrophone();
      notice(api.inWords(error), "error", "microphone");
    }
  }

  private async open(microphone: Microphone): Promise<void> {
    const deviceId = settings.get("device") ?? "";
    const known = !deviceId || (await listMicrophones()).some((device) => device.deviceId === deviceId);
    await microphone.open({ deviceId: known ? deviceId : "", echoCancellation: this.echo.checked });
  }

  private async reopenMicrophone(): Promise<void> {
    if (!this.microphone) return;
    this.closeMicrophone();
    await this.openMicrophone();
  }

  private closeMicrophone(): void {
    this.microphone?.close();
    this.setMicrophone(null);
  }

  private setMicrophone(microphone: Microphone | null): void {
    this.microphone = microphone;
    this.microphoneButton.setAttribute("aria-pressed", String(Boolean(microphone)));
    this.panel.hidden = !microphone;
    this.silence(Boolean(microphone) && !this.hear.checked);
  }

  private async listDevices(): Promise<void> {
    const devices = await listMicrophones();
    this.device.replaceChildren(
      ...devices.map(({ deviceId, label }, at) =>
        make("option", { value: deviceId, textContent: label || `Microphone ${at + 1}` }),
      ),
    );
    this.device.value = this.microphone?.deviceId ?? "";
  }
}
