/** Delays between attempts to reconnect: doubling, capped, with a little chance so that viewers do not return at once. */

const FIRST_MS = 1000;
const LONGEST_MS = 15_000;
const SPREAD = 0.2;

/** Milliseconds to wait before attempt number `attempt` (0 = the first retry); `random` in [0, 1). */
export function backoff(attempt: number, random: number = Math.random()): number {
  const delay = Math.min(FIRST_MS * 2 ** attempt, LONGEST_MS);
  return Math.round(delay * (1 + SPREAD * (2 * random - 1)));
}

/** Resolves after `ms`; rejects with the signal's reason when it is aborted first. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", abort, { once: true });
  });
}
