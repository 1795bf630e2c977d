/** The avatars this server has: choose one to call, or remove it. */
import * as api from "./api.ts";
import { icon, make, need } from "./dom.ts";
import { notice } from "./notice.ts";

/** The avatar that comes with the server; it leads the list and stays. */
const DEMO = "demo";

const FRAMINGS: Record<string, string> = {
  head: "Head",
  bust: "Head and shoulders",
  half: "Half body",
  full: "Full body",
};

export class Gallery {
  private avatars: api.Avatar[] = [];
  private chosen = "";
  private readonly list = need<HTMLUListElement>("#gallery");

  /** `onOpen` hears whom to call; `leave` ends a call with someone who is about to be removed. */
  constructor(
    private readonly onOpen: (avatar: api.Avatar) => void,
    private readonly leave: (id: string) => Promise<void>,
    private readonly onRemoved: () => void,
  ) {}

  /** Reads the list anew; rejects with `ApiError`. */
  async load(): Promise<api.Avatar[]> {
    this.avatars = (await api.listAvatars()).sort((a, b) => Number(b.id === DEMO) - Number(a.id === DEMO));
    this.draw();
    return this.avatars;
  }

  find(id: string): api.Avatar | undefined {
    return this.avatars.find((avatar) => avatar.id === id);
  }

  /** Marks the one who is being called. */
  mark(id: string): void {
    this.chosen = id;
    for (const item of this.list.children) {
      const button = need<HTMLButtonElement>(".open", item);
      button.setAttribute("aria-current", String((item as HTMLElement).dataset["id"] === id));
    }
  }

  private draw(): void {
    this.list.replaceChildren(...this.avatars.map((avatar) => this.item(avatar)));
    this.mark(this.chosen);
  }

  private item(avatar: api.Avatar): HTMLLIElement {
    const picture = make("img", { src: api.previewUrl(avatar.id), alt: "", width: 60, height: 60, loading: "lazy" });
    picture.onerror = () => picture.classList.add("missing");
    const text = make(
      "span",
      { className: "text" },
      make("strong", { textContent: avatar.name }),
      make("small", { textContent: FRAMINGS[avatar.framing] ?? avatar.framing }),
    );
    for (const warning of avatar.warnings) text.append(make("small", { className: "warning", textContent: warning }));
    const open = make("button", { type: "button", className: "open" }, picture, text);
    open.onclick = () => this.onOpen(avatar);
    const item = make("li", {}, open);
    item.dataset["id"] = avatar.id;
    if (avatar.id !== DEMO) item.append(this.removeButton(avatar));
    return item;
  }

  private removeButton(avatar: api.Avatar): HTMLButtonElement {
    const button = make("button", { type: "button", className: "plain remove", title: "Remove" }, icon("bin"));
    button.setAttribute("aria-label", `Remove ${avatar.name}`);
    button.onclick = async () => {
      if (!(await confirmRemoval(avatar.name))) return;
      try {
        await this.leave(avatar.id);
        await api.deleteAvatar(avatar.id);
        await this.load();
      } catch (error) {
        notice(api.inWords(error), "error", "gallery");
      }
      this.onRemoved();
    };
    return button;
  }
}

function confirmRemoval(name: string): Promise<boolean> {
  const dialog = need<HTMLDialogElement>("#remove-dialog");
  need("#remove-words").textContent = `${name} will be deleted from this server. This cannot be undone.`;
  dialog.returnValue = "keep";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "remove"), { once: true });
  });
}
