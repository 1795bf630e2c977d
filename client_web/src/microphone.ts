/** The live microphone: getUserMedia -> AudioWorklet -> WebSocket, as 16-bit PCM. */
import captureWorklet from "./capture.worklet.ts?worker&url";
import type { CapturedChunk } from "./capture.worklet.ts";
import { microphoneTrouble } from "./support.ts";

export interface MicrophoneOptions {
  /** Empty for the system's default. */
  deviceId: string;
  echoCancellation: boolean;
}

/** The rate asked for; where a browser cannot capture at it, the device's own rate is sent instead. */
const RATE = 48_000;
/** Live sound that waits longer than this in the socket is late already: it is dropped instead of delaying the rest. */
const LONGEST_QUEUE_SECONDS = 0.25;

export class Microphone {
  private context: AudioContext | null = null;
  private capture: MediaStream | null = null;
  private socket: WebSocket | null = null;
  private closed = false;

  /**
   * `address` gives the WebSocket's URL for a sample rate. `onLevel` hears the amplitude of each 20 ms, `onEnd` why
   * the microphone stopped by itself.
   */
  constructor(
    private readonly address: (rate: number) => string,
    private readonly onLevel: (amplitude: number) => void,
    private readonly onEnd: (words: string) => void,
  ) {}

  /** Opens it; rejects with an Error in words for the user, and leaves nothing open. */
  async open(options: MicrophoneOptions): Promise<void> {
    try {
      this.capture = await navigator.mediaDevices.getUserMedia(constraints(options));
    } catch (error) {
      throw new Error(microphoneTrouble(error));
    }
    try {
      const { context, source } = await connectSource(this.capture);
      this.context = context;
      await context.audioWorklet.addModule(captureWorklet);
      this.socket = await openSocket(this.address(context.sampleRate));
      if (this.closed) throw new Error("The microphone was closed.");
      this.start(context, source, this.socket);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The device in use. */
  get deviceId(): string {
    return this.capture?.getAudioTracks()[0]?.getSettings().deviceId ?? "";
  }

  close(): void {
    this.closed = true;
    for (const track of this.capture?.getTracks() ?? []) track.stop();
    this.context?.close().catch(() => undefined);
    this.socket?.close();
  }

  private start(context: AudioContext, source: MediaStreamAudioSourceNode, socket: WebSocket): void {
    const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    const longestQueue = LONGEST_QUEUE_SECONDS * context.sampleRate * Int16Array.BYTES_PER_ELEMENT;
    node.port.onmessage = ({ data }: MessageEvent<CapturedChunk>) => {
      if (this.closed) return;
      this.onLevel(data.level);
      if (socket.readyState === WebSocket.OPEN && socket.bufferedAmount < longestQueue) socket.send(data.pcm);
    };
    source.connect(node);
    socket.onclose = ({ reason }) => this.end(reason || "The server closed the microphone's connection.");
    const track = this.capture?.getAudioTracks()[0];
    if (track) track.onended = () => this.end("The microphone was unplugged or taken away.");
  }

  private end(words: string): void {
    if (this.closed) return;
    this.close();
    this.onEnd(words);
  }
}

/** The microphones the browser names; their labels are empty until one was allowed. */
export async function listMicrophones(): Promise<MediaDeviceInfo[]> {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices.filter((device) => device.kind === "audioinput" && device.deviceId);
}

function constraints({ deviceId, echoCancellation }: MicrophoneOptions): MediaStreamConstraints {
  const audio: MediaTrackConstraints = { echoCancellation, noiseSuppression: true, autoGainControl: true };
  if (deviceId) audio.deviceId = { exact: deviceId };
  return { audio };
}

async function connectSource(capture: MediaStream) {
  const wanted = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
  try {
    return { context: wanted, source: wanted.createMediaStreamSource(capture) };
  } catch {
    // Firefox does not resample a microphone into a context of another rate.
    await wanted.close();
    const own = new AudioContext({ latencyHint: "interactive" });
    return { context: own, source: own.createMediaStreamSource(capture) };
  }
}

function openSocket(address: string): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => resolve(socket);
    socket.onclose = ({ reason }) => reject(new Error(reason || "The server does not take the microphone's sound."));
  });
}
