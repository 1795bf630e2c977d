/** The life of a call: a session, a connection to it, and both again after each loss. Knows nothing of the page. */
import * as api from "./api.ts";
import { backoff, sleep } from "./backoff.ts";
import { WhepPlayer } from "./whep.ts";

/** Whose call it is: one's own with an avatar, or someone else's that one watches. */
export type Source = { kind: "own"; avatar: api.Avatar } | ({ kind: "watch" } & api.Access);

export type CallState =
  | { name: "connecting"; again: boolean }
  | { name: "live"; player: WhepPlayer }
  /** Waiting for the next attempt, at `until` (performance.now()). */
  | { name: "waiting"; words: string; until: number }
  /** Over; only a new call helps. */
  | { name: "ended"; words: string };

/** A connection that lasted this long was a good one. */
const STEADY_MS = 3_000;
/** Answers after which trying again is of use: no answer, timeouts, too many at once, a server in trouble. */
const TRANSIENT = [0, 408, 425, 429, 500, 502, 503, 504];
/** Answers that say the session is no more, or not ours. */
const GONE = [401, 403, 404, 410];

export class Call {
  private session: api.Session | null = null;
  private readonly stop = new AbortController();
  private wake: (() => void) | null = null;

  constructor(
    readonly source: Source,
    private readonly onState: (state: CallState, session: api.Session | null) => void,
  ) {
    // Not before the constructor's caller holds the call it hears of.
    queueMicrotask(() => void this.run());
  }

  /** Ends a wait between attempts now. */
  retry(): void {
    this.wake?.();
  }

  /** Leaves the call; one's own session is deleted, also while the page goes away. Resolves when it is gone. */
  async close(): Promise<void> {
    if (this.stop.signal.aborted) return;
    this.stop.abort(new DOMException("The call was closed.", "AbortError"));
    await this.dropSession();
  }

  private async dropSession(): Promise<void> {
    const { session } = this;
    this.session = null;
    if (session) await api.deleteSession(session).catch(() => undefined);
  }

  private tell(state: CallState): void {
    this.onState(state, this.session);
  }

  private async run(): Promise<void> {
    const { signal } = this.stop;
    let attempt = 0;
    for (let again = false; !signal.aborted; again = true) {
      let words: string;
      try {
        this.tell({ name: "connecting", again });
        const player = await this.connect(signal);
        attempt = 0;
        const begun = performance.now();
        this.tell({ name: "live", player });
        words = await Promise.race([player.lost, aborted(signal)]);
        player.close();
        await this.checkSession(signal);
        if (performance.now() - begun > STEADY_MS) continue; // what ran well is tried again at once
      } catch (error) {
        if (signal.aborted) return;
        if (isFinal(error)) return this.end(api.inWords(error));
        words = api.inWords(error);
      }
      if (!signal.aborted) await this.pause(words, attempt++, signal);
    }
  }

  private async connect(signal: AbortSignal): Promise<WhepPlayer> {
    if (this.source.kind === "watch") {
      return WhepPlayer.open(`whep/${encodeURIComponent(this.source.id)}`, this.source.token, signal);
    }
    this.session ??= await this.createSession(this.source.avatar.id, signal);
    try {
      return await this.openPlayer(this.session, signal);
    } catch (error) {
      // The server forgot the session (it was restarted, or the session stood unused too long): begin a new one.
      if (!(error instanceof api.ApiError) || !GONE.includes(error.status)) throw error;
      this.session = await this.createSession(this.source.avatar.id, signal);
      return this.openPlayer(this.session, signal);
    }
  }

  private openPlayer({ whep, token, ice_servers }: api.Session, signal: AbortSignal): Promise<WhepPlayer> {
    return WhepPlayer.open(whep, token, signal, ice_servers);
  }

  private async createSession(avatar: string, signal: AbortSignal): Promise<api.Session> {
    // Not given the signal: a request given up half way could leave a session behind that nobody deletes.
    const session = await api.createSession(avatar, AbortSignal.timeout(30_000));
    if (signal.aborted) {
      api.deleteSession(session).catch(() => undefined);
      throw signal.reason;
    }
    return session;
  }

  /** After a loss: a session that failed on the server is replaced, and its reason told. */
  private async checkSession(signal: AbortSignal): Promise<void> {
    if (!this.session || signal.aborted) return;
    const status = await api.sessionStatus(this.session).catch(() => null);
    if (!status?.error) return;
    void this.dropSession();
    throw new api.ApiError(status.error, 503);
  }

  private end(words: string): void {
    void this.dropSession();
    this.tell({ name: "ended", words });
  }

  private async pause(words: string, attempt: number, signal: AbortSignal): Promise<void> {
    const delay = backoff(attempt);
    this.tell({ name: "waiting", words, until: performance.now() + delay });
    const woken = new Promise<void>((resolve) => {
      this.wake = resolve;
    });
    await Promise.race([woken, sleep(delay, signal)]).catch(() => undefined);
    this.wake = null;
  }
}

/** True when trying again would get the same answer. */
function isFinal(error: unknown): boolean {
  return error instanceof api.ApiError && !TRANSIENT.includes(error.status);
}

function aborted(signal: AbortSignal): Promise<string> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve("closed"), { once: true }));
}
