/** The server's HTTP interface, typed. Every failure is an `ApiError` whose message can be shown as it is. */
import { readEvents } from "./sse.ts";

export interface Avatar {
  id: string;
  name: string;
  framing: string;
  width: number;
  height: number;
  warnings: string[];
}

export interface Job {
  id: string;
  state: "queued" | "running" | "done" | "failed" | "cancelled";
  stage?: string;
  fraction?: number;
  message?: string;
  avatar?: string | Avatar | null;
  error?: string | null;
  remedy?: string | null;
}

/** What lets one see a session: the owner's token, or a viewer's. */
export interface Access {
  id: string;
  token?: string;
}

export interface Session extends Access {
  token: string;
  whep: string;
  audio: string;
  /** Lets others watch, without the right to drive. */
  viewer_token?: string;
  /** STUN and TURN servers, where the server's settings name some. */
  ice_servers?: RTCIceServer[];
}

/** What the server says about a running session; a field is missing when it does not know. */
export interface SessionStatus {
  state?: string;
  fps?: number;
  skew_ms?: number;
  viewers?: number;
  speaking?: boolean;
  /** Why the session no longer runs, if so. */
  error?: string;
}

/** A voice for typed text. */
export interface Voice {
  id: string;
  name: string;
  /** A tag such as en-us; empty for any. */
  language: string;
  /** What it lacks to speak, if so. */
  missing?: string;
}

/** How an avatar behaves. */
export interface Manner {
  mood: string;
  /** Of the mood, 0 to 1. */
  strength: number;
  /** Of head and hands while it speaks, 0 to 1.5. */
  gestures: number;
}

/** A sentence that is being said. */
export interface Caption {
  text: string;
  /** Media times in seconds: of its beginning, and now. */
  start: number;
  time: number;
  /** Word, and when it is heard, in seconds from the sentence's start. */
  words: [word: string, start: number, end: number][];
}

export class ApiError extends Error {
  /** `status` is HTTP's, or 0 when no answer came; `remedy` is the server's advice. */
  constructor(
    message: string,
    readonly status: number,
    readonly remedy: string = "",
  ) {
    super(message);
    this.name = "ApiError";
  }

  /** Message and remedy as sentences. */
  get words(): string {
    return sentences(this.message, this.remedy);
  }
}

/** Several remarks as one text of whole sentences; the server writes its own in lower case and without a full stop. */
export function sentences(...remarks: (string | null | undefined)[]): string {
  const whole = remarks.map((remark) => remark?.trim()).filter((remark): remark is string => Boolean(remark));
  return whole.map((remark) => capital(remark) + (/[.!?…]$/.test(remark) ? "" : ".")).join(" ");
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Any thrown value as a sentence for the user. */
export function inWords(error: unknown): string {
  if (error instanceof ApiError) return error.words;
  return sentences(error instanceof Error ? error.message : String(error));
}

const NO_ANSWER = "The server does not answer.";

async function request(path: string, init: RequestInit = {}, token?: string): Promise<Response> {
  const headers = new Headers(init.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError(NO_ANSWER, 0, "Check that it is running and that this device is online.");
  }
  if (!response.ok) throw failure(response.status, await response.text());
  return response;
}

/** The error of an unhappy answer, in the server's own words where it gives some. */
export function failure(status: number, body: string): ApiError {
  try {
    const { error, remedy } = JSON.parse(body) as { error?: unknown; remedy?: unknown };
    if (typeof error === "string") return new ApiError(error, status, typeof remedy === "string" ? remedy : "");
  } catch {
    // Not JSON: a proxy in between has answered, and its page is no sentence for a user.
  }
  return new ApiError(`The server answered with status ${status}.`, status);
}

async function json<T>(path: string, init: RequestInit = {}, token?: string): Promise<T> {
  const response = await request(path, init, token);
  return (await response.json()) as T;
}

const segment = encodeURIComponent;

export const previewUrl = (avatar: string) => `avatars/${segment(avatar)}/preview.webp`;

export const listAvatars = () => json<Avatar[]>("avatars");

export async function deleteAvatar(id: string): Promise<void> {
  await request(`avatars/${segment(id)}`, { method: "DELETE" });
}

/** Sends a photo to be built; `onSent` hears the share of its bytes that are on their way. */
export function buildAvatar(
  photo: File,
  name: string,
  onSent: (share: number) => void,
  signal: AbortSignal,
): Promise<string> {
  const form = new FormData();
  form.set("name", name);
  form.set("photo", photo, photo.name);
  // XMLHttpRequest, because fetch cannot say how much of a body has been sent.
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open("POST", "avatars");
    xhr.upload.onprogress = (event) => event.lengthComputable && onSent(event.loaded / event.total);
    xhr.onerror = () => reject(new ApiError(NO_ANSWER, 0, "The photo could not be sent."));
    xhr.onabort = () => reject(signal.reason);
    xhr.onload = () => {
      if (xhr.status !== 202) return reject(failure(xhr.status, xhr.responseText));
      resolve((JSON.parse(xhr.responseText) as { job: { id: string } }).job.id);
    };
    signal.addEventListener("abort", () => xhr.abort(), { once: true });
    xhr.send(form);
  });
}

