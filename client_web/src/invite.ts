/** Inviting viewers: a link that carries the call's id and, where the server gives one, the viewers' key. */
import type { Access, Session } from "./api.ts";
import { need } from "./dom.ts";

/** The right to watch one session. */
export type Invitation = Access;

/** The link, seen from `page`. What it carries stands behind the #, which browsers do not send to any server. */
export function invitationLink(page: string, invitation: Invitation): string {
  const url = new URL(page);
  url.search = "";
  const fragment = new URLSearchParams({ watch: invitation.id });
  if (invitation.token) fragment.set("key", invitation.token);
  url.hash = fragment.toString();
  return url.href;
}

/** The invitation in an address's fragment, or null. */
export function readInvitation(hash: string): Invitation | null {
  const fragment = new URLSearchParams(hash.replace(/^#/, ""));
  const id = fragment.get("watch");
  const token = fragment.get("key");
  return id ? { id, ...(token ? { token } : {}) } : null;
}

/** True when an address only reaches the computer it is used on. */
export function isLoopback(hostname: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname) || hostname.endsWith(".localhost");
}

export class InviteButton {
  private session: Session | null = null;
  private readonly button = need<HTMLButtonElement>("#invite");
  private readonly link = need<HTMLInputElement>("#invite-link");
  private readonly copyButton = need<HTMLButtonElement>("#invite-copy");

  constructor() {
    this.button.onclick = () => this.open();
    this.link.onfocus = () => this.link.select();
    this.copyButton.onclick = () => void this.copy();
  }

  use(session: Session | null): void {
    this.session = session;
    this.button.disabled = !session;
  }

  private open(): void {
    if (!this.session) return;
    const { id, viewer_token } = this.session;
    this.link.value = invitationLink(location.href, { id, ...(viewer_token ? { token: viewer_token } : {}) });
    this.copyButton.textContent = "Copy";
    need("#invite-note").textContent = isLoopback(location.hostname)
      ? "This address works on this computer only. To invite others, start the server with --host and open its network address."
      : "";
    need<HTMLDialogElement>("#invite-dialog").showModal();
  }

  private async copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.link.value);
    } catch {
      // No clipboard on insecure pages: the link is selected, ready to be copied by hand.
      this.link.select();
      if (!document.execCommand("copy")) return;
    }
    this.copyButton.textContent = "Copied";
  }
}
