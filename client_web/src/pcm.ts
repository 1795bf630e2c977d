/** PCM for the microphone's WebSocket: mono, signed 16 bit, little-endian (as every browser's typed arrays are). */

/** Length of one chunk on the wire. Short, because it is added to the delay of the voice. */
export const CHUNK_SECONDS = 0.02;

/** Float samples in [-1, 1] (clipped beyond) to signed 16-bit integers. */
export function floatToInt16(samples: Float32Array): Int16Array<ArrayBuffer> {
  const out = new Int16Array(samples.length);
  for (let i = 0; i < samples.length; i++) {
    const sample = Math.max(-1, Math.min(1, samples[i] as number));
    out[i] = Math.round(sample < 0 ? sample * 0x8000 : sample * 0x7fff);
  }
  return out;
}

/** Root mean square of samples, in [0, 1] for full-scale sound. */
export function rms(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return samples.length ? Math.sqrt(sum / samples.length) : 0;
}

/** An amplitude as the share of a level meter that reaches from -60 dBFS (0) to 0 dBFS (1). */
export function meter(amplitude: number): number {
  if (amplitude <= 0.001) return 0;
  return Math.min(1, 1 + (20 * Math.log10(amplitude)) / 60);
}

/** Collects the audio system's short blocks (128 samples) into chunks of one fixed length. */
export class Chunker {
  private readonly buffer: Float32Array;
  private filled = 0;

  /** `rate` in Hz, `emit` receives each full chunk; its contents are only valid during the call. */
  constructor(
    rate: number,
    private readonly emit: (chunk: Float32Array) => void,
  ) {
    this.buffer = new Float32Array(Math.round(rate * CHUNK_SECONDS));
  }

  push(samples: Float32Array): void {
    let taken = 0;
    while (taken < samples.length) {
      const count = Math.min(samples.length - taken, this.buffer.length - this.filled);
      this.buffer.set(samples.subarray(taken, taken + count), this.filled);
      this.filled += count;
      taken += count;
      if (this.filled === this.buffer.length) {
        this.emit(this.buffer);
        this.filled = 0;
      }
    }
  }
}
