/** From a photo to a new avatar: choose or drop, agree, watch it being built. */
import * as api from "./api.ts";
import { sleep } from "./backoff.ts";
import { need } from "./dom.ts";
import { building, isOver, sending, START, type Progress } from "./progress.ts";

type Step = "choose" | "agree" | "progress" | "error";

const POLL_MS = 1000;

export class Upload {
  private photo: File | null = null;
  private preview: string | null = null;
  private running: AbortController | null = null;
  private readonly form = need<HTMLFormElement>("#upload-form");
  private readonly input = need<HTMLInputElement>("#photo-input");
  private readonly name = need<HTMLInputElement>("#photo-name");

  /** `onBuilt` hears the id of each new avatar. */
  constructor(private readonly onBuilt: (avatar: string) => void) {
    need<HTMLButtonElement>("#choose-photo").onclick = () => this.input.click();
    this.input.onchange = () => {
      const file = this.input.files?.[0];
      this.input.value = ""; // so that the same photo can be chosen again
      if (file) this.choose(file);
    };
    this.form.onsubmit = (event) => {
      event.preventDefault();
      void this.build();
    };
    need<HTMLButtonElement>("#upload-back").onclick = () => this.show("choose");
    need<HTMLButtonElement>("#upload-cancel").onclick = () => this.running?.abort(new DOMException("cancelled", "AbortError"));
    need<HTMLButtonElement>("#upload-again").onclick = () => this.input.click();
    need<HTMLButtonElement>("#upload-dismiss").onclick = () => this.show("choose");
  }

  /** Takes a photo and asks for its name and the permission. */
  choose(file: File): void {
    if (this.running) return; // one build at a time
    if (file.size === 0) return this.fail("This file is empty. Choose another photo.");
    this.photo = file;
    if (this.preview) URL.revokeObjectURL(this.preview);
    this.preview = URL.createObjectURL(file);
    const image = need<HTMLImageElement>("#photo-preview");
    image.hidden = false;
    image.onerror = () => (image.hidden = true); // a format the server may read although this browser does not
    image.src = this.preview;
    this.name.value = nameOf(file.name);
    this.show("agree");
    this.name.focus();
    this.name.select();
  }

  private async build(): Promise<void> {
    const photo = this.photo;
    if (!photo) return;
    const running = (this.running = new AbortController());
    const name = this.name.value.trim();
    need("#progress-name").textContent = name;
    this.show("progress");
    this.draw(START);
    let job: string | null = null;
    try {
      let progress = START;
      const onSent = (share: number) => this.draw((progress = sending(progress, share)));
      job = await api.buildAvatar(photo, name, onSent, running.signal);
      for await (const state of follow(job, running.signal)) this.draw((progress = building(progress, state)));
      if (progress.phase === "failed") return this.fail(progress.words);
      this.show("choose");
      if (progress.avatar) this.onBuilt(progress.avatar);
    } catch (error) {
      if (!running.signal.aborted) return this.fail(api.inWords(error));
      if (job) await api.cancelJob(job).catch(() => undefined);
      this.show("choose");
    } finally {
      this.running = null;
    }
  }

  private fail(words: string): void {
    need("#upload-error-words").textContent = words;
    this.show("error");
  }

  private show(step: Step): void {
    need<HTMLElement>("#upload").dataset["step"] = step;
    this.form.hidden = step !== "agree";
    need<HTMLElement>("#upload .choose").hidden = step !== "choose";
    need<HTMLElement>("#upload-progress").hidden = step !== "progress";
    need<HTMLElement>("#upload-error").hidden = step !== "error";
  }

  private draw(progress: Progress): void {
    const percent = Math.round(progress.fraction * 100);
    const bar = need<HTMLElement>("#progress-bar");
    bar.setAttribute("aria-valuenow", String(percent));
    need<HTMLElement>("span", bar).style.width = `${percent}%`;
    need("#progress-percent").textContent = `${percent} %`;
    const words = need("#progress-words");
    if (words.textContent !== progress.words) words.textContent = progress.words;
  }
}

/** A job's states until it is over: from its stream of events, or by asking, when the stream is cut. */
async function* follow(id: string, signal: AbortSignal): AsyncGenerator<api.Job> {
  let over = false;
  try {
    for await (const job of api.jobEvents(id, signal)) {
      yield job;
      over = isOver(building(START, job));
      if (over) return;
    }
  } catch (error) {
    if (signal.aborted) throw error;
  }
  while (!over) {
    const job = await api.getJob(id, signal);
    yield job;
    over = isOver(building(START, job));
    if (!over) await sleep(POLL_MS, signal);
  }
}

/** A person's name to begin with, from a file's name. */
export function nameOf(file: string): string {
  const stem = file.replace(/\.[^.]*$/, "").replace(/[_-]+/g, " ").trim();
  const telling = /[a-z]{3}/i.test(stem) && !/^(img|image|dsc|photo|pxl|screenshot|whatsapp)/i.test(stem);
  return telling ? stem.slice(0, 60).replace(/^./, (letter) => letter.toUpperCase()) : "Me";
}
