/** Runs on the audio thread: the microphone's blocks in, 20 ms chunks of 16-bit PCM with their level out. */
import { Chunker, floatToInt16, rms } from "./pcm.ts";

// The audio thread's global scope, which TypeScript's DOM library does not describe.
declare const sampleRate: number;
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}

/** What the audio thread posts for each chunk. */
export interface CapturedChunk {
  pcm: ArrayBuffer;
  level: number;
}

class Capture extends AudioWorkletProcessor {
  private readonly chunker = new Chunker(sampleRate, (chunk) => {
    const pcm = floatToInt16(chunk).buffer;
    const message: CapturedChunk = { pcm, level: rms(chunk) };
    this.port.postMessage(message, [pcm]);
  });

  process(inputs: Float32Array[][]): boolean {
    const mono = inputs[0]?.[0];
    if (mono) this.chunker.push(mono);
    return true;
  }
}

registerProcessor("capture", Capture);
