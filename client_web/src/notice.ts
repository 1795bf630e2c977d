/** Short messages under the call: what went wrong and what to do, or what just happened. */
import { icon, make, need } from "./dom.ts";

const INFORMATION_MS = 6000;

/** Shows one line. Errors stay until they are closed; information leaves by itself. One message of a `topic` at a time. */
export function notice(words: string, kind: "information" | "error" = "information", topic: string = words): void {
  const list = need<HTMLElement>("#notices");
  dismiss(topic);
  const close = make("button", { type: "button", className: "plain", title: "Close" }, icon("close"));
  close.setAttribute("aria-label", "Close this message");
  const line = make("div", { className: `notice ${kind}` }, icon("note"), make("p", { textContent: words }), close);
  line.dataset["topic"] = topic;
  if (kind === "error") line.setAttribute("role", "alert");
  close.onclick = () => line.remove();
  list.append(line);
  if (kind === "information") setTimeout(() => line.remove(), INFORMATION_MS);
}

/** Takes a topic's message away, when it no longer holds. */
export function dismiss(topic: string): void {
  for (const line of need("#notices").querySelectorAll<HTMLElement>(".notice")) {
    if (line.dataset["topic"] === topic) line.remove();
  }
}