export const getJob = (id: string, signal: AbortSignal) => json<Job>(`jobs/${segment(id)}`, { signal });

export async function cancelJob(id: string): Promise<void> {
  await request(`jobs/${segment(id)}`, { method: "DELETE" });
}

/** The states of a job as the server reports them, until the stream ends. */
export async function* jobEvents(id: string, signal: AbortSignal): AsyncGenerator<Job> {
  const headers = { Accept: "text/event-stream" };
  const response = await request(`jobs/${segment(id)}/events`, { signal, headers });
  for await (const { data } of readEvents(response)) yield JSON.parse(data) as Job;
}

export const createSession = (avatar: string, signal: AbortSignal) =>
  json<Session>("sessions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ avatar }),
    signal,
  });

export const sessionStatus = ({ id, token }: Access) => json<SessionStatus>(`sessions/${segment(id)}`, {}, token);

/** Ends a session. `keepalive` lets the request outlive the page that sends it. */
export async function deleteSession(session: Session): Promise<void> {
  await request(`sessions/${segment(session.id)}`, { method: "DELETE", keepalive: true }, session.token);
}

/** Lets the avatar say a sound file; resolves with the sound's length in seconds. */
export async function speak(session: Session, sound: Blob): Promise<number> {
  const headers = { "Content-Type": sound.type || "application/octet-stream" };
  const path = `sessions/${segment(session.id)}/speak`;
  const { seconds } = await json<{ seconds: number }>(path, { method: "POST", headers, body: sound }, session.token);
  return seconds;
}

/** Lets the avatar say a text; an empty `voice` leaves the choice to the server. */
export async function say(session: Session, text: string, voice: string): Promise<void> {
  const body = JSON.stringify(voice ? { text, voice } : { text });
  const headers = { "Content-Type": "application/json" };
  await request(`sessions/${segment(session.id)}/speak`, { method: "POST", headers, body }, session.token);
}

/** Changes how the avatar behaves from now on. */
export async function behave(session: Session, manner: Manner): Promise<void> {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify(manner);
  await request(`sessions/${segment(session.id)}`, { method: "PATCH", headers, body }, session.token);
}

/** The voices for typed text; none where the server cannot read aloud. */
export async function voices(): Promise<Voice[]> {
  return json<Voice[]>("voices").catch(() => []);
}

/** What is being said in a session, sentence by sentence; null when a sentence is over. Ends with the session. */
export async function* captions({ id, token }: Access, signal: AbortSignal): AsyncGenerator<Caption | null> {
  const headers = { Accept: "text/event-stream" };
  const response = await request(`sessions/${segment(id)}/events`, { signal, headers }, token);
  for await (const { event, data } of readEvents(response)) {
    if (event === "caption") yield JSON.parse(data) as Caption;
    if (event === "silence") yield null;
  }
}

export async function interrupt(session: Session): Promise<void> {
  await request(`sessions/${segment(session.id)}/interrupt`, { method: "POST" }, session.token);
}

/** The demo voice, or null where the server has none. */
export async function demoVoice(): Promise<Blob | null> {
  try {
    return await (await request("voices/demo")).blob();
  } catch {
    return null;
  }
}

/** Address of the microphone's WebSocket, seen from `page` (the document's address). */
export function audioSocketUrl(session: Session, rate: number, page: string): string {
  const url = new URL(session.audio.replace(/^\//, ""), page);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = new URLSearchParams({ rate: String(rate), token: session.token }).toString();
  url.hash = "";
  return url.href;
}

/** Offers a WHEP player; resolves with the answer and the resource to delete at the end. */
export async function whepOffer(path: string, sdp: string, token: string | undefined, signal: AbortSignal) {
  const init = { method: "POST", headers: { "Content-Type": "application/sdp" }, body: sdp, signal };
  const response = await request(path.replace(/^\//, ""), init, token);
  const location = response.headers.get("Location");
  return { sdp: await response.text(), resource: location ? new URL(location, response.url).href : null };
}

export function deleteWhep(resource: string, token: string | undefined): void {
  request(resource, { method: "DELETE", keepalive: true }, token).catch(() => undefined);
}
