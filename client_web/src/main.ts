/** Puts the page together: who can be called, the call, and what drives it. */
import * as api from "./api.ts";
import { sleep } from "./backoff.ts";
import { Call, type CallState, type Source } from "./call.ts";
import { Captions } from "./captions.ts";
import { Controls } from "./controls.ts";
import { need } from "./dom.ts";
import { acceptDrops } from "./drop.ts";
import { bindFiguresToggle, Meter } from "./figures.ts";
import { Gallery } from "./gallery.ts";
import { InviteButton, readInvitation, type Invitation } from "./invite.ts";
import { Manner } from "./manner.ts";
import { notice } from "./notice.ts";
import { Stage } from "./stage.ts";
import { examine, readEnvironment } from "./support.ts";
import { Typing } from "./typing.ts";
import { Upload } from "./upload.ts";

/** How often an empty gallery is read again: a new server is building its demo just then. */
const EMPTY_POLL_MS = 2000;

class Page {
  private call: Call | null = null;
  private source: Source | null = null;
  private meter: Meter | null = null;
  private readonly stage = new Stage(() => this.retry());
  private readonly controls = new Controls((on) => this.stage.silence(on));
  private readonly typing = new Typing();
  private readonly manner = new Manner();
  private readonly captions = new Captions();
  private readonly invite = new InviteButton();
  private readonly gallery = new Gallery(
    (avatar) => this.dial({ kind: "own", avatar }),
    (id) => this.leave(id),
    () => void this.openFirst(),
  );
  private readonly upload = new Upload((avatar) => void this.built(avatar));

  async start(): Promise<void> {
    bindFiguresToggle();
    window.addEventListener("pagehide", () => void this.call?.close());
    // A page that comes back from the browser's memory finds its session gone and begins another.
    window.addEventListener("pageshow", ({ persisted }) => persisted && this.source && this.dial(this.source, true));
    window.addEventListener("hashchange", () => readInvitation(location.hash) && location.reload());
    const findings = examine(readEnvironment());
    const stop = findings.find(({ severity }) => severity === "stop");
    if (stop) return this.stage.showEmpty("This browser cannot take the call", `${stop.words} ${stop.remedy}`);
    const limit = findings.find(({ id }) => id === "h264");
    if (limit) notice(limit.words, "information");
    const invitation = readInvitation(location.hash);
    if (invitation) return this.watch(invitation);
    acceptDrops(
      (photo) => this.upload.choose(photo),
      (sound) => void this.controls.speak(sound),
    );
    await this.openFirst();
  }

  /** Calls the avatar of the address, or the first one, as soon as there is one. */
  private async openFirst(): Promise<void> {
    const asked = new URLSearchParams(location.hash.slice(1)).get("avatar") ?? "";
    while (!this.source) {
      try {
        const avatars = await this.gallery.load();
        const avatar = this.gallery.find(asked) ?? avatars[0];
        if (avatar) return this.dial({ kind: "own", avatar });
        this.stage.showEmpty("Nobody is here yet", "Add a person with one photo, or wait while the server prepares its demo.");
      } catch (error) {
        this.stage.showEmpty("Not connected", api.inWords(error));
      }
      await sleep(EMPTY_POLL_MS);
    }
  }

  private watch(invitation: Invitation): void {
    document.body.classList.add("watching");
    this.stage.present("", null);
    this.dial({ kind: "watch", ...invitation });
  }

  private dial(source: Source, again = false): void {
    const same = this.source?.kind === "own" && source.kind === "own" && this.source.avatar.id === source.avatar.id;
    if (same && !again && this.call) return;
    void this.hangUp();
    this.source = source;
    if (source.kind === "own") {
      const { id, name, width, height } = source.avatar;
      this.stage.present(name, api.previewUrl(id), width, height);
      this.gallery.mark(id);
      history.replaceState(null, "", `#avatar=${encodeURIComponent(id)}`);
    }
    this.call = new Call(source, (state, session) => this.show(state, session));
  }

  private async hangUp(): Promise<void> {
    const closed = this.call?.close();
    this.call = null;
    this.meter?.stop();
    this.meter = null;
    this.controls.use(null, false);
    this.typing.use(null, false);
    this.manner.use(null, false);
    this.captions.use(null);
    this.invite.use(null);
    this.stage.clear();
    await closed;
  }

  private show(state: CallState, session: api.Session | null): void {
    this.meter?.stop();
    this.meter = null;
    const access = session ?? (this.source?.kind === "watch" ? this.source : null);
    if (state.name === "live") {
      if (access) this.meter = new Meter(state.player, access, this.stage);
    }
    if (state.name === "ended") this.call = null;
    this.controls.use(session, state.name === "live");
    this.typing.use(session, state.name === "live");
    this.manner.use(session, state.name === "live");
    this.captions.use(state.name === "live" ? access : null);
    this.invite.use(session);
    this.stage.show(state);
  }

  private retry(): void {
    if (this.call) this.call.retry();
    else if (this.source) this.dial(this.source, true);
  }

  private async built(id: string): Promise<void> {
    try {
      await this.gallery.load();
    } catch (error) {
      return notice(api.inWords(error), "error", "gallery");
    }
    const avatar = this.gallery.find(id);
    if (!avatar) return notice("The avatar was built, but the server does not list it.", "error", "gallery");
    this.dial({ kind: "own", avatar });
    need("#stage").scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  /** Ends the call with one avatar, if it is the one being called. */
  private async leave(id: string): Promise<void> {
    if (this.source?.kind !== "own" || this.source.avatar.id !== id) return;
    this.source = null;
    await this.hangUp();
  }
}

void new Page().start();
