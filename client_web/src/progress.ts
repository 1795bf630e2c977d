/** What the page shows of a build, reduced from what the server says about its job. */
import { sentences, type Job } from "./api.ts";

export type Phase = "sending" | "queued" | "building" | "done" | "failed" | "cancelled";

export interface Progress {
  phase: Phase;
  /** Share of the whole that is done, 0 to 1; never runs backwards while the build goes on. */
  fraction: number;
  /** One line in words. */
  words: string;
  /** The new avatar's id, once done. */
  avatar: string | null;
}

/** Share of the bar given to sending the photo; the rest belongs to the build. */
const SENDING_SHARE = 0.1;

export const START: Progress = { phase: "sending", fraction: 0, words: "Sending the photo", avatar: null };

/** The photo's upload has come `sent` (0 to 1) of the way. */
export function sending(progress: Progress, sent: number): Progress {
  const fraction = Math.max(progress.fraction, SENDING_SHARE * Math.min(1, Math.max(0, sent)));
  return { ...progress, phase: "sending", fraction, words: "Sending the photo" };
}

/** The server's job has a new state. */
export function building(progress: Progress, job: Job): Progress {
  const done = SENDING_SHARE + (1 - SENDING_SHARE) * Math.min(1, Math.max(0, job.fraction ?? 0));
  const fraction = Math.max(progress.fraction, done);
  switch (job.state) {
    case "queued":
      return { ...progress, phase: "queued", fraction, words: capital(job.message) || "Waiting for the builds before this one" };
    case "running":
      return { ...progress, phase: "building", fraction, words: capital(job.message || job.stage) || "Building" };
    case "done":
      return { phase: "done", fraction: 1, words: "Done", avatar: avatarId(job) };
    case "failed":
      return { ...progress, phase: "failed", words: failure(job) };
    case "cancelled":
      return { ...progress, phase: "cancelled", words: "Cancelled" };
  }
}

export function isOver(progress: Progress): boolean {
  return progress.phase === "done" || progress.phase === "failed" || progress.phase === "cancelled";
}

function avatarId(job: Job): string | null {
  return typeof job.avatar === "object" && job.avatar ? job.avatar.id : (job.avatar ?? null);
}

function failure(job: Job): string {
  return sentences(job.error || "The build failed, and the server gives no reason", job.remedy);
}

function capital(text: string | undefined): string {
  return text ? text.charAt(0).toUpperCase() + text.slice(1) : "";
}
