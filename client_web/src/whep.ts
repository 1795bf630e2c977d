/** One WHEP player: receives a session's picture and sound over WebRTC. */
import * as api from "./api.ts";
import { sleep } from "./backoff.ts";
import { hasCandidates, preferCodecs } from "./sdp.ts";
import { MEDIA_BLOCKED } from "./support.ts";

/** A local page has its candidates at once; a slow network interface is not waited for any longer than this. */
const GATHERING_CAP_MS = 1500;
const CONNECT_CAP_MS = 10_000;
/** From connected to the first decoded picture. */
const PICTURE_CAP_MS = 8_000;
/** How long a broken path may take to heal by itself, on top of the seconds in which the browser noticed. */
const HEALING_MS = 2_000;
/** Without a new picture for this long, the connection counts as lost. */
const FROZEN_MS = 4_000;
const WATCH_MS = 1_000;

/** No path for the media was found, although the server answers. */
export class MediaBlocked extends Error {
  constructor() {
    super(MEDIA_BLOCKED);
    this.name = "MediaBlocked";
  }
}

export class WhepPlayer {
  readonly stream = new MediaStream();
  /** Resolves with the reason when the connection is lost; never rejects. */
  readonly lost: Promise<string>;
  private lose!: (reason: string) => void;
  private resource: string | null = null;
  private readonly peer: RTCPeerConnection;

  private constructor(
    private readonly token: string | undefined,
    iceServers: RTCIceServer[],
  ) {
    this.peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.lost = new Promise((resolve) => {
      this.lose = resolve;
    });
    this.peer.ontrack = ({ track }) => this.stream.addTrack(track);
  }

  /**
   * Connects and waits for the first picture. Rejects with `ApiError` when the server refuses, with `MediaBlocked`
   * when no path opens, or with the signal's reason; nothing stays open then.
   */
  static async open(
    path: string,
    token: string | undefined,
    signal: AbortSignal,
    iceServers: RTCIceServer[] = [],
  ): Promise<WhepPlayer> {
    const player = new WhepPlayer(token, iceServers);
    try {
      await player.negotiate(path, signal);
      await player.connected(signal);
      await player.firstPicture(signal);
      void player.watch();
      return player;
    } catch (error) {
      player.close();
      throw error;
    }
  }

  /** Raw counters, for `stats.read`. */
  async report(): Promise<Iterable<never>> {
    return (await this.peer.getStats()).values() as Iterable<never>;
  }

  close(): void {
    this.lose("closed");
    this.peer.close();
    for (const track of this.stream.getTracks()) track.stop();
    if (this.resource) api.deleteWhep(this.resource, this.token);
    this.resource = null;
  }

  private async negotiate(path: string, signal: AbortSignal): Promise<void> {
    const video = this.peer.addTransceiver("video", { direction: "recvonly" });
    const audio = this.peer.addTransceiver("audio", { direction: "recvonly" });
    const codecs = preferCodecs(RTCRtpReceiver.getCapabilities?.("video")?.codecs ?? []);
    if (codecs.length) video.setCodecPreferences?.(codecs);
    // As little waiting as the network allows; the browser raises it by itself when packets come unevenly.
    for (const { receiver } of [video, audio]) if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    await this.peer.setLocalDescription();
    await this.gathered(signal);
    const offer = this.peer.localDescription?.sdp ?? "";
    // Without a single network candidate there is nothing the server could answer to.
    if (!hasCandidates(offer)) throw new MediaBlocked();
    const answer = await api.whepOffer(path, offer, this.token, signal);
    this.resource = answer.resource;
    await this.peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  }

  private async gathered(signal: AbortSignal): Promise<void> {
    const complete = new Promise<void>((resolve) => {
      const check = () => this.peer.iceGatheringState === "complete" && resolve();
      this.peer.addEventListener("icegatheringstatechange", check);
      check();
    });
    await Promise.race([complete, sleep(GATHERING_CAP_MS, signal)]);
  }

  private async connected(signal: AbortSignal): Promise<void> {
    const settled = new Promise<boolean>((resolve) => {
      const check = () => {
        if (this.peer.connectionState === "connected") resolve(true);
        if (this.peer.connectionState === "failed") resolve(false);
      };
      this.peer.addEventListener("connectionstatechange", check);
      check();
    });
    if ((await Promise.race([settled, sleep(CONNECT_CAP_MS, signal)])) !== true) throw new MediaBlocked();
  }

  private async firstPicture(signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + PICTURE_CAP_MS;
    while ((await this.framesDecoded()) === 0) {
      if (performance.now() > deadline) throw new Error("The call is connected, but no picture arrives.");
      await sleep(50, signal);
    }
  }

  private async framesDecoded(): Promise<number> {
    for (const stat of await this.report()) {
      const { type, kind, framesDecoded } = stat as { type: string; kind?: string; framesDecoded?: number };
      if (type === "inbound-rtp" && kind === "video") return framesDecoded ?? 0;
    }
    return 0;
  }

  /** Notices a path that broke or a picture that froze. */
  private async watch(): Promise<void> {
    let frames = 0;
    let moved = performance.now();
    let broken: number | null = null;
    for (;;) {
      await sleep(WATCH_MS);
      const state = this.peer.connectionState;
      if (state === "closed") return;
      if (state === "failed") return this.lose("The connection broke.");
      const now = performance.now();
      broken = state === "connected" ? null : (broken ?? now);
      if (broken !== null && now - broken > HEALING_MS) return this.lose("The connection broke.");
      const decoded = await this.framesDecoded();
      // A hidden page may be let sleep by the browser, which is no fault of the connection.
      if (decoded !== frames || document.hidden) moved = now;
      frames = decoded;
      if (now - moved > FROZEN_MS) return this.lose("The picture stopped.");
    }
  }
}
