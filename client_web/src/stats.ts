/** From WebRTC's raw counters (getStats) to the figures people ask about. */

/** One reading of the counters; null where the browser does not report one. */
export interface Reading {
  /** Wall clock of the reading, ms. */
  time: number;
  bytes: number;
  framesDecoded: number;
  framesDropped: number;
  width: number | null;
  height: number | null;
  codec: string | null;
  /** Sum over frames of the time spent in the jitter buffer, s, and how many frames left it. */
  jitterBufferDelay: number;
  jitterBufferEmitted: number;
  packetsLost: number;
  packetsReceived: number;
  /** Round trip of the chosen path, s. */
  roundTrip: number | null;
  /** Sender's clock at which audio and video play out, ms. */
  audioPlayout: number | null;
  videoPlayout: number | null;
  /** Energy (full scale squared times s) and length (s) of all sound so far. */
  audioEnergy: number;
  audioDuration: number;
}

export interface Figures {
  fps: number | null;
  /** Half a round trip plus the wait in the jitter buffer, ms. */
  latency: number | null;
  /** Audio minus video, ms: positive when the sound is ahead of the picture. */
  skew: number | null;
  /** kbit/s, sound and picture together. */
  bitrate: number | null;
  resolution: string | null;
  codec: string | null;
  framesDropped: number;
  /** Share of packets lost, 0 to 1. */
  loss: number | null;
  /** Root mean square of the sound since the last reading, 0 to 1. */
  loudness: number;
}

type Stat = Record<string, unknown> & { type: string; id: string };

const number = (value: unknown): number => (typeof value === "number" ? value : 0);
const maybe = (value: unknown): number | null => (typeof value === "number" ? value : null);

/** Picks the counters this page needs out of a stats report. */
export function read(report: Iterable<Stat>, time: number): Reading {
  const stats = new Map<string, Stat>();
  for (const stat of report) stats.set(stat.id, stat);
  const all = [...stats.values()];
  const inbound = (kind: string) => all.find((stat) => stat.type === "inbound-rtp" && stat["kind"] === kind);
  const video = inbound("video");
  const audio = inbound("audio");
  const codec = stats.get(String(video?.["codecId"]))?.["mimeType"];
  return {
    time,
    bytes: number(video?.["bytesReceived"]) + number(audio?.["bytesReceived"]),
    framesDecoded: number(video?.["framesDecoded"]),
    framesDropped: number(video?.["framesDropped"]),
    width: maybe(video?.["frameWidth"]),
    height: maybe(video?.["frameHeight"]),
    codec: typeof codec === "string" ? codec.replace(/^video\//, "") : null,
    jitterBufferDelay: number(video?.["jitterBufferDelay"]),
    jitterBufferEmitted: number(video?.["jitterBufferEmittedCount"]),
    packetsLost: number(video?.["packetsLost"]) + number(audio?.["packetsLost"]),
    packetsReceived: number(video?.["packetsReceived"]) + number(audio?.["packetsReceived"]),
    roundTrip: maybe(chosenPair(stats)?.["currentRoundTripTime"]),
    audioPlayout: maybe(audio?.["estimatedPlayoutTimestamp"]),
    videoPlayout: maybe(video?.["estimatedPlayoutTimestamp"]),
    audioEnergy: number(audio?.["totalAudioEnergy"]),
    audioDuration: number(audio?.["totalSamplesDuration"]),
  };
}

/** The candidate pair in use: the transport names it, except in Firefox, which marks the pair itself. */
function chosenPair(stats: Map<string, Stat>): Stat | undefined {
  const all = [...stats.values()];
  const transport = all.find((stat) => stat.type === "transport");
  const named = stats.get(String(transport?.["selectedCandidatePairId"]));
  return named ?? all.find((stat) => stat.type === "candidate-pair" && stat["state"] === "succeeded" && stat["nominated"]);
}

/** The figures over the time between two readings. */
export function figures(before: Reading, now: Reading): Figures {
  const seconds = (now.time - before.time) / 1000;
  const emitted = now.jitterBufferEmitted - before.jitterBufferEmitted;
  const wait = emitted > 0 ? ((now.jitterBufferDelay - before.jitterBufferDelay) / emitted) * 1000 : null;
  const packets = now.packetsReceived - before.packetsReceived;
  const lost = Math.max(0, now.packetsLost - before.packetsLost);
  const sound = now.audioDuration - before.audioDuration;
  return {
    fps: seconds > 0 ? (now.framesDecoded - before.framesDecoded) / seconds : null,
    latency: wait === null || now.roundTrip === null ? null : wait + (now.roundTrip * 1000) / 2,
    skew: now.audioPlayout && now.videoPlayout ? now.audioPlayout - now.videoPlayout : null,
    bitrate: seconds > 0 ? ((now.bytes - before.bytes) * 8) / 1000 / seconds : null,
    resolution: now.width && now.height ? `${now.width} × ${now.height}` : null,
    codec: now.codec,
    framesDropped: now.framesDropped,
    loss: packets + lost > 0 ? lost / (packets + lost) : null,
    loudness: sound > 0 ? Math.sqrt(Math.max(0, now.audioEnergy - before.audioEnergy) / sound) : 0,
  };
}

/** The middle one of some values; null without any. Steadies figures that jump by whole frames, like the skew. */
export function median(values: readonly (number | null)[]): number | null {
  const known = values.filter((value): value is number => value !== null).sort((a, b) => a - b);
  if (!known.length) return null;
  const middle = known.length >> 1;
  return known.length % 2 ? known[middle]! : (known[middle - 1]! + known[middle]!) / 2;
}
